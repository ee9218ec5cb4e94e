"""Port probe: polls the port of an unreachable camera or event service, to reconnect as soon as it is back.

Theory of operation. After a few attempts, an unreachable camera is tried every 30 s. After it is plugged in again,
its picture would come that late. An attempt is expensive for both sides. A TCP connection that is closed at once costs
next to nothing, so the port is tried twice a second. As soon as it can be reached, an attempt is made.

Rules:

1. Only a port that did not answer is polled (:attr:`~gateway.errors.CaptureError.silent_at`). A camera that answers and
   refuses has a reason, and polling would not change it.
2. Only a change from silence to an answer counts. Where a port was open all the time, polling ends.
"""

import asyncio
from collections.abc import Callable

from gateway.errors import CameraUnreachableError, CaptureError

PROBE_INTERVAL_S = 0.5

PROBE_TIMEOUT_S = 1.0
"""A camera that was plugged in answers within milliseconds. The kernel repeats an unanswered SYN after 1 s."""


async def when_reachable(error: CaptureError | None, then: Callable[[], None]) -> None:
    """Call ``then`` as soon as the camera answers that was unreachable when an attempt failed with ``error``."""
    if error is None or error.silent_at is None:
        return
    # After a timeout the port may have been open, and the camera silent.
    if await wait_until_reachable(*error.silent_at, is_silent=isinstance(error, CameraUnreachableError)):
        then()


async def wait_until_reachable(host: str, port: int, *, is_silent: bool) -> bool:
    """Wait until a port can be reached. True if it could not be before; false at once where it is open already.

    ``is_silent``: it is known that the port was closed a moment ago.
    """
    while True:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, UnicodeError):  # TimeoutError is an OSError
            is_silent = True
        else:
            writer.transport.abort()
            return is_silent
        await asyncio.sleep(PROBE_INTERVAL_S)
