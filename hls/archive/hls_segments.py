"""Group the fragments of a recording into HLS segments, and pack these for the index.

Rules:

1. An HLS segment begins with a file, or with a keyframe at least :data:`HLS_SEGMENT_MIN_S` after the one before. So its
   borders depend on the file alone, and not on the span of a request.
2. None is longer than :data:`HLS_TARGET_S`, the EXT-X-TARGETDURATION of every playlist (RFC 8216 §4.3.3.1: it MUST NOT
   change). Where keyframes are further apart, a segment may begin without one.
3. The last segment of a growing file is complete only when the next one begins.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.clock import CLOCK_RATE
from hls.archive.fragment import Fragment

HLS_TARGET_S = 10
"""Room for the 10 s keyframe interval of "smart" camera codecs."""

HLS_SEGMENT_MIN_S = 4
"""Short enough to seek well, long enough that an hour is a small playlist."""

_MIN_90K = HLS_SEGMENT_MIN_S * CLOCK_RATE
_MAX_90K = HLS_TARGET_S * CLOCK_RATE + CLOCK_RATE // 2 - 1
"""EXTINF, rounded to the nearest second, must not exceed the target."""


@dataclass(frozen=True, slots=True)
class HlsSegment:
    """Contiguous fragments of one file. ``offset`` and ``size`` in bytes, times in the file's media time."""

    offset: int
    size: int
    start_90k: int
    duration_90k: int

    @property
    def end_90k(self) -> int:
        return self.start_90k + self.duration_90k


# HLS segments are contiguous, as fragments are: size and duration suffice.
_PACKED = struct.Struct("<II")


def pack_hls(segments: Sequence[HlsSegment]) -> bytes:
    """Encode HLS segments for the index."""
    return b"".join(_PACKED.pack(segment.size, segment.duration_90k) for segment in segments)


def unpack_hls(packed: bytes, init_size: int) -> list[HlsSegment]:
    """Decode :func:`pack_hls`. The first one begins where the init segment ends."""
    segments = []
    offset, start_90k = init_size, 0
    for size, duration_90k in _PACKED.iter_unpack(packed):
        segments.append(HlsSegment(offset, size, start_90k, duration_90k))
        offset += size
        start_90k += duration_90k
    return segments


def hls_segments(fragments: Sequence[Fragment], *, is_complete: bool) -> list[HlsSegment]:
    """Group fragments by the module's rules. ``is_complete``: the file has ended."""
    segments: list[HlsSegment] = []
    first: Fragment | None = None
    last: Fragment | None = None
    for fragment in fragments:
        if first is not None and last is not None:
            far_enough = fragment.is_keyframe and last.end_90k - first.start_90k >= _MIN_90K
            if far_enough or fragment.end_90k - first.start_90k > _MAX_90K:
                segments.append(_segment_of(first, last))
                first = fragment
        else:
            first = fragment
        last = fragment
    if is_complete and first is not None and last is not None:
        segments.append(_segment_of(first, last))
    return segments


def _segment_of(first: Fragment, last: Fragment) -> HlsSegment:
    return HlsSegment(
        offset=first.offset,
        size=last.offset + last.size - first.offset,
        start_90k=first.start_90k,
        duration_90k=last.end_90k - first.start_90k,
    )
