"""SyncPoints: when a camera is asked for a keyframe by SetSynchronizationPoint, and whether that helps. Sans-IO.

Times are monotonic seconds.

Rules:

1. A camera is asked when a keyframe has been awaited for :data:`WANTED_S`, and not again for :data:`INTERVAL_S`.
2. A keyframe within :data:`EFFECT_S` of the question counts as its effect. One may have come by itself: with a GOP of
   10 s, that is so for three of ten.
3. Many cameras ignore it. After :data:`TRIES` questions of which less than half had an effect, the camera is asked no
   more. What was measured is kept over restarts. A question that did not reach the camera does not count.
"""

from dataclasses import dataclass

WANTED_S = 0.3

INTERVAL_S = 10.0

EFFECT_S = 3.0

TRIES = 8


@dataclass(slots=True)
class SyncPoints:
    """See the module. ``asked`` and ``helped`` are counts; ``wait_s`` is how long the last keyframe took."""

    asked: int = 0
    helped: int = 0
    wait_s: float | None = None
    _asked_at: float | None = None
    _unheard: int = 0
    _is_lost: bool = False

    @property
    def is_useless(self) -> bool:
        """Rule 3."""
        return self.heard >= TRIES and self.helped * 2 < self.heard

    @property
    def heard(self) -> int:
        """Questions that reached the camera."""
        return self.asked - self._unheard

    def wanted(self, waited_s: float | None, now: float) -> bool:
        """A keyframe has been awaited for ``waited_s``; ``None``: it has come. Returns whether to ask now."""
        if waited_s is None:
            if self._asked_at is not None and not self._is_lost and now - self._asked_at <= EFFECT_S:
                self.helped += 1
                self.wait_s = now - self._asked_at
            self._asked_at = None
            return False
        if waited_s < WANTED_S or self.is_useless:
            return False
        if self._asked_at is not None and now - self._asked_at < INTERVAL_S:
            return False
        self._asked_at, self._is_lost = now, False
        self.asked += 1
        return True

    def lost(self) -> None:
        """The last question did not reach the camera."""
        if self._asked_at is not None:  # else a keyframe has already been counted as its effect
            self._is_lost = True
            self._unheard += 1
