"""Writes our own offer, for a client whose offer cannot be used (draft-ietf-wish-whep, "Server Sends Counter-Offer").

It has all that the camera could send: H.264 with the camera's profile, and again as constrained baseline, since
decoders support more than they announce, or H.265 as the camera sends it; the camera's sound, and Opus. The client's
answer is read like an offer: its sections receive, with payload types of this offer.
"""

from gateway.media import AudioInfo, StreamInfo, VideoInfo
from gateway.webrtc.sdp.answer import LocalDescription, candidate_lines, session_lines, transport_lines
from gateway.webrtc.sdp.codecs import AudioCodec, native_codec, profile_level_id
from gateway.webrtc.sdp.h265 import offered_parameters
from gateway.webrtc.sdp.negotiation import FEEDBACK, MID, PLAYOUT_DELAY, TRANSPORT_CC

_PROTOCOL = "UDP/TLS/RTP/SAVPF"
_EXTENSIONS = {MID: 1, PLAYOUT_DELAY: 2, TRANSPORT_CC: 3}
_PAYLOAD_TYPES = {AudioCodec.OPUS: 111, AudioCodec.PCMA: 8, AudioCodec.PCMU: 0}
_CONSTRAINED_BASELINE = "42e0"


def write_counter_offer(info: StreamInfo, local: LocalDescription, reason: str) -> str:
    """The text of the offer, with the reason for it as the session's information."""
    mids = ["0"] if info.audio is None else ["0", "1"]
    head = session_lines(local, mids)
    head.insert(3, f"i={reason}")
    lines = [*head, *_video_lines(info.video, local)]
    if info.audio is not None:
        lines += _audio_lines(info.audio, local)
    return "\r\n".join(lines) + "\r\n"


def _section_lines(kind: str, mid: str, formats: list[int], local: LocalDescription, *extensions: str) -> list[str]:
    return [
        f"m={kind} 9 {_PROTOCOL} {' '.join(map(str, formats))}",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        *transport_lines(local, "actpass"),
        f"a=mid:{mid}",
        *(f"a=extmap:{_EXTENSIONS[uri]} {uri}" for uri in extensions),
        "a=sendonly",
        f"a=msid:{local.stream_name} {kind}",
    ]


def _video_lines(video: VideoInfo, local: LocalDescription) -> list[str]:
    name, parameters = _video_formats(video)
    formats = list(enumerate(parameters, 48))
    numbers = [number for first, _ in formats for number in (2 * first, 2 * first + 1)]
    lines = _section_lines("video", "0", numbers, local, MID, PLAYOUT_DELAY, TRANSPORT_CC)
    for first, format_parameters in formats:
        codec, rtx = 2 * first, 2 * first + 1
        lines += [
            f"a=rtpmap:{codec} {name}/90000",
            *(f"a=rtcp-fb:{codec} {item}" for item in sorted(FEEDBACK)),
            f"a=fmtp:{codec} {format_parameters}",
            f"a=rtpmap:{rtx} rtx/90000",
            f"a=fmtp:{rtx} apt={codec}",
        ]
    return [*lines, *candidate_lines(local), *local.ssrcs("video", with_rtx=True)]


def _video_formats(video: VideoInfo) -> tuple[str, list[str]]:
    """The codec's name in SDP, and the fmtp value of each format."""
    if video.codec == "hevc":
        return "H265", [offered_parameters(video)]
    own = profile_level_id(video)
    profiles = dict.fromkeys((own, _CONSTRAINED_BASELINE + own[4:]))
    return "H264", [f"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={each}" for each in profiles]


def _audio_lines(audio: AudioInfo, local: LocalDescription) -> list[str]:
    codecs = list(dict.fromkeys((native_codec(audio), AudioCodec.OPUS)))
    lines = _section_lines("audio", "1", [_PAYLOAD_TYPES[codec] for codec in codecs], local, MID)
    for codec in codecs:
        channels = "/2" if codec is AudioCodec.OPUS else ""
        lines.append(f"a=rtpmap:{_PAYLOAD_TYPES[codec]} {codec}/{codec.clock_rate}{channels}")
    if audio.channels > 1:
        lines.append(f"a=fmtp:{_PAYLOAD_TYPES[AudioCodec.OPUS]} sprop-stereo=1")
    return [*lines, *candidate_lines(local), *local.ssrcs("audio", with_rtx=False)]
