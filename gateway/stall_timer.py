"""StallTimer: a :class:`~gateway.stall_watch.StallWatch` with a timer, which tells at once that pictures stay out."""

import asyncio
from collections.abc import Callable

from gateway.clock import Clock
from gateway.stall_watch import StallWatch

LATE_S = 0.1
"""When a timer is this late, the process had no time for packets either."""


class StallTimer(StallWatch):
    """See the module. ``on_silent`` is called when the stream has become silent."""

    def __init__(self, clock: Clock, on_silent: Callable[[], None]) -> None:
        super().__init__()
        self._clock = clock
        self._on_silent = on_silent
        self._timer: asyncio.TimerHandle | None = None

    def picture(self, now: float) -> bool:
        """As :meth:`StallWatch.picture`; call it on the event loop."""
        has_changed = super().picture(now)
        if self._timer is None:
            self._arm(now)
        return has_changed

    def close(self) -> None:
        """Stop the timer. A picture starts it again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, now: float, due_s: float | None = None) -> None:
        due_s = due_s if due_s is not None else self.check(now)
        if due_s is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due_s - now), self._on_due)
        elif self.is_silent:
            self._on_silent()

    def _on_due(self) -> None:
        timer, self._timer = self._timer, None
        now = self._clock.monotonic()
        is_late = timer is not None and asyncio.get_running_loop().time() - timer.when() > LATE_S
        # Where the process itself was stopped, pictures may be waiting.
        self._arm(now, now + LATE_S if is_late else None)
