"""Finds the codecs that an offer and a camera have in common (RFC 8829 §5.3).

Theory of operation. For each media section of the offer either one codec is accepted, send-only, or the section is
declined. Everything runs over one bundled transport (RFC 9143) with multiplexed RTCP (RFC 5761).

Choice of the H.264 payload type: the profile that the camera sends; else a profile that contains it; else any H.264,
since decoders support more than browsers announce (Firefox offers baseline and decodes high). Among equals, one with
packetization-mode 1. Mode 0 is never chosen: each NAL unit would have to fit in one packet (RFC 6184 §6.2), and
keyframes of cameras do not. A payload type without a packetization-mode means mode 0 (§8.1), but is accepted last:
GStreamer's clients offer it, and they read fragments.
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

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
"""Header extensions that are sent if they are offered (RFC 9143 §15, and Chromium's documentation)."""

FEEDBACK = frozenset({("nack", None), ("nack", "pli"), ("ccm", "fir")})
"""RTCP feedback that is accepted. Any other would be received in vain."""

OTHER_TRANSPORTS = ("hls", "mjpeg")
"""Transports that play a camera which WebRTC cannot carry."""

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
"""The profiles whose decoders also decode a given profile (H.264 annex A.2)."""

_STATIC_AUDIO = {"0": "PCMU", "8": "PCMA"}
"""Payload types that may stand without a rtpmap (RFC 3551 §6)."""


class AudioCodec(StrEnum):
    """Audio codecs that can be sent, by their names in SDP."""

    OPUS = "opus"
    PCMA = "PCMA"
    PCMU = "PCMU"

    @property
    def clock_rate(self) -> int:
        return 48_000 if self is AudioCodec.OPUS else 8_000


@dataclass(slots=True, frozen=True)
class NegotiatedMedia:
    """One accepted media section of the offer."""

    index: int
    """Which media section of the offer."""
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
    """What an offer and a camera have in common, and the remote ICE and DTLS parameters."""

    remote_username: str
    remote_password: str
    fingerprints: tuple[tuple[str, str], ...]
    """Pairs of hash name and value."""
    dtls_role: str
    """Ours: ``server`` if the offer leaves the choice, since Chromium repeats a lost ClientHello after 50 ms."""
    sections: tuple[tuple[str, str, str], ...]
    """Kind, protocol and formats of every media section, which the answer repeats."""
    mids: tuple[str, ...]
    video: NegotiatedMedia
    audio: NegotiatedMedia | None
    audio_codec: AudioCodec | None


def negotiate(offer: SessionDescription, info: StreamInfo, camera_id: str) -> NegotiatedSession:
    """Choose the codecs. Raises ``BadRequestError``, or ``NegotiationError`` with the reason."""
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
        video=_media(section, media, codec),
        audio=audio,
        audio_codec=audio_codec,
    )


def refuse_b_frames(camera_id: str) -> NegotiationError:
    """The error for a camera whose frames come in another order than they are shown."""
    return NegotiationError(
        f"camera {camera_id} sends B-frames, which WebRTC cannot carry; use HLS or MJPEG, or set the camera to the"
        " baseline profile or to no B-frames",
        OTHER_TRANSPORTS,
    )


def native_codec(audio: AudioInfo) -> AudioCodec:
    """The codec that the camera's audio is sent as: its own if WebRTC knows it, else Opus."""
    if audio.sample_rate_hz == 8000 and audio.channels == 1:
        if audio.codec == "pcm_alaw":
            return AudioCodec.PCMA
        if audio.codec == "pcm_mulaw":
            return AudioCodec.PCMU
    return AudioCodec.OPUS


def _check_video(video: VideoInfo, camera_id: str) -> None:
    if video.codec != "h264":
        name = {"hevc": "H.265"}.get(video.codec, video.codec)
        raise NegotiationError(
            f"camera {camera_id} sends {name}, and WebRTC here carries H.264 only; use HLS or MJPEG, or set the camera"
            " to H.264",
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
            f"the offer has H.264 with a packetization-mode other than 1, and camera {camera_id}'s frames do not fit"
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
) -> tuple[NegotiatedMedia | None, AudioCodec | None]:
    """Choose the audio section and codec. The section must be bundled with the video's transport."""
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
                    return _media(section, media, codec), name
    return None, None


def _media(section: int, media: MediaDescription, codec: RTCRtpCodecParameters) -> NegotiatedMedia:
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
    return NegotiatedMedia(
        index=section,
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
