"""Waits: requests that wait until something is there, each until its own deadline.

Requests that wait for the same thing are one wait: a change checks its condition once, and wakes them together.
"""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from gateway.errors import BadRequestError


@dataclass(slots=True, eq=False)
class _Wait:
    """Requests that wait until ``is_ready``, with their deadlines. Their results tell whether it is."""

    is_ready: Callable[[], bool]
    deadlines_s: dict[asyncio.Future[bool], float] = field(default_factory=dict)

    def end_all(self, result: bool) -> None:
        for future in self.deadlines_s:
            if not future.done():
                future.set_result(result)

    def end_overdue(self, now_s: float) -> None:
        for future, deadline_s in self.deadlines_s.items():
            if deadline_s <= now_s and not future.done():
                future.set_result(False)


class Waits:
    """See the module. The requests in it are HTTP requests, whose number is limited. Times are monotonic, in s."""

    def __init__(self) -> None:
        self._by_what: dict[Hashable, _Wait] = {}

    def __len__(self) -> int:
        """How many things are waited for."""
        return len(self._by_what)

    @property
    def deadlines_s(self) -> list[float]:
        """The deadlines of all requests."""
        return [each for wait in self._by_what.values() for each in wait.deadlines_s.values()]

    async def wait(self, what: Hashable, is_ready: Callable[[], bool], deadline_s: float) -> bool:
        """Wait until ``is_ready``; whether it is. ``what`` is the same for requests with the same condition."""
        wait = self._by_what.get(what)
        if wait is None:
            wait = self._by_what[what] = _Wait(is_ready)
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        wait.deadlines_s[future] = deadline_s
        try:
            return await future
        finally:
            del wait.deadlines_s[future]
            if not wait.deadlines_s:
                del self._by_what[what]

    def wake(self) -> None:
        """Let all requests go on whose condition is true."""
        for wait in self._by_what.values():
            try:
                is_ready = wait.is_ready()
            except BadRequestError:
                is_ready = True  # the request itself raises it
            if is_ready:
                wait.end_all(True)

    def end_overdue(self, now_s: float) -> None:
        """Let those go on in vain whose deadline is over."""
        for wait in self._by_what.values():
            wait.end_overdue(now_s)

    def end_all(self) -> None:
        """Let all go on in vain."""
        for wait in self._by_what.values():
            wait.end_all(False)
