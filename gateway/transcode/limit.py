"""TranscodeLimit: how many cameras are transcoded at a time (``TRANSCODE_MAX``).

Rules:

1. A transcode takes a place when it begins, and frees it when it has ended.
2. One that has no viewer goes on for a linger, and keeps its place only while nobody else needs that: then the one that
   has had no viewer for longest is ended. Its process is killed, which takes a moment.
3. The status reports for ``TOLD_S`` who was refused. A viewer that waits asks again every few seconds.
"""

import os
from collections.abc import Callable

from gateway.errors import UnavailableError

TOLD_S = 30.0


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
        self._refused_at_s: dict[str, float] = {}
        """When each camera was last refused, in monotonic seconds."""
        self._unwatched: dict[object, Callable[[], None]] = {}
        """Those without a viewer, the longest first, and how to end them."""

    def take(self, camera_id: str, now: float) -> None:
        """Take a place; ``now`` is monotonic seconds. Each needs a :meth:`free`.

        Raises :class:`~gateway.errors.UnavailableError`.
        """
        if self.running >= self.maximum and self._unwatched:
            end = self._unwatched.pop(next(iter(self._unwatched)))
            end()
        if self.running >= self.maximum:
            self.refused += 1
            self._refused_at_s = {each: self._refused_at_s[each] for each in self.refused_cameras(now)}
            self._refused_at_s[camera_id] = now
            raise UnavailableError(
                f"as many cameras are transcoded already as may be ({self.maximum}, TRANSCODE_MAX)", retry_after_s=10
            )
        self._refused_at_s.pop(camera_id, None)
        self.running += 1

    def refused_cameras(self, now: float) -> list[str]:
        """Those that were refused a place a moment ago, and got none since (rule 3)."""
        return [camera_id for camera_id, at_s in self._refused_at_s.items() if now - at_s < TOLD_S]

    def free(self) -> None:
        """Give a place back."""
        self.running -= 1

    def unwatched(self, transcode: object, end: Callable[[], None]) -> None:
        """It has no viewer any more. ``end`` is called when its place is needed, and frees that at once."""
        self._unwatched[transcode] = end

    def watched(self, transcode: object) -> None:
        """It has a viewer again, or has ended."""
        self._unwatched.pop(transcode, None)
