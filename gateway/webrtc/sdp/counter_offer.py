"""Writes our own offer, for a client whose offer cannot be used (draft-ietf-wish-whep, "Server Sends Counter-Offer").

It has all that the camera could send: H.264 with the camera's profile, and again as constrained baseline, since
decoders support more than they announce, H.265 and AV1 as the camera sends them, and what is made of it where it is
transcoded; the camera's sound, and Opus. The client's answer is read like an offer: its sections receive, with payload
types of this offer.
"""

from collections.abc import Sequence

from gateway.media import AudioInfo, VideoInfo
from gateway.webrtc.sdp.answer import LocalDescription, candidate_lines, session_lines, transport_lines
from gateway.webrtc.sdp.av1 import offered_av1_parameters
from gateway.webrtc.sdp.codecs import AudioCodec, native_codec, profile_level_id
from gateway.webrtc.sdp.h265 import offered_parameters
from gateway.webrtc.sdp.negotiation import FEEDBACK, MID, PLAYOUT_DELAY, TRANSPORT_CC

_PROTOCOL = "UDP/TLS/RTP/SAVPF"
_EXTENSIONS = {MID: 1, PLAYOUT_DELAY: 2, TRANSPORT_CC: 3}
_PAYLOAD_TYPES = {AudioCodec.OPUS: 111, AudioCodec.PCMA: 8, AudioCodec.PCMU: 0}
_CONSTRAINED_BASELINE = "42e0"


def write_counter_offer(videos: Sequence[VideoInfo], audio: AudioInfo | None, local: LocalDescription, why: str) -> str:
    """The text of the offer of what can be sent, with the reason for it as the session's information."""
    mids = ["0"] if audio is None else ["0", "1"]
    head = session_lines(local, mids)
    head.insert(3, f"i={why}")
    lines = [*head, *_video_lines(videos, local)]
    if audio is not None:
        lines += _audio_lines(audio, local)
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


def _video_lines(videos: Sequence[VideoInfo], local: LocalDescription) -> list[str]:
    formats = list(enumerate(dict.fromkeys(each for video in videos for each in _video_formats(video)), 48))
    numbers = [number for first, _ in formats for number in (2 * first, 2 * first + 1)]
    lines = _section_lines("video", "0", numbers, local, MID, PLAYOUT_DELAY, TRANSPORT_CC)
    for first, (name, format_parameters) in formats:
        codec, rtx = 2 * first, 2 * first + 1
        lines += [
            f"a=rtpmap:{codec} {name}/90000",
            *(f"a=rtcp-fb:{codec} {item}" for item in sorted(FEEDBACK)),
            f"a=fmtp:{codec} {format_parameters}",
            f"a=rtpmap:{rtx} rtx/90000",
            f"a=fmtp:{rtx} apt={codec}",
        ]
    return [*lines, *candidate_lines(local), *local.ssrcs("video", with_rtx=True)]


def _video_formats(video: VideoInfo) -> list[tuple[str, str]]:
    """The codec's name in SDP, and the fmtp value, of each format."""
    if video.codec == "hevc":
        return [("H265", offered_parameters(video))]
    if video.codec == "av1":
        return [("AV1", offered_av1_parameters(video))]
    own = profile_level_id(video)
    profiles = dict.fromkeys((own, _CONSTRAINED_BASELINE + own[4:]))
    fixed = "level-asymmetry-allowed=1;packetization-mode=1"
    return [("H264", f"{fixed};profile-level-id={each}") for each in profiles]


def _audio_lines(audio: AudioInfo, local: LocalDescription) -> list[str]:
    codecs = list(dict.fromkeys((native_codec(audio), AudioCodec.OPUS)))
    lines = _section_lines("audio", "1", [_PAYLOAD_TYPES[codec] for codec in codecs], local, MID)
    for codec in codecs:
        channels = "/2" if codec is AudioCodec.OPUS else ""
        lines.append(f"a=rtpmap:{_PAYLOAD_TYPES[codec]} {codec}/{codec.clock_rate}{channels}")
    if audio.channels > 1:
        lines.append(f"a=fmtp:{_PAYLOAD_TYPES[AudioCodec.OPUS]} sprop-stereo=1")
    return [*lines, *candidate_lines(local), *local.ssrcs("audio", with_rtx=False)]
