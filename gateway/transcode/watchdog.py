"""Watchdog: whether a process that transcodes hangs. Sans-IO; times are monotonic seconds.

It hangs when it has made nothing of :data:`HUNG_PACKETS` packets within :data:`HUNG_S`. Without packets it may be
silent: the camera is.
"""

HUNG_S, HUNG_PACKETS = 10.0, 10
"""More than the start of a process takes on a busy machine, and more pictures than any decoder keeps back."""


class Watchdog:
    """See the module. Of one process."""

    def __init__(self) -> None:
        self._packets = 0
        """Sent since it last made something."""
        self._since_s = 0.0
        """When the first of these was."""

    def sent(self, now_s: float) -> None:
        """A packet goes to the process."""
        if not self._packets:
            self._since_s = now_s
        self._packets += 1

    def made(self) -> None:
        """The process has made something."""
        self._packets = 0

    def fault(self, now_s: float, waiting: int) -> str | None:
        """Why it hangs, as a sentence; ``None``: it does not. ``waiting`` packets it has not taken yet."""
        silent_s, packets = now_s - self._since_s, self._packets + waiting
        if not self._packets or silent_s < HUNG_S or packets < HUNG_PACKETS:
            return None
        return f"the process that transcodes has made nothing of {packets} packets in {silent_s:.0f} s"
