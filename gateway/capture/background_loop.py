"""One event loop on a thread of its own, shared by all engines that drive a C library in threads.

It runs while somebody uses it: the thread starts with the first user and ends with the last.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_users = 0
_loop: asyncio.AbstractEventLoop | None = None


@contextmanager
def background_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The loop, which runs on another thread; any thread may use it, with the thread-safe methods alone."""
    global _users, _loop  # noqa: PLW0603
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_run, args=(_loop,), name="capture-loop", daemon=True).start()
        loop = _loop
        _users += 1
    try:
        yield loop
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _loop = None
                loop.call_soon_threadsafe(loop.stop)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
