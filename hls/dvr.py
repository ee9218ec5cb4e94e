"""The archive as HLS: fragments gathered into HLS segments, and the playlist over the very files.

Rules:

1. An HLS segment begins with a file, or with a keyframe at least :data:`HLS_SEGMENT_MIN_S` after the one before, so
   that its borders depend on the file alone and never on what a playlist was asked for.
2. None is longer than :data:`HLS_TARGET_S`, which is every playlist's EXT-X-TARGETDURATION (RFC 8216 §4.3.3.1: it MUST
   NOT change); with keyframes further apart, a segment may begin without one.
3. The last segment of a growing file is listed when the next one begins, and not before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.clock import CLOCK_RATE
from hls.segment import Fragment

HLS_TARGET_S = 10
"""Room for the 10 s keyframe interval of "smart" camera codecs."""

HLS_SEGMENT_MIN_S = 4
"""Short enough to seek well, long enough that an hour is a small playlist."""

_MIN_90K = HLS_SEGMENT_MIN_S * CLOCK_RATE
_MAX_90K = HLS_TARGET_S * CLOCK_RATE + CLOCK_RATE // 2 - 1
"""EXTINF, rounded to the nearest second, must not exceed the target."""


@dataclass(frozen=True, slots=True)
class HlsSegment:
    """Side-by-side fragments of one file. ``offset`` and ``size`` in bytes, times in the file's media time."""

    offset: int
    size: int
    start_90k: int
    duration_90k: int

    @property
    def end_90k(self) -> int:
        return self.start_90k + self.duration_90k


def hls_segments(fragments: Sequence[Fragment], *, is_whole: bool) -> list[HlsSegment]:
    """Gather fragments by the module's rules; ``is_whole`` where the file has ended."""
    segments: list[HlsSegment] = []
    first: Fragment | None = None
    last: Fragment | None = None
    for fragment in fragments:
        if first is not None and last is not None:
            far_enough = fragment.is_keyframe and last.end_90k - first.start_90k >= _MIN_90K
            if far_enough or fragment.end_90k - first.start_90k > _MAX_90K:
                segments.append(_gather(first, last))
                first = fragment
        else:
            first = fragment
        last = fragment
    if is_whole and first is not None and last is not None:
        segments.append(_gather(first, last))
    return segments


def _gather(first: Fragment, last: Fragment) -> HlsSegment:
    return HlsSegment(
        offset=first.offset,
        size=last.offset + last.size - first.offset,
        start_90k=first.start_90k,
        duration_90k=last.end_90k - first.start_90k,
    )
