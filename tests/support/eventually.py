"""Wait in a test for a condition that another thread, process or task makes true.

Rules:

1. The reason says what becomes true. It is the message of the failure.
2. The limit only keeps a broken test from hanging. It is no measure of speed: it is far more than the wait takes on a
   machine that does ten things at a time. A test that must know more about time uses a manual clock.
3. A condition that takes long, as one in a browser does, is asked less often: it would keep busy what it waits for.
4. A wait ends early by an exception: a condition raises where it sees that it cannot come true any more.
"""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

LIMIT_S = 60.0

ASYNC_POLL_S = 0.01
MAX_POLL_S = 0.1
SYNC_POLL_S = 0.05


async def eventually(condition: Callable[[], Any], reason: str, limit_s: float = LIMIT_S) -> Any:
    """Poll a condition, a function or a coroutine function, until it is true; return its value."""
    deadline = time.monotonic() + limit_s
    while True:
        asked = time.monotonic()
        result = condition()
        value = await result if inspect.isawaitable(result) else result
        if value:
            return value
        check(deadline, value, reason, limit_s)
        took_s = time.monotonic() - asked
        await asyncio.sleep(min(max(ASYNC_POLL_S, 3 * took_s), MAX_POLL_S))


def eventually_sync(condition: Callable[[], Any], reason: str, limit_s: float = LIMIT_S) -> Any:
    """:func:`eventually` for a test without an event loop."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        check(deadline, value, reason, limit_s)
        time.sleep(SYNC_POLL_S)
    return value


def check(deadline: float, value: object, reason: str, limit_s: float) -> None:
    """Fail after the deadline."""
    if time.monotonic() > deadline:
        raise AssertionError(f"not within {limit_s:g} s: {reason} (the condition returned {value!r})")
