"""What goes into which clip of an export.

Rule: where the codec or the size of the picture changes, the next clip begins. An MP4 may have several sample
descriptions (ISO/IEC 14496-12 §8.5.2), but hardly any player goes on with another codec, and pictures are encoded again
in one size.
"""

import itertools
from collections.abc import Iterator, Sequence

from gateway.clock import to_rfc3339
from hls.archive.segment import SegmentWithFragments
from hls.playback.clip import picture_format


def clip_spans(
    whole: Sequence[SegmentWithFragments], start_90k: int, end_90k: int
) -> Iterator[tuple[list[SegmentWithFragments], tuple[int, int]]]:
    """The segments of each clip, and its part of [``start_90k``, ``end_90k``). ``whole``: all of it, oldest first."""
    groups = [list(group) for _, group in itertools.groupby(whole, lambda each: picture_format(each.segment))]
    for group, after in itertools.zip_longest(groups, groups[1:]):
        to_90k = end_90k if after is None else min(end_90k, max(start_90k, after[0].segment.start_90k))
        if start_90k < to_90k:
            yield group, (start_90k, to_90k)
        start_90k = to_90k


def file_time(time_90k: int) -> str:
    """A wall clock in the name of a clip."""
    return to_rfc3339(time_90k).replace(":", "").replace(".", "_")
