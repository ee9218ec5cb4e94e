"""The PROGRAM-DATE-TIME of a live playlist's segments (rfc8216bis §4.4.4.6).

PROGRAM-DATE-TIME is the time of capture. Within a discontinuity it never maps a date to two places (§6.2.1). Where
the wall clock was set, it follows the clock with a discontinuity, ahead and back. After a step back by less than the
window, the playlist has some dates twice for as long as the window lasts, as the clock had them twice.
"""

from gateway.clock import CLOCK_RATE
from hls.live.segment import LiveSegment
from hls.parts.clock_step import CLOCK_STEP_90K
from hls.parts.part import Part

OVERLAP_MAX_90K = CLOCK_RATE // 2
"""By how much dates may overlap between two segments where the clock was not set, in ticks: a capture time that falls
for other reasons is followed in several segments."""

BACK_MAX_90K = 5 * CLOCK_RATE
"""By how much dates may fall without a discontinuity and be followed slowly: the first frames of a camera that sends in
bursts come late. By more, the clock was set, in a stream without keyframes."""

JITTER_MAX_90K = CLOCK_RATE // 4
SLEW_90K = CLOCK_RATE // 200
"""If a capture time differs from the end of the segment before by no more than JITTER_MAX, it is followed by SLEW a
segment: shaka places segments by their dates, and missed the last part of each while dates and durations disagreed."""


def next_program_date_90k(last: LiveSegment | None, part: Part, part_target_90k: int) -> int:
    """The date of the segment that ``part`` begins, after ``last``."""
    if last is None:
        return part.captured_at_90k
    due_90k = last.program_date_90k + last.duration_90k
    ahead_90k = part.captured_at_90k - due_90k
    if abs(ahead_90k) <= JITTER_MAX_90K and not part.is_discontinuity:
        return due_90k + max(-SLEW_90K, min(ahead_90k, SLEW_90K))
    step_90k = CLOCK_STEP_90K + part_target_90k
    if ahead_90k >= -(step_90k if part.is_discontinuity else BACK_MAX_90K):
        overlap_90k = min(OVERLAP_MAX_90K, last.duration_90k - CLOCK_RATE // 1000)
        return max(part.captured_at_90k, due_90k - overlap_90k)
    return part.captured_at_90k
