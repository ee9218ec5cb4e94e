"""StallWatch: whether a stream that is captured sends pictures now, and has done so for a while. Sans-IO.

Rules:

1. A stream is *silent* when no picture has come for some time longer than its usual interval. That is the longest of
   its last ones, where older ones count less and less. The time is :data:`MARGIN_INTERVALS` of them, at least
   :data:`MARGIN_MIN_S` and at most :data:`SILENT_S`.
2. A stream that was silent, or was lost, is *steady* again when it has sent pictures for a while. That is
   :data:`STEADY_S` at first, and twice as long each time that it does not last :data:`RELAPSE_S`. So viewers leave an
   unsteady stream at once, and do not go to and fro.
3. A stream whose pictures come again after a short pause has such pauses: a radio link, a busy camera. For
   :data:`RELAPSE_S` it is silent only after :data:`SILENT_S`, so that its viewers do not leave it for each of them.
4. A stream is steady from its first picture on, until it is silent or lost.
"""

MARGIN_INTERVALS = 4
MARGIN_MIN_S = 0.3
"""Viewers notice a longer pause. A keyframe of 250 KB takes 0.2 s on a link of 10 Mbit/s."""

SILENT_S = 1.2
"""Shorter than a viewer's patience, and longer than what a radio link or a busy camera holds back."""

SHORT_S = 3.0
"""A pause that ends within this was none that its viewers should leave the stream for."""

USUAL_FIRST_S, USUAL_MAX_S = 3.0, 10.0
"""What is assumed of a stream at its beginning, and the longest that is believed."""

USUAL_SHARE = 1 / 16
"""How much each picture counts for the usual interval, where it came sooner than that."""

STEADY_S = 2.0
STEADY_MAX_S = 30.0

RELAPSE_S = 60.0


class StallWatch:
    """See the module. All times are monotonic seconds."""

    def __init__(self) -> None:
        self.is_silent = False
        self.stalls = 0
        """How often it became silent. Never decreases."""
        self._usual_s = USUAL_FIRST_S
        self._last_s: float | None = None
        """Of the present run."""
        self._patient_until_s = float("-inf")
        """Rule 3."""
        self._steady_s = STEADY_S
        self._steady_at_s: float | None = None
        """From when on it is steady again; ``None`` while it is. Infinity before its first picture."""
        self._back_at_s = float("-inf")
        """When it was last steady again."""

    @property
    def is_steady(self) -> bool:
        """Rule 2."""
        return self._steady_at_s is None

    def picture(self, now: float) -> bool:
        """A picture came. Returns whether that has changed anything."""
        if self._last_s is not None:
            gap = now - self._last_s
            if gap <= SHORT_S and gap > self._usual_s + self._least_margin_s:
                self._patient_until_s = now + RELAPSE_S
            self._usual_s = min(max(gap, self._usual_s + (gap - self._usual_s) * USUAL_SHARE), USUAL_MAX_S)
        self._last_s = now
        if self._steady_at_s is None:
            return False
        if self.is_silent or self._steady_at_s == float("inf"):
            self.is_silent = False
            self._steady_at_s = now + self._steady_s
            return True
        if now < self._steady_at_s:
            return False
        self._steady_at_s, self._back_at_s = None, now
        return True

    def check(self, now: float) -> float | None:
        """Note that it is silent. Returns when to check again; ``None`` if it is, or sends nothing yet."""
        if self._last_s is None or self.is_silent:
            return None
        due = self._last_s + self._usual_s + self._margin_s(now)
        if now < due:
            return due
        self.is_silent = True
        self.stalls += 1
        self._interrupt(now)
        return None

    def _margin_s(self, now: float) -> float:
        """Rules 1 and 3."""
        return SILENT_S if now < self._patient_until_s else self._least_margin_s

    @property
    def _least_margin_s(self) -> float:
        """Rule 1."""
        return min(max(MARGIN_MIN_S, MARGIN_INTERVALS * self._usual_s), SILENT_S)

    def lost(self, now: float) -> None:
        """The run has ended, without a stop."""
        if self._last_s is not None and not self.is_silent:
            self._interrupt(now)
        self._end_run()

    def stopped(self) -> None:
        """The capture has ended by a stop: what was is forgotten."""
        self._end_run()
        self._steady_at_s, self._steady_s = None, STEADY_S

    def _end_run(self) -> None:
        self.is_silent, self._last_s, self._usual_s = False, None, USUAL_FIRST_S
        if self._steady_at_s is not None:
            self._steady_at_s = float("inf")

    def _interrupt(self, now: float) -> None:
        is_relapse = now - self._back_at_s < RELAPSE_S or (self._steady_at_s or 0.0) > now
        self._steady_s = min(2 * self._steady_s, STEADY_MAX_S) if is_relapse else STEADY_S
        self._steady_at_s = float("inf")
