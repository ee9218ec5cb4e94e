"""Which AV1 format of an offer fits what a camera sends, and the format parameters of the answer.

Rules (RTP Payload Format For AV1, v1.0, §7):

1. Parameters that an offer leaves out have the values of §7.2.3: main profile, level 3.1, main tier.
2. Profile and tier identify the format (§7.2.3). A format fits if its profile is the camera's, or the high one where
   that is main: its decoders decode both (AV1 §6.4.1).
3. A level of the offer that is below the camera's is a limit of the decoder. Level 3.1 is none: it is what browsers say
   for all that their decoder can.
4. The answer repeats the parameters of the offer.
"""

from collections.abc import Mapping

from gateway.codec.av1 import profile_level_tier
from gateway.media import VideoInfo
from gateway.webrtc.sdp.codecs import choose_by_profile, repeated_parameters
from gateway.webrtc.sdp.offer import OfferedCodec, OfferedSection

MAIN, HIGH = 0, 1

DEFAULT_LEVEL_IDX = 5
"""Level 3.1 (§7.1)."""

_DEFAULTS: Mapping[str, int] = {"profile": MAIN, "level-idx": DEFAULT_LEVEL_IDX, "tier": 0}


def choose_av1(section: OfferedSection, video: VideoInfo, camera_id: str) -> OfferedCodec | None:
    """The format for the camera's video; ``None`` if the section has no AV1.

    Raises :class:`~gateway.errors.NegotiationError` if none of its AV1 fits.
    """
    profile = profile_level_tier(video.codec_string)[0]
    return choose_by_profile(
        section,
        "AV1",
        video,
        camera_id,
        fits=lambda codec: _fits(codec, video),
        is_own=lambda codec: _value(codec, "profile") == profile,
    )


def av1_parameters(offered: OfferedCodec, _: VideoInfo) -> str:
    """The fmtp value of the answer."""
    return repeated_parameters(offered, _DEFAULTS)


def offered_av1_parameters(video: VideoInfo) -> str:
    """The fmtp value of our own offer."""
    profile, level_idx, tier = profile_level_tier(video.codec_string)
    return f"profile={profile};level-idx={level_idx};tier={tier}"


def _fits(codec: OfferedCodec, video: VideoInfo) -> bool:
    profile, level_idx, tier = profile_level_tier(video.codec_string)
    decoded, level = _value(codec, "profile"), _value(codec, "level-idx")
    return (
        (decoded == profile or (decoded, profile) == (HIGH, MAIN))
        and _value(codec, "tier") >= tier
        and (level == DEFAULT_LEVEL_IDX or level >= level_idx)
    )


def _value(codec: OfferedCodec, name: str) -> int:
    """A numeric parameter, or its default where it is missing or no number."""
    text = codec.parameters.get(name) or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 2 else _DEFAULTS[name]
