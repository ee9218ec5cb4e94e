"""UploadRate: a limit of bytes a second for all uploads together. Sans-IO.

A part is sent at once and makes those after it wait, so that the mean is the limit.
"""

BURST_S = 1.0
"""So much time that was not used may be used later."""


class UploadRate:
    """See the module. ``limit_bps`` in bytes a second; ``None``: no limit."""

    def __init__(self, limit_bps: int | None) -> None:
        self._limit_bps = limit_bps
        self._free_at_s = float("-inf")

    def take(self, size: int, now_s: float) -> float:
        """Take ``size`` bytes. Returns how long to wait before they are sent, in seconds."""
        if self._limit_bps is None:
            return 0.0
        begins_s = max(self._free_at_s, now_s - BURST_S)
        self._free_at_s = begins_s + size / self._limit_bps
        return max(0.0, begins_s - now_s)
