"""SoundDelay: sound that comes later than its time allows is moved, so that it is heard. Sans-IO.

Theory of operation. RTP clocks of sound and pictures have nothing in common. Where neither RTP-Info nor the camera's
habits say how they belong together, both begin at 0, although sound may begin seconds later. A camera that pauses its
sound may stop the clock as well. Such sound is too late for every consumer: a live playlist has filled its time with
silence, and a browser holds pictures back to wait for it. What matters is the delay of sound against the pictures, of
the first sample of a packet: some cameras send a second of sound in one.

Rules:

1. Sound that is later than :data:`LATE_90K` for :data:`TRIAL_S` is moved to :data:`LEFT_90K` behind the pictures. Less
   may be the camera's own delay, with which lips and voice agree.
2. It is moved with the second late packet where it begins, or begins again after :data:`PAUSE_S`.
3. What was moved is moved back once it is ahead of the pictures by :data:`EARLY_90K`, all the time for
   :data:`EARLY_S`: a network had held it up. Sound that is ahead of few pictures is not early.
"""

from gateway.clock import CLOCK_RATE

LATE_90K = CLOCK_RATE // 5
"""In ticks. A packet of 200 ms that comes at its end is no later. A live playlist waits for twice as long, of which
transcoding takes some."""

LEFT_90K = CLOCK_RATE // 10

TRIAL_S = 0.5

PAUSE_S = 0.25
"""Seconds without sound."""

EARLY_90K = 3 * CLOCK_RATE // 10
EARLY_S = 4.0
EARLY_PICTURES = 8

SAME_PACKET_S = 0.001
"""Frames that come so close together, in seconds, are of one packet."""


class SoundDelay:
    """See the module. One run's."""

    def __init__(self) -> None:
        self._at_s: float | None = None
        """When the newest packet came."""
        self._late_since_s: float | None = None
        self._least_90k = 0
        """Of the packets since then."""
        self._has_begun_late = False
        """Whether the first of them began the sound, or ended a pause."""
        self._moved_90k = 0
        self._early_since_s: float | None = None
        self._least_early_90k = 0
        self._picture_90k = 0
        self._pictures = 0

    def observe(self, sound_90k: int, picture_90k: int, arrived_s: float) -> int:
        """Note a frame of sound, and the newest picture's time; by how much to move this frame and all later ones."""
        before_s, self._at_s = self._at_s, arrived_s
        if before_s is not None and 0 <= arrived_s - before_s < SAME_PACKET_S:
            return 0
        is_after_pause = before_s is None or arrived_s - before_s >= PAUSE_S
        late_90k = picture_90k - sound_90k
        if late_90k <= LATE_90K:
            self._late_since_s = None
            return self._back(-late_90k, picture_90k, arrived_s)
        self._early_since_s = None
        if self._late_since_s is None:
            self._late_since_s, self._least_90k, self._has_begun_late = arrived_s, late_90k, is_after_pause
            return 0
        self._least_90k = min(self._least_90k, late_90k)
        if not self._has_begun_late and arrived_s - self._late_since_s < TRIAL_S:
            return 0
        by_90k = self._least_90k - LEFT_90K
        self._late_since_s = None
        self._moved_90k += by_90k
        return by_90k

    def _back(self, early_90k: int, picture_90k: int, arrived_s: float) -> int:
        """Rule 3."""
        if not self._moved_90k or early_90k < EARLY_90K:
            self._early_since_s = None
            return 0
        if self._early_since_s is None:
            self._early_since_s, self._least_early_90k, self._pictures = arrived_s, early_90k, 0
        self._least_early_90k = min(self._least_early_90k, early_90k)
        self._pictures += picture_90k != self._picture_90k
        self._picture_90k = picture_90k
        if arrived_s - self._early_since_s < EARLY_S or self._pictures < EARLY_PICTURES:
            return 0
        by_90k = min(self._moved_90k, self._least_early_90k)
        self._moved_90k -= by_90k
        self._early_since_s = None
        return -by_90k
