"""DiscontinuityNumbers: discontinuity sequence numbers that continue over a restart of the gateway.

A player that goes on after a restart finds another timeline in the playlist. It sees that by the number alone, because
the playlist begins afresh and has no EXT-X-DISCONTINUITY (rfc8216bis §4.4.3.3, §6.2.2). So a number that an earlier
process used must not come again.

Rules:

1. The first number of a window is the hours of the wall clock, or higher if earlier processes used that. Numbers are
   small: hls.js visits all from 0 up to them at each reload, which took it seconds when they were seconds.
2. The *limit* is kept on disk. All numbers in use are below it. It is raised by :data:`RESERVED` before they reach it,
   so a process that is killed has used none beyond it.
3. The next owner of a camera among several nodes begins :data:`OF_OWNER` higher. The limit is without that.
4. If it cannot be kept, there is a warning, and the hours alone are used: two starts within one hour may share one.
"""

import asyncio
import logging
from collections.abc import Callable

from gateway.clock import CLOCK_RATE

log = logging.getLogger(__name__)

EPOCH_90K = 1_767_225_600 * CLOCK_RATE
"""2026-01-01T00:00:00Z."""

UNIT_90K = 3600 * CLOCK_RATE
"""A camera that is lost once an hour, all the time, does not overtake the clock."""

RESERVED = 8
"""A restart skips up to so many numbers: few, as a gateway that restarts all day must not make them large."""


OF_OWNER = 64
"""So many numbers each owner of a camera has among several nodes, besides those of the hours: losses of the camera
while one node captures it."""


class DiscontinuityNumbers:
    """See the module. ``load`` gives the limit that ``save`` kept, 0 if none; both block, and raise ``OSError``."""

    def __init__(self, load: Callable[[], int] = lambda: 0, save: Callable[[int], None] | None = None) -> None:
        self._load = load
        self._save = save
        self._first = 0
        self._limit = 0
        self._saving: asyncio.Task[None] | None = None

    async def start(self, wall_90k: int) -> None:
        """Read the limit, and reserve numbers beyond it. Before the first window is made."""
        try:
            self._first = await asyncio.to_thread(self._load)
        except OSError as error:
            log.warning("the discontinuity numbers of HLS cannot be read: %s", error.strerror or error)
        self._limit = self.first(wall_90k) + RESERVED
        await self._keep()

    async def close(self) -> None:
        """Wait for the disk."""
        if self._saving is not None:
            await asyncio.wait([self._saving])

    def first(self, wall_90k: int, epoch: int = 0) -> int:
        """The first number of a window that is made now. ``epoch`` is that of the camera's owner."""
        return max(0, wall_90k - EPOCH_90K, self._first * UNIT_90K) // UNIT_90K + epoch * OF_OWNER

    def note(self, number: int, epoch: int = 0) -> None:
        """Tell that a playlist of an owner uses a number."""
        number -= epoch * OF_OWNER
        if number + RESERVED // 2 < self._limit or self._save is None:
            return
        self._limit = number + RESERVED
        if self._saving is None or self._saving.done():
            self._saving = asyncio.get_running_loop().create_task(self._keep(), name="hls-discontinuities")

    async def _keep(self) -> None:
        """Write the limit, and again if it was raised meanwhile."""
        kept = -1
        while self._save is not None and kept != self._limit:
            kept = self._limit
            try:
                await asyncio.to_thread(self._save, kept)
            except OSError as error:
                log.warning(
                    "the discontinuity numbers of HLS cannot be kept (%s): after a restart within an hour, players"
                    " may have to load the stream again",
                    error.strerror or error,
                )
                return
