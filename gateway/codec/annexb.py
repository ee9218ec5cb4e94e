"""Annex B: NAL units in a byte stream, and what can be known of a stream without decoding it.

Theory of operation. Keyframes are searched for parameter sets (ITU-T H.264 §7.4.1.2.1, H.265 §7.4.2.4), and from them
a :class:`~gateway.media.VideoInfo` is made; nothing else of a picture is looked at. libav knows the same things only
after it has decoded, which a gateway never does.

Only the syntax elements up to what is needed are read, by :mod:`gateway.codec.sps`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from gateway.codec.sps import BitsError, Sps, parse_h264_sps, parse_hevc_sps
from gateway.errors import NoVideoError
from gateway.media import VideoInfo

START_CODE = b"\x00\x00\x00\x01"

_H264_SPS, _H264_PPS, _H264_SLICES = 7, 8, range(1, 6)
_HEVC_VPS, _HEVC_SPS, _HEVC_PPS, _HEVC_SLICES = 32, 33, 34, range(32)

SETS_MAX = 256
"""Of each kind: as many as pic_parameter_set_id can name (H.264 §7.4.2.2). More are nobody's picture."""


@dataclass(frozen=True, slots=True)
class ParameterSets:
    """The parameter sets of a stream, each list in order of appearance and without start codes."""

    vps: tuple[bytes, ...]
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]

    @property
    def annex_b(self) -> bytes:
        return b"".join(START_CODE + unit for unit in (*self.vps, *self.sps, *self.pps))


def split(data: bytes) -> Iterator[bytes]:
    """The NAL units of a byte stream (H.264 Annex B), without start codes and trailing zeros."""
    start = data.find(b"\x00\x00\x01")
    while start >= 0:
        start += 3
        following = data.find(b"\x00\x00\x01", start)
        unit = (data[start:] if following < 0 else data[start:following]).rstrip(b"\x00")
        if unit:
            yield unit
        start = following


def units_at(data: bytes) -> list[int]:
    """Where the NAL units of a byte stream begin, behind their start codes."""
    starts = []
    at = data.find(b"\x00\x00\x01")
    while at >= 0:
        starts.append(at + 3)
        at = data.find(b"\x00\x00\x01", at + 3)
    return starts


def nal_type(codec: str, unit: bytes) -> int:
    """nal_unit_type of H.264 or H.265."""
    return unit[0] & 0x1F if codec == "h264" else (unit[0] >> 1) & 0x3F


def find_parameter_sets(codec: str, data: bytes) -> ParameterSets | None:
    """The parameter sets before the first slice of an access unit, or of extradata; ``None`` without SPS and PPS."""
    vps_type, sps_type, pps_type, slices = (
        (-1, _H264_SPS, _H264_PPS, _H264_SLICES) if codec == "h264" else (_HEVC_VPS, _HEVC_SPS, _HEVC_PPS, _HEVC_SLICES)
    )
    found: dict[int, list[bytes]] = {vps_type: [], sps_type: [], pps_type: []}
    for unit in split(data):
        kind = nal_type(codec, unit)
        if kind in slices:
            break
        if kind in found and len(found[kind]) < SETS_MAX and unit not in found[kind]:
            found[kind].append(unit)
    if not found[sps_type] or not found[pps_type]:
        return None
    return ParameterSets(tuple(found[vps_type]), tuple(found[sps_type]), tuple(found[pps_type]))


def describe(codec: str, sets: ParameterSets, declared_rate: Fraction | None = None) -> tuple[VideoInfo, Sps]:
    """What a stream is, by its parameter sets.

    ``declared_rate`` is the frame rate that the session description declares; the SPS's own is believed first. Raises
    :class:`~gateway.errors.NoVideoError` where the SPS cannot be read.
    """
    try:
        sps = parse_h264_sps(sets.sps[0]) if codec == "h264" else parse_hevc_sps(sets.sps[0])
    except BitsError as error:
        raise NoVideoError(
            f"the camera's sequence parameter set cannot be read ({error}); restart the camera, or try its other stream"
        ) from None
    info = VideoInfo(
        codec=codec,
        codec_string=sps.codec_string,
        width=sps.width,
        height=sps.height,
        parameter_sets=sets.annex_b,
        frame_rate=sps.frame_rate or declared_rate,
        has_b_frames=bool(sps.max_reorder),
    )
    return info, sps
