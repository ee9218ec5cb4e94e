"""Which format of an offer fits what a camera sends, and the format parameters of the answer.

Rules:

1. A codec fits by name, clock rate and channels. G.711 is sent with one channel (RFC 3551 §4.5.14), so that
   ``PCMA/8000/2`` is another codec. Opus always has ``/48000/2`` (RFC 7587 §7). Clients that leave the channels out
   exist (GStreamer), and are the last choice.
2. H.264: the profile that the camera sends; else a profile that contains it; else any H.264, since decoders support
   more than browsers announce (Firefox offers baseline and decodes high). Among equals, one with packetization-mode 1.
   Mode 0 is never chosen: each NAL unit would have to fit in one packet (RFC 6184 §6.2), and keyframes of cameras do
   not. A format without a packetization-mode means mode 0 (§8.1), but is accepted last: GStreamer's clients offer it,
   and they read fragments.
3. The answer's parameters describe what is sent: the camera's H.264 level, if the offer allows another one than its own
   (RFC 6184 §8.2.2), and whether Opus has two channels (``sprop-stereo``). Of two Opus formats, the one whose
   ``stereo`` is that of the camera is chosen.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum

from aiortc.sdp import H264Profile, parse_h264_profile_level_id

from gateway.errors import NegotiationError
from gateway.media import AudioInfo, VideoInfo
from gateway.webrtc.sdp.offer import OfferedCodec, OfferedSection

OTHER_TRANSPORTS = ("hls", "mjpeg")
"""Transports that play a camera which WebRTC cannot carry."""

DEFAULT_PROFILE_LEVEL_ID = "42000a"
"""H.264 without the parameter: baseline, level 1 (RFC 6184 §8.1)."""

VIDEO_CLOCK_RATE = 90_000

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


class AudioCodec(StrEnum):
    """Audio codecs that can be sent, by their names in SDP."""

    OPUS = "opus"
    PCMA = "PCMA"
    PCMU = "PCMU"

    @property
    def clock_rate(self) -> int:
        return 48_000 if self is AudioCodec.OPUS else 8_000


def native_codec(audio: AudioInfo) -> AudioCodec:
    """The codec that the camera's audio is sent as: its own if WebRTC knows it, else Opus."""
    if audio.sample_rate_hz == 8000 and audio.channels == 1:
        if audio.codec == "pcm_alaw":
            return AudioCodec.PCMA
        if audio.codec == "pcm_mulaw":
            return AudioCodec.PCMU
    return AudioCodec.OPUS


def choose_h264(section: OfferedSection, video: VideoInfo, camera_id: str) -> OfferedCodec | None:
    """The format for the camera's video; ``None`` if the section has no H.264.

    Raises :class:`~gateway.errors.NegotiationError` if all of its H.264 is without fragmentation.
    """
    wanted = _profile(profile_level_id(video))
    best: tuple[tuple[int, int, int], OfferedCodec] | None = None
    is_unfragmented = False
    for place, codec in enumerate(section.codecs):
        if codec.name.upper() != "H264" or codec.clock_rate != VIDEO_CLOCK_RATE:
            continue
        mode = codec.parameters.get("packetization-mode")
        if mode not in (None, "1"):
            is_unfragmented = True
            continue
        offered = _profile(codec.parameters.get("profile-level-id") or DEFAULT_PROFILE_LEVEL_ID)
        fit = 2 if offered == wanted else 1 if offered in _CONTAINS.get(wanted, frozenset()) else 0
        rank = (fit, int(mode == "1"), -place)
        if best is None or rank > best[0]:
            best = rank, codec
    if best is None and is_unfragmented:
        raise NegotiationError(
            f"the offer has H.264 with a packetization-mode other than 1, and camera {camera_id}'s frames do not fit"
            " in single packets; offer packetization-mode=1, or use HLS or MJPEG",
            OTHER_TRANSPORTS,
        )
    return None if best is None else best[1]


def choose_by_profile(
    section: OfferedSection,
    codec: str,
    video: VideoInfo,
    camera_id: str,
    *,
    fits: Callable[[OfferedCodec], bool],
    is_own: Callable[[OfferedCodec], bool],
) -> OfferedCodec | None:
    """The format of a codec (``H.265``, ``AV1``) that ``fits``, one of the camera's own profile first.

    ``None`` if the section has none of the codec. Raises :class:`~gateway.errors.NegotiationError` if none of it fits.
    """
    name = codec.replace(".", "")
    offered = [each for each in section.codecs if (each.name.upper(), each.clock_rate) == (name, VIDEO_CLOCK_RATE)]
    fitting = [each for each in offered if fits(each)]
    if offered and not fitting:
        raise NegotiationError(
            f"camera {camera_id} sends {codec} ({video.codec_string}), and the {codec} of the offer has another"
            " profile, tier or a lower level; use HLS or MJPEG, or set the camera to H.264",
            OTHER_TRANSPORTS,
        )
    return min(fitting, key=lambda each: not is_own(each), default=None)


def repeated_parameters(offered: OfferedCodec, names: Iterable[str]) -> str:
    """The fmtp value of an answer that repeats these parameters of the offer."""
    return ";".join(f"{name}={value}" for name in names if (value := offered.parameters.get(name)) is not None)


def choose_audio(section: OfferedSection, audio: AudioInfo) -> tuple[OfferedCodec, AudioCodec] | None:
    """The format for the camera's audio: unchanged if possible, else Opus; ``None`` if the section has neither."""
    for name in dict.fromkeys((native_codec(audio), AudioCodec.OPUS)):
        fitting = [codec for codec in section.codecs if _fits(codec, name)]
        if fitting:
            return min(fitting, key=lambda codec: _opus_rank(codec, audio)), name
    return None


def h264_parameters(offered: OfferedCodec, video: VideoInfo) -> str:
    """The fmtp value of the answer."""
    parameters = {
        name: value
        for name, value in offered.parameters.items()
        if name in ("level-asymmetry-allowed", "packetization-mode", "profile-level-id") and value is not None
    }
    own = profile_level_id(video)
    if parameters.get("level-asymmetry-allowed") == "1" and len(parameters.get("profile-level-id", "")) == 6:
        parameters["profile-level-id"] = parameters["profile-level-id"][:4] + own[4:]
    return _fmtp(parameters)


def audio_parameters(offered: OfferedCodec, audio: AudioInfo) -> str:
    """The fmtp value of the answer. What the offer says about the sound that the client would send is left out."""
    if offered.name.lower() != AudioCodec.OPUS:
        return _fmtp({name: value for name, value in offered.parameters.items() if value is not None})
    parameters = {
        name: value
        for name, value in offered.parameters.items()
        if name in ("minptime", "useinbandfec") and value is not None
    }
    if audio.channels > 1:
        parameters["sprop-stereo"] = "1"
    return _fmtp(parameters)


def profile_level_id(video: VideoInfo) -> str:
    """The camera's profile-level-id (RFC 6184 §8.1): six hexadecimal digits, high profile if it is not known."""
    text = video.codec_string.removeprefix("avc1.").lower()
    return text if len(text) == 6 and all(digit in "0123456789abcdef" for digit in text) else "64001f"


def rtx_for(codec: OfferedCodec, codecs: Sequence[OfferedCodec]) -> int | None:
    """The payload type of retransmissions of ``codec`` (RFC 4588 §8.6)."""
    for other in codecs:
        is_rtx = other.name.lower() == "rtx" and other.clock_rate == codec.clock_rate
        if is_rtx and other.parameters.get("apt") == str(codec.payload_type):
            return other.payload_type
    return None


def _fits(codec: OfferedCodec, name: AudioCodec) -> bool:
    if codec.name.lower() != name.lower() or codec.clock_rate != name.clock_rate:
        return False
    return codec.channels in ((None, 2) if name is AudioCodec.OPUS else (None, 1))


def _opus_rank(codec: OfferedCodec, audio: AudioInfo) -> tuple[bool, bool]:
    is_stereo = codec.parameters.get("stereo") == "1"
    return codec.channels is None, is_stereo != (audio.channels > 1)


def _profile(text: str) -> H264Profile:
    try:
        profile, _ = parse_h264_profile_level_id(text[:4] + "1f")
    except ValueError:
        return H264Profile.PROFILE_HIGH
    return profile


def _fmtp(parameters: Mapping[str, str]) -> str:
    return ";".join(f"{name}={value}" for name, value in parameters.items())
