"""The parameter sets of a stream, and what they say about it.

Theory of operation. A keyframe is searched for parameter sets (H.264 §7.4.1.2.1, H.265 §7.4.2.4) up to its first slice.
A :class:`~gateway.media.VideoInfo` is made of them. libav knows the same only after decoding, which a gateway never
does.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from gateway.codec import annexb, h264, h265
from gateway.codec.annexb import NalSyntax
from gateway.codec.bits import BitstreamError
from gateway.codec.sps import Sps
from gateway.errors import NoVideoError
from gateway.media import VideoInfo

SETS_MAX = 256
"""How many of each kind are kept: as many as pic_parameter_set_id can name (H.264 §7.4.2.2)."""

NAL_SYNTAX: Mapping[str, NalSyntax] = {"h264": h264.NAL, "hevc": h265.NAL}
"""By FFmpeg's name of the codec."""

_PARSE_SPS: Mapping[str, Callable[[bytes], Sps]] = {"h264": h264.parse_sps, "hevc": h265.parse_sps}

_PARSE_PPS: Mapping[str, Callable[[bytes], tuple[int, int]]] = {
    "h264": h264.parse_pps_identifiers,
    "hevc": h265.parse_pps_identifiers,
}

_PARSE_SLICE_PPS: Mapping[str, Callable[[bytes], int]] = {
    "h264": lambda start: h264.parse_slice_start(start)[1],
    "hevc": h265.parse_slice_pps,
}


@dataclass(frozen=True, slots=True)
class ParameterSets:
    """The parameter sets of a stream, each list in order of appearance and without start codes."""

    vps: tuple[bytes, ...]
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]

    @property
    def annex_b(self) -> bytes:
        """All of them as a byte stream."""
        return annexb.join(*self.vps, *self.sps, *self.pps)

    def is_complete(self, codec: str) -> bool:
        """Whether there is one of each kind that a decoder needs."""
        return bool(self.sps and self.pps and (self.vps or NAL_SYNTAX[codec].vps is None))


def find_parameter_sets(codec: str, data: bytes) -> ParameterSets | None:
    """The parameter sets before the first slice of an access unit, or of extradata; ``None`` where a kind is missing
    that a decoder needs."""
    found = parameter_sets_in(codec, data)
    return found if found.is_complete(codec) else None


def parameter_sets_in(codec: str, data: bytes) -> ParameterSets:
    """The parameter sets before the first slice, of whatever kinds there are."""
    syntax = NAL_SYNTAX[codec]
    found: dict[int | None, list[bytes]] = {syntax.vps: [], syntax.sps: [], syntax.pps: []}
    offsets = annexb.nal_offsets(data)
    start = next(offsets, None)
    while start is not None:
        kind = syntax.type_of(data, start)
        # Two zeros are no header, but an empty NAL unit before the next start code.
        if kind in syntax.slices and data[start : start + 2] != b"\x00\x00":
            break
        end = next(offsets, None)
        if kind in found and len(found[kind]) < SETS_MAX:
            unit = (data[start:] if end is None else data[start : end - 3]).rstrip(b"\x00")
            if unit and unit not in found[kind]:
                found[kind].append(unit)
        start = end
    return ParameterSets(tuple(found[syntax.vps]), tuple(found[syntax.sps]), tuple(found[syntax.pps]))


def first_slice(codec: str, data: bytes) -> bytes:
    """The beginning of an access unit's first slice, its NAL unit header included; empty where it has none."""
    syntax = NAL_SYNTAX[codec]
    for start in annexb.nal_offsets(data):
        if syntax.type_of(data, start) in syntax.slices and data[start : start + 2] != b"\x00\x00":
            return data[start : start + 64]
    return b""


def active_first(codec: str, data: bytes, sets: ParameterSets) -> ParameterSets:
    """The same parameter sets, with the SPS that the slices of this access unit use before the others.

    A slice names its PPS, and that its SPS (H.264 §7.4.1.2.1, H.265 §7.4.2.4.2). Decoders and sample entries take size
    and profile from the first SPS. Where the active one cannot be found, the order stays.
    """
    parse_pps = _PARSE_PPS[codec]
    try:
        pps_number = _PARSE_SLICE_PPS[codec](first_slice(codec, data))
    except BitstreamError:
        return sets
    wanted: int | None = None
    for unit in sets.pps:
        with contextlib.suppress(BitstreamError):
            number, sps_number = parse_pps(unit)
            wanted = sps_number if number == pps_number else wanted
    for unit in sets.sps:
        with contextlib.suppress(BitstreamError):
            if _PARSE_SPS[codec](unit).identifier == wanted:
                return replace(sets, sps=(unit, *(other for other in sets.sps if other is not unit)))
    return sets


def video_info(codec: str, sets: ParameterSets, declared_rate: Fraction | None = None) -> tuple[VideoInfo, Sps]:
    """What the stream is, and the SPS that says so.

    The first SPS counts: see :func:`active_first`. ``declared_rate`` is the frame rate of the session description, used
    where the SPS has none. Raises :class:`~gateway.errors.NoVideoError` where the SPS cannot be read.
    """
    try:
        sps = _PARSE_SPS[codec](sets.sps[0])
    except BitstreamError as error:
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
