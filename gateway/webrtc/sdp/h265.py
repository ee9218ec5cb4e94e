"""Which H.265 format of an offer fits what a camera sends, and the format parameters of the answer.

Rules (RFC 7798 §7, draft-ietf-avtcore-hevc-webrtc):

1. Parameters that an offer leaves out have the values of RFC 7798 §7.1: Main profile, main tier, level 3.1, one stream.
   Safari leaves out most of them, GStreamer all.
2. Profile, tier and transmission mode identify the format and are used symmetrically (RFC 7798 §7.2.2). A format fits
   if its profile is the camera's, or one that the camera's stream says it conforms to. A decoder of the high tier also
   decodes the main tier.
3. The level does not identify the format. A level of the offer that is below the camera's is a limit of the decoder:
   the format does not fit. Level 3.1 is none: browsers say it that do not know better (Safari decodes 4K).
4. The answer repeats the parameters of the offer, also a level that is above the camera's (§7.2.2: it is the highest).
   Pion before 4.2.26, and with it MediaMTX 1.20, take another level for another format, and then show nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.media import VideoInfo
from gateway.webrtc.sdp.codecs import choose_by_profile, repeated_parameters
from gateway.webrtc.sdp.offer import OfferedCodec, OfferedSection

MAIN = 1
MAIN_10 = 2

DEFAULT_LEVEL_ID = 93
"""Level 3.1: thirty times the level (RFC 7798 §7.1)."""

_DEFAULTS: Mapping[str, int] = {"profile-space": 0, "profile-id": MAIN, "tier-flag": 0, "level-id": DEFAULT_LEVEL_ID}
_REPEATED = ("level-id", "profile-id", "tier-flag", "tx-mode")


@dataclass(slots=True, frozen=True)
class StreamProfile:
    """What a stream says about itself (H.265 §7.3.3). ``profiles`` are those whose decoders decode it."""

    profile_id: int
    profiles: frozenset[int]
    is_high_tier: bool
    level_id: int


def stream_profile(video: VideoInfo) -> StreamProfile:
    """Read from the codec string (ISO/IEC 14496-15 §E.3). Main profile, level 3.1, where it cannot be read."""
    _, profile, compatibility, level = [*video.codec_string.split("."), "", "", ""][:4]
    try:
        number, flags, level_id = int(profile), int(compatibility, 16), int(level[1:])
    except ValueError:
        number, flags, level_id = MAIN, 0, DEFAULT_LEVEL_ID
    profiles = {number, *(each for each in range(32) if flags >> each & 1)}
    if number == MAIN:
        profiles.add(MAIN_10)  # §A.3.3
    return StreamProfile(number, frozenset(profiles), level.startswith("H"), level_id)


def choose_h265(section: OfferedSection, video: VideoInfo, camera_id: str) -> OfferedCodec | None:
    """The format for the camera's video; ``None`` if the section has no H.265.

    Raises :class:`~gateway.errors.NegotiationError` if none of its H.265 fits.
    """
    own = stream_profile(video)
    return choose_by_profile(
        section,
        "H.265",
        video,
        camera_id,
        fits=lambda codec: _fits(codec, own),
        is_own=lambda codec: _value(codec, "profile-id") == own.profile_id,
    )


def h265_parameters(offered: OfferedCodec, _: VideoInfo) -> str:
    """The fmtp value of the answer."""
    return repeated_parameters(offered, _REPEATED)


def offered_parameters(video: VideoInfo) -> str:
    """The fmtp value of our own offer."""
    own = stream_profile(video)
    tier = int(own.is_high_tier)
    return f"level-id={own.level_id};profile-id={own.profile_id};tier-flag={tier};tx-mode=SRST"


def _fits(codec: OfferedCodec, own: StreamProfile) -> bool:
    level = _value(codec, "level-id")
    return (
        (codec.parameters.get("tx-mode") or "SRST").upper() == "SRST"
        and _value(codec, "profile-space") == 0
        and _value(codec, "profile-id") in own.profiles
        and _value(codec, "tier-flag") >= int(own.is_high_tier)
        and (level == DEFAULT_LEVEL_ID or level >= own.level_id)
    )


def _value(codec: OfferedCodec, name: str) -> int:
    """A numeric parameter, or its default where it is missing or no number."""
    text = codec.parameters.get(name) or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 3 else _DEFAULTS[name]
