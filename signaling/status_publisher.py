"""StatusPublisher: sends every change of a camera's status at once, with a limit of messages a second.

The first change of a camera is sent immediately. Changes within :data:`INTERVAL_S` after it become one message, and
what is sent is always the status at the moment of sending. Each camera has at most one message pending.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.errors import NotFoundError
from gateway.service import CaptureService
from gateway.status import CaptureStatus
from signaling.events import CaptureStatusResponse

log = logging.getLogger(__name__)

INTERVAL_S = 0.2
"""Five messages a second: as fast as a person sees a change."""


class StatusPublisher:
    """Calls ``send`` with each camera's changes, as messages made by ``to_message``, until closed."""

    def __init__(
        self,
        service: CaptureService,
        to_message: Callable[[CaptureStatus], CaptureStatusResponse],
        send: Callable[[dict[str, Any]], Awaitable[None]],
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._service = service
        self._to_message = to_message
        self._send = send
        self._interval_s = interval_s
        self._changed: dict[str, None] = {}
        self._wakeup = asyncio.Event()
        self._detach = service.on_status(self._on_status)
        self._task = asyncio.create_task(self._run(), name="publish-status")

    def publish_all(self) -> None:
        """Send every camera's status, changed or not."""
        self._changed.update(dict.fromkeys(self._service.cameras))
        self._wakeup.set()

    async def close(self) -> None:
        """Stop sending."""
        self._detach()
        self._task.cancel()
        await asyncio.wait([self._task])

    def _on_status(self, status: CaptureStatus) -> None:
        self._changed[status.camera_id] = None
        self._wakeup.set()

    async def _run(self) -> None:
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            changed, self._changed = self._changed, {}
            for camera_id in changed:
                # A camera may have been removed since.
                with contextlib.suppress(NotFoundError):
                    try:
                        await self._send(self._to_message(self._service.status(camera_id)).wire())
                    except NotFoundError:
                        raise
                    except Exception:
                        log.exception("camera %s: its status could not be sent", camera_id, extra={"camera": camera_id})
            await asyncio.sleep(self._interval_s)
