"""Pace: whether a camera is as fast as the parts of its playlist. Sans-IO; durations are in 90 kHz.

Parts that have fallen behind the frames catch up with one frame each: that takes a fifth of the time at 25 frames a
second. If the lag grows from keyframe to keyframe, or if ``LONG_FRAMES`` in a row were longer than the part target, the
camera has become slower than its parts, at night or because it loses most of its pictures. Then segments are *whole*
(rfc8216bis §6.2.1 demands parts of nobody): their parts end where frames do, and are not listed, and they end after
``WHOLE_SEGMENT_90K``. A segment with listed parts begins again after ``SHORT_FRAMES``.
"""

from gateway.clock import CLOCK_RATE

LONG_FRAMES = 2
"""A single one is that before frames that were lost. After two, and a lag of a part target, there are more to come."""

SHORT_FRAMES = 5
"""So many in a row of at most the part target: the camera is as fast again as when it was measured."""

WHOLE_SEGMENT_90K = 2 * CLOCK_RATE
"""A whole segment ends after that, also without a keyframe: there are no parts to tell players what is new."""

BEHIND_SEGMENTS = 3
"""A lag of fewer segments is caught up: segments of one frame last longer than the frame."""


class Pace:
    """See the module."""

    def __init__(self, part_target_90k: int) -> None:
        self.lists_parts = True
        """Whether the parts of the open segment are listed."""
        self._part_target_90k = part_target_90k
        self._long_frames = self._short_frames = 0
        """Frames in a row that were longer than the part target, or not."""
        self._keyframe_lag_90k = 0
        """The lag of the part before the newest keyframe."""

    def note(self, duration_90k: int) -> None:
        """A frame lasted so long."""
        is_long = duration_90k > self._part_target_90k
        self._long_frames = self._long_frames + 1 if is_long else 0
        self._short_frames = 0 if is_long else self._short_frames + 1

    def is_too_slow(self, lag_90k: int, open_90k: int, *, is_keyframe: bool) -> bool:
        """Whether segments must be whole from the next frame on.

        ``lag_90k``: by how much the open part begins earlier than its first frame. ``open_90k``: how long it is so far.
        """
        if not self.lists_parts:
            return False
        limit_90k = 2 * self._part_target_90k
        if is_keyframe:
            before_90k, self._keyframe_lag_90k = self._keyframe_lag_90k, lag_90k
            if lag_90k >= before_90k > limit_90k:
                return True
        return self._long_frames >= LONG_FRAMES and open_90k > limit_90k

    def is_behind(self, lag_90k: int, segment_max_90k: int) -> bool:
        """Whether not even whole segments make up for a lag."""
        return not self.lists_parts and lag_90k > BEHIND_SEGMENTS * segment_max_90k

    def end_segment(self, lag_90k: int) -> None:
        """The open segment ends, and the next frame decodes by so much earlier than it should."""
        if self._short_frames >= SHORT_FRAMES and lag_90k <= self._part_target_90k:
            self.lists_parts = True
