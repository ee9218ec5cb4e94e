"""``uninterrupted``: work that is finished once it has begun, also if the client who asked for it hangs up.

aiohttp cancels the handler of a client that leaves. A change that was half made then would be worse than either end.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway.errors import LiveedgeError

log = logging.getLogger(__name__)

T = TypeVar("T")


async def uninterrupted(work: Coroutine[Any, Any, T], running: set[asyncio.Future[Any]]) -> T:
    """The result of ``work``. It is in ``running`` until it ends, so that a shutdown can wait for it.

    Without its caller, nobody gets its error: one of ours (:class:`~gateway.errors.LiveedgeError`) was the answer to a
    client that has left; any other is a fault of the gateway, and logged.
    """
    task = asyncio.create_task(work)
    running.add(task)
    task.add_done_callback(running.discard)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_take_error)
        raise


def _take_error(task: asyncio.Future[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None and not (isinstance(error, LiveedgeError) and (error.status < 500 or error.status == 503)):
        log.error("a change failed, and the client that asked for it has left", exc_info=error)
