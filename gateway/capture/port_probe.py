"""Knocking: is somebody at home again, where nobody was?

Theory of operation. After a few attempts a camera that is away is tried every half a minute, and a guard who plugs it
in again would wait as long for the picture. An attempt costs both sides a lot, a TCP connection that is closed at once
next to nothing; so it is asked twice a second whether the camera's port can be reached, and if so an attempt is made at
once.

Rules:

1. Only a port that was silent is knocked at (:attr:`~gateway.errors.CaptureError.silent_at`). A camera that answers and
   refuses knows why, and wants to be left alone for a while.
2. Only the way from silence to an answer is news. Where somebody has been listening all the time, knocking ends.
"""

import asyncio
from collections.abc import Callable

from gateway.errors import CameraUnreachableError, CaptureError

KNOCK_EVERY_S = 0.5

KNOCK_TIMEOUT_S = 1.0
"""A camera that was plugged in answers within milliseconds; to one that is off, the kernel asks again after 1 s."""


async def when_answered(error: CaptureError | None, then: Callable[[], None]) -> None:
    """Call ``then`` as soon as the camera answers that was silent when an attempt failed with ``error``."""
    if error is None or error.silent_at is None:
        return
    # After a timeout it may have been listening, and said nothing.
    if await until_answered(*error.silent_at, is_silent=isinstance(error, CameraUnreachableError)):
        then()


async def until_answered(host: str, port: int, *, is_silent: bool) -> bool:
    """Wait until somebody listens at an address or name. True if nobody did before; at once False where somebody does.

    ``is_silent``: it is known that nobody listened a moment ago.
    """
    while True:
        try:
            async with asyncio.timeout(KNOCK_TIMEOUT_S):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, UnicodeError):  # TimeoutError is an OSError
            is_silent = True
        else:
            writer.transport.abort()
            return is_silent
        await asyncio.sleep(KNOCK_EVERY_S)
