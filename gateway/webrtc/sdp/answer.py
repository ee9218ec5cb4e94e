"""SDP: an offer read, what camera and viewer have in common found, and the answer written (RFC 8866, 8829, 9429).

Theory of operation. aiortc parses the offer; the answer is written by hand, since it says little: for each media
section of the offer either one codec, send-only, or that it is not wanted. Everything runs over one bundled transport
(RFC 9143) with multiplexed RTCP (RFC 5761); there is nothing to trickle from our side, all candidates are known.

Choice of the H.264 payload type: the profile that the camera sends, else one that contains it, else whatever H.264 the
viewer has, since decoders do more than browsers admit (Firefox offers baseline and decodes high); and of equals the one
that says packetization-mode 1. One that says mode 0 is never chosen: each NAL unit would have to fit in one packet
(RFC 6184 §6.2), which no camera's keyframes do. One that says nothing is taken at less than its word, which would be
mode 0 too (§8.1): it is how GStreamer's clients offer, and they read fragments.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import (
    H264Profile,
    MediaDescription,
    SessionDescription,
    parameters_to_sdp,
    parse_h264_profile_level_id,
)

from gateway.errors import BadRequestError, NegotiationError
from gateway.media import AudioInfo, StreamInfo, VideoInfo

OFFER_MAX_BYTES = 64 * 1024
"""Chromium's offers are 3 to 7 KB."""

MEDIA_MAX = 16
"""Media sections; a viewer needs two."""

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
"""Header extensions that we send where they are offered (RFC 9143 §15, and Chromium's documentation)."""

FEEDBACK = frozenset({("nack", None), ("nack", "pli"), ("ccm", "fir")})
"""RTCP feedback that is answered; anything else would be noise on the way in."""

OTHER_TRANSPORTS = ("hls", "mjpeg")
"""What plays a camera that WebRTC cannot carry."""

_CONTAINS: Mapping[H264Profile, frozenset[H264Profile]] = {
    H264Profile.PROFILE_CONSTRAINED_BASELINE: frozenset(
        {
            H264Profile.PROFILE_BASELINE,
            H264Profile.PROFILE_MAIN,
            H264Profile.PROFILE_CONSTRAINED_HIGH,
            H264Profile.PROFILE_HIGH,
        }
    ),
    H264Profile.PROFILE_MAIN: frozenset({H264Profile.PROFILE_HIGH}),
    H264Profile.PROFILE_CONSTRAINED_HIGH: frozenset({H264Profile.PROFILE_HIGH}),
}
"""Which profiles' decoders take a profile beside their own (H.264 annex A.2)."""

_STATIC_AUDIO = {"0": "PCMU", "8": "PCMA"}
"""Payload types that may stand without a rtpmap (RFC 3551 §6)."""


class AudioCodec(StrEnum):
    """What can be sent as audio, by its name in SDP."""

    OPUS = "opus"
    PCMA = "PCMA"
    PCMU = "PCMU"

    @property
    def clock_rate(self) -> int:
        return 48_000 if self is AudioCodec.OPUS else 8_000


@dataclass(slots=True, frozen=True)
class Track:
    """One accepted media section."""

    section: int
    mid: str
    payload_type: int
    codec_line: str
    """The rtpmap's value, as offered."""
    format_parameters: str
    feedback: tuple[str, ...]
    rtx_payload_type: int | None = None
    extensions: Mapping[str, int] = field(default_factory=dict)
    """Identifiers by URI."""


@dataclass(slots=True, frozen=True)
class NegotiatedSession:
    """What an offer and a camera have in common, and how to reach the one who offered."""

    remote_username: str
    remote_password: str
    fingerprints: tuple[tuple[str, str], ...]
    """Pairs of hash name and value."""
    dtls_role: str
    """Ours: ``server`` wherever the offer leaves the choice; Chromium retries a lost ClientHello after 50 ms."""
    sections: tuple[tuple[str, str, str], ...]
    """Kind, protocol and formats of every media section, to be mirrored."""
    mids: tuple[str, ...]
    video: Track
    audio: Track | None
    audio_codec: AudioCodec | None


@dataclass(slots=True, frozen=True)
class LocalDescription:
    """What the answer says of us. ``candidates`` are values of ``a=candidate`` lines."""

    session_id: int
    stream_name: str
    username: str
    password: str
    fingerprint: tuple[str, str]
    candidates: tuple[str, ...]
    video_ssrc: int
    rtx_ssrc: int
    audio_ssrc: int


def parse_offer(text: str) -> SessionDescription:
    """Read an offer. Raises :class:`~gateway.errors.BadRequestError` for whatever is not one."""
    if len(text) > OFFER_MAX_BYTES:
        raise BadRequestError(f"the offer is longer than {OFFER_MAX_BYTES} characters")
    if not text.lstrip().startswith("v=0"):
        raise BadRequestError("the body is not SDP: it does not begin with v=0")
    try:
        offer = SessionDescription.parse(text)
    except Exception:  # aiortc's parser asserts and indexes its way through: every type of error means the same
        raise BadRequestError("the offer is not valid SDP") from None
    if not offer.media:
        raise BadRequestError("the offer has no media section")
    if len(offer.media) > MEDIA_MAX:
        raise BadRequestError(f"the offer has more than {MEDIA_MAX} media sections")
    return offer


def negotiate(offer: SessionDescription, info: StreamInfo, camera_id: str) -> NegotiatedSession:
    """Find what fits. Raises ``BadRequestError``, or ``NegotiationError`` with the reason."""
    _check_video(info.video, camera_id)
    section, media, codec = _choose_video(offer, info.video, camera_id)
    transport = media
    if transport.ice is None or not transport.ice.usernameFragment or not transport.ice.password:
        raise BadRequestError("the offer's video section has no ICE user fragment and password")
    if transport.dtls is None or not transport.dtls.fingerprints:
        raise BadRequestError("the offer's video section has no DTLS fingerprint and setup attribute")
    if not media.rtcp_mux:
        raise NegotiationError("the offer's video section has no rtcp-mux; RTP and RTCP share one port here")
    bundled = {str(mid) for group in offer.group if group.semantic == "BUNDLE" for mid in group.items}
    audio, audio_codec = _choose_audio(offer, info.audio, section, bundled if media.rtp.muxId in bundled else set())
    return NegotiatedSession(
        remote_username=transport.ice.usernameFragment,
        remote_password=transport.ice.password,
        fingerprints=tuple((item.algorithm, item.value) for item in transport.dtls.fingerprints),
        dtls_role="client" if transport.dtls.role == "server" else "server",
        sections=tuple((item.kind, item.profile, " ".join(map(str, item.fmt))) for item in offer.media),
        mids=tuple(item.rtp.muxId for item in offer.media),
        video=_track(section, media, codec),
        audio=audio,
        audio_codec=audio_codec,
    )


def write_answer(negotiated: NegotiatedSession, local: LocalDescription) -> str:
    """The answer's text."""
    tracks = {track.section: track for track in (negotiated.video, negotiated.audio) if track is not None}
    bundle = [track.mid for _, track in sorted(tracks.items()) if track.mid]
    lines = ["v=0", f"o=- {local.session_id} 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=ice-lite"]
    if bundle:
        lines.append(f"a=group:BUNDLE {' '.join(bundle)}")
    lines.append(f"a=msid-semantic:WMS {local.stream_name}")
    for section, (kind, profile, formats) in enumerate(negotiated.sections):
        track = tracks.get(section)
        if track is None:
            lines += [f"m={kind} 0 {profile} {formats}", "c=IN IP4 0.0.0.0", "a=inactive"]
            if negotiated.mids[section]:
                lines.append(f"a=mid:{negotiated.mids[section]}")
            continue
        is_video = track is negotiated.video
        lines += _media_lines(kind, profile, track, negotiated, local)
        ssrc = local.video_ssrc if is_video else local.audio_ssrc
        # Chromium takes the SSRC that comes first for the media, whatever the group says.
        ssrcs = [ssrc]
        if track.rtx_payload_type is not None:
            ssrcs.append(local.rtx_ssrc)
            lines.append(f"a=ssrc-group:FID {ssrc} {local.rtx_ssrc}")
        lines += [f"a=ssrc:{item} cname:{local.stream_name}" for item in ssrcs]
    return "\r\n".join(lines) + "\r\n"


def _media_lines(
    kind: str, profile: str, track: Track, negotiated: NegotiatedSession, local: LocalDescription
) -> list[str]:
    payload_types = [track.payload_type]
    if track.rtx_payload_type is not None:
        payload_types.append(track.rtx_payload_type)
    lines = [
        f"m={kind} 9 {profile} {' '.join(map(str, payload_types))}",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        f"a=ice-ufrag:{local.username}",
        f"a=ice-pwd:{local.password}",
        "a=ice-options:ice2",
        f"a=fingerprint:{local.fingerprint[0]} {local.fingerprint[1]}",
        f"a=setup:{'active' if negotiated.dtls_role == 'client' else 'passive'}",
    ]
    if track.mid:
        lines.append(f"a=mid:{track.mid}")
    lines += [f"a=extmap:{identifier} {uri}" for uri, identifier in track.extensions.items()]
    lines += ["a=sendonly", f"a=msid:{local.stream_name} {kind}", "a=rtcp-mux"]
    lines.append(f"a=rtpmap:{track.payload_type} {track.codec_line}")
    lines += [f"a=rtcp-fb:{track.payload_type} {item}" for item in track.feedback]
    if track.format_parameters:
        lines.append(f"a=fmtp:{track.payload_type} {track.format_parameters}")
    if track.rtx_payload_type is not None:
        lines.append(f"a=rtpmap:{track.rtx_payload_type} rtx/90000")
        lines.append(f"a=fmtp:{track.rtx_payload_type} apt={track.payload_type}")
    lines += [f"a=candidate:{candidate}" for candidate in local.candidates]
    lines.append("a=end-of-candidates")
    return lines


def _check_video(video: VideoInfo, camera_id: str) -> None:
    if video.codec != "h264":
        name = {"hevc": "H.265"}.get(video.codec, video.codec)
        raise NegotiationError(
            f"camera {camera_id} sends {name}, and WebRTC here carries H.264 only; use HLS or MJPEG, or set the camera"
            " to H.264",
            OTHER_TRANSPORTS,
        )


def refuse_b_frames(camera_id: str) -> NegotiationError:
    """The error for a camera whose pictures come in another order than they are shown."""
    return NegotiationError(
        f"camera {camera_id} sends B-frames, which WebRTC cannot carry; use HLS or MJPEG, or set the camera to the"
        " baseline profile or to no B-frames",
        OTHER_TRANSPORTS,
    )


def _choose_video(
    offer: SessionDescription, video: VideoInfo, camera_id: str
) -> tuple[int, MediaDescription, RTCRtpCodecParameters]:
    wanted = _profile(video.codec_string.removeprefix("avc1."))
    best: tuple[tuple[int, int, int], int, MediaDescription, RTCRtpCodecParameters] | None = None
    is_unfragmented = False
    for section, media in enumerate(offer.media):
        if media.kind != "video" or media.port == 0 or media.direction in ("sendonly", "inactive"):
            continue
        for place, codec in enumerate(media.rtp.codecs):
            if codec.mimeType.lower() != "video/h264" or codec.payloadType not in media.fmt:
                continue
            packetization = str(codec.parameters.get("packetization-mode", ""))
            if packetization not in ("", "1"):
                is_unfragmented = True
                continue
            offered = _profile(str(codec.parameters.get("profile-level-id", "42000a")))
            fit = 2 if offered == wanted else 1 if offered in _CONTAINS.get(wanted, frozenset()) else 0
            rank = (fit, int(packetization == "1"), -place)
            if best is None or rank > best[0]:
                best = rank, section, media, codec
        if best is not None:
            break
    if best is None and is_unfragmented:
        raise NegotiationError(
            f"the offer has H.264 with another packetization-mode than 1, and camera {camera_id}'s pictures do not fit"
            " in single packets; offer packetization-mode=1, or use HLS or MJPEG",
            OTHER_TRANSPORTS,
        )
    if best is None:
        raise NegotiationError(
            f"camera {camera_id} sends H.264, and the offer has no video section that receives it",
            OTHER_TRANSPORTS,
        )
    return best[1], best[2], best[3]


def _profile(profile_level_id: str) -> H264Profile:
    try:
        profile, _ = parse_h264_profile_level_id(profile_level_id[:4] + "1f")
    except ValueError:
        return H264Profile.PROFILE_HIGH
    return profile


def _choose_audio(
    offer: SessionDescription, audio: AudioInfo | None, video_section: int, bundled: set[str]
) -> tuple[Track | None, AudioCodec | None]:
    """An audio section fits only where it shares the video's transport."""
    if audio is None:
        return None, None
    wanted = [native_codec(audio), AudioCodec.OPUS]
    for section, media in enumerate(offer.media):
        if media.kind != "audio" or section == video_section or media.port == 0 or media.rtp.muxId not in bundled:
            continue
        if media.direction in ("sendonly", "inactive"):
            continue
        codecs = list(media.rtp.codecs)
        mapped = {codec.payloadType for codec in codecs}
        for payload_type, name in _STATIC_AUDIO.items():
            if int(payload_type) in media.fmt and int(payload_type) not in mapped:
                codecs.append(
                    RTCRtpCodecParameters(
                        mimeType=f"audio/{name}", clockRate=8000, channels=1, payloadType=int(payload_type)
                    )
                )
        for name in wanted:
            for codec in codecs:
                if codec.mimeType.lower() == f"audio/{name}".lower() and codec.clockRate == name.clock_rate:
                    return _track(section, media, codec), name
    return None, None


def native_codec(audio: AudioInfo) -> AudioCodec:
    """What the camera's audio is sent as: as it is where WebRTC knows it, else as Opus."""
    if audio.sample_rate_hz == 8000 and audio.channels == 1:
        if audio.codec == "pcm_alaw":
            return AudioCodec.PCMA
        if audio.codec == "pcm_mulaw":
            return AudioCodec.PCMU
    return AudioCodec.OPUS


def _track(section: int, media: MediaDescription, codec: RTCRtpCodecParameters) -> Track:
    feedback = [
        f"{item.type} {item.parameter}" if item.parameter else item.type
        for item in codec.rtcpFeedback
        if (item.type, item.parameter or None) in FEEDBACK
    ]
    retransmits = "nack" in feedback
    rtx = next(
        (
            other.payloadType
            for other in media.rtp.codecs
            if retransmits
            and other.mimeType.lower() == "video/rtx"
            and other.parameters.get("apt") == codec.payloadType
            and other.payloadType in media.fmt
        ),
        None,
    )
    assert codec.payloadType is not None  # aiortc's parser fills it from the rtpmap
    line = codec.mimeType.split("/", 1)[1] + f"/{codec.clockRate}"
    if codec.channels and codec.channels > 1:
        line += f"/{codec.channels}"
    wanted = (MID, PLAYOUT_DELAY) if media.kind == "video" else (MID,)
    return Track(
        section=section,
        mid=media.rtp.muxId,
        payload_type=codec.payloadType,
        codec_line=line,
        format_parameters=parameters_to_sdp(codec.parameters),
        feedback=tuple(feedback),
        rtx_payload_type=rtx,
        extensions={
            item.uri: item.id
            for item in media.rtp.headerExtensions
            # Beyond 14 it would take two-byte headers (RFC 8285 §4.3).
            if item.uri in wanted and 1 <= item.id <= 14
        },
    )
