"""Lanes: commands of one sender are obeyed one after the other, in the order of their coming.

A lane exists while somebody is in it. It has room for :data:`LANE_MAX` commands; more are refused, and told so, rather
than remembered without bound.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from gateway.errors import UnavailableError

LANE_MAX = 64
"""Commands of one sender that may wait. A person makes one at a time; a program that has 64 open does not listen."""


class _Lane:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()  # first come, first served
        self.inside = 0


class Lanes:
    """One lane per key."""

    def __init__(self, lane_max: int = LANE_MAX) -> None:
        self._lane_max = lane_max
        self._lanes: dict[str, _Lane] = {}

    def __len__(self) -> int:
        return len(self._lanes)

    @contextlib.asynccontextmanager
    async def turn(self, key: str, *, bounded: bool = True) -> AsyncIterator[None]:
        """Wait for one's turn in the lane ``key``. Raises :class:`~gateway.errors.UnavailableError` if it is full."""
        lane = self._lanes.setdefault(key, _Lane())
        if bounded and lane.inside >= self._lane_max:
            raise UnavailableError(f"{self._lane_max} commands wait already; wait for their answers")
        lane.inside += 1
        try:
            async with lane.lock:
                yield
        finally:
            lane.inside -= 1
            if not lane.inside:
                del self._lanes[key]
