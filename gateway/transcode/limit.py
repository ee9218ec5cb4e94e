"""TranscodeLimit: how many cameras are transcoded at a time (``TRANSCODE_MAX``)."""

import os

from gateway.errors import UnavailableError


def default_limit() -> int:
    """Half of the processors: each transcode takes up to one, and packets have priority."""
    return max(1, (os.cpu_count() or 2) // 2)


class TranscodeLimit:
    """Counts the transcodes that run, of all cameras. ``maximum`` may be changed at any time."""

    def __init__(self, maximum: int | None = None) -> None:
        self.maximum = default_limit() if maximum is None else maximum
        self.running = 0
        self.refused = 0
        """How often there was no place."""

    def take(self) -> None:
        """Take a place. Each needs a :meth:`free`. Raises :class:`~gateway.errors.UnavailableError`."""
        if self.running >= self.maximum:
            self.refused += 1
            raise UnavailableError(
                f"{self.running} cameras are being transcoded, the limit (TRANSCODE_MAX)", retry_after_s=10
            )
        self.running += 1

    def free(self) -> None:
        """Give a place back."""
        self.running -= 1
