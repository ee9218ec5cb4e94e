"""TargetDurations: the two durations that a live playlist never changes, and how they are found.

Theory of operation. EXT-X-TARGETDURATION must never change (rfc8216bis §6.2.1), and neither should the part target. So
both must be right before the first playlist is sent. They depend on the camera: a part is a whole number of its frames,
a segment a whole number of its GOPs. A :class:`TargetDurationProbe` therefore measures the stream up to its second
keyframe, for ``UNAWAITED_PROBE_MAX_S`` at most. A camera that is already captured was measured long before a viewer
comes; a cold one has its playlist within its first GOP. If a viewer waits and the GOP is longer than ``PROBE_MAX_S``,
the target duration is a guess.

The target duration is as close to that of the segments as the rules permit: video.js counts the open segment as a whole
one, and begins where that would end. It finds a keyframe that is in the part there or the one before. If the next one
is more than two seconds away it gives up, because ten parts without a picture are too many for it. With a GOP of 4 s
and a target duration of 4 s, it stopped when it changed to a sub stream: then it began three parts before the keyframe.
"""

import itertools
import math
from dataclasses import dataclass
from statistics import median

from gateway.clock import CLOCK_RATE, seconds_90k
from gateway.media import Packet

PART_DURATION_S = 0.2
"""Intended duration of a part. Players stay three of them behind the live edge (PART-HOLD-BACK), and each costs a
request."""

PART_MARGIN = 1.025
"""Part target divided by the duration of a part's frames: a margin for the jitter of time stamps. It is small, because
three part targets are latency; the segmenter corrects larger jitter."""

MIN_SEGMENT_S = 1.0
"""A segment has as many GOPs as it takes to last this long."""

MIN_SEGMENT_90K = seconds_90k(MIN_SEGMENT_S)

ROUNDED_OFF_90K = CLOCK_RATE // 2 - CLOCK_RATE // 100
"""By how much a segment may exceed the target duration; a little less than the half second that rounds down."""

GOP_MARGIN, GOP_MARGIN_MAX_S = 0.1, 0.5
"""A margin for cameras that lengthen a GOP by some frames. It is small, because of what video.js does."""

PROBE_MAX_S = 4.0
"""GOPs up to this length are measured while a viewer waits. That of a cold camera would wait too long otherwise."""

UNAWAITED_PROBE_MAX_S = 25.0
"""GOPs up to this length are measured before there is a viewer."""

LONG_GOP_TARGET_S = 10
"""Target duration if the GOP is not known: 10 s is the longest that cameras commonly offer, and 5 s the next."""

MAX_TARGET_S = 60
"""Smart codecs have even longer GOPs. Beyond this, segments without a keyframe are better than a window of minutes."""

STILL_90K = 5 * CLOCK_RATE
"""Pictures that are further apart, in ticks, are stills: a segment has one of them."""

MAX_STILL_TARGET_S = 330
"""Of stills: one in five minutes. There is nothing between them that a segment could end with."""

FEW_FRAMES = 4
"""Where there are no more steps between keyframes, the longest counts: stills may begin with wrong timestamps."""


@dataclass(frozen=True, slots=True)
class TargetDurations:
    """``part_target_90k``: EXT-X-PART-INF's PART-TARGET. ``target_duration_s``: EXT-X-TARGETDURATION, whole seconds."""

    part_target_90k: int
    target_duration_s: int

    @property
    def part_min_90k(self) -> int:
        """Minimum duration of an ordinary part: 85 % of the part target (§4.4.4.9)."""
        return -(-self.part_target_90k * 85 // 100)

    @property
    def target_duration_90k(self) -> int:
        return self.target_duration_s * CLOCK_RATE

    @property
    def segment_max_90k(self) -> int:
        """Maximum duration of a segment: its EXTINF, rounded to whole seconds, is the target duration (§4.4.3.1)."""
        return self.target_duration_90k + ROUNDED_OFF_90K


class TargetDurationProbe:
    """Measures the video packets of one run, from a keyframe on, until the target durations are known.

    ``longest_gop_90k`` is the longest GOP that the camera had before.
    """

    def __init__(self, longest_gop_90k: int = 0) -> None:
        self.is_guess = False
        """Whether the target duration was returned before the length of a GOP was known."""
        self._dts_90k: list[int] = []
        self._has_keyframes_alone = True
        self._longest_gop_90k = longest_gop_90k

    def add(self, packet: Packet, *, is_awaited: bool = True) -> TargetDurations | None:
        """Take the next video packet. Returns the durations once they are known; earlier if a viewer waits."""
        self._dts_90k.append(packet.dts_90k)
        self._has_keyframes_alone &= packet.is_keyframe
        span_90k = packet.dts_90k - self._dts_90k[0]
        if packet.is_keyframe and span_90k >= MIN_SEGMENT_90K:
            return self._durations(span_90k)
        if span_90k >= seconds_90k(PROBE_MAX_S if is_awaited else UNAWAITED_PROBE_MAX_S):
            self.is_guess = self._longest_gop_90k < seconds_90k(PROBE_MAX_S)
            return self._durations(None)
        return None

    def _durations(self, segment_90k: int | None) -> TargetDurations:
        steps = [after - before for before, after in itertools.pairwise(self._dts_90k)]
        has_stills = self._has_keyframes_alone and len(steps) <= FEW_FRAMES
        frame_90k = max(steps) if has_stills else median(steps)
        frames = max(1, round(seconds_90k(PART_DURATION_S) / frame_90k))
        # Rounded up to milliseconds, so that the number in the playlist is exactly the limit that parts keep.
        part_target_90k = math.ceil(frames * frame_90k * PART_MARGIN / 90) * 90
        longest_90k = max(segment_90k or 0, self._longest_gop_90k)
        margin_90k = min(longest_90k * GOP_MARGIN, seconds_90k(GOP_MARGIN_MAX_S))
        target_s = math.ceil((longest_90k + margin_90k + part_target_90k - ROUNDED_OFF_90K) / CLOCK_RATE)
        # At least 2 s, because every timeout of the protocol is a multiple of the target duration.
        least_s = LONG_GOP_TARGET_S if self.is_guess else 2
        most_s = MAX_STILL_TARGET_S if frame_90k >= STILL_90K else MAX_TARGET_S
        return TargetDurations(part_target_90k, min(max(least_s, target_s), most_s))
