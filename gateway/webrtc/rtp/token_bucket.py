"""TokenBucket: limits a rate of bytes. It fills with time, up to its capacity, and may go below zero."""


class TokenBucket:
    """A full bucket of ``capacity_bytes``. ``now`` is monotonic seconds."""

    __slots__ = ("_refilled_at_s", "capacity_bytes", "level_bytes")

    def __init__(self, capacity_bytes: float) -> None:
        self.capacity_bytes = capacity_bytes
        self.level_bytes = capacity_bytes
        """What may be sent at once. Negative after sending more than there was."""
        self._refilled_at_s = 0.0

    def refill(self, now: float, bytes_per_s: float) -> None:
        """Add what has accrued since the last call."""
        self.level_bytes = min(self.capacity_bytes, self.level_bytes + (now - self._refilled_at_s) * bytes_per_s)
        self._refilled_at_s = now
