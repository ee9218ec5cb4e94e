"""StatusAnnouncer: every change of a camera's status, told at once, but not more often than anybody can use.

The first change of a camera goes out immediately; changes within :data:`INTERVAL_S` after it become one, and what is
sent is always the status at the moment of sending. There is one pending mark per camera, so nothing piles up.
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
"""Five a second: as fast as a person sees a state change."""


class StatusAnnouncer:
    """Calls ``send`` with each camera's news, until closed."""

    def __init__(
        self,
        service: CaptureService,
        describe: Callable[[CaptureStatus], CaptureStatusResponse],
        send: Callable[[dict[str, Any]], Awaitable[None]],
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._service = service
        self._describe = describe
        self._send = send
        self._interval_s = interval_s
        self._changed: dict[str, None] = {}
        self._wakeup = asyncio.Event()
        self._detach = service.on_status(self._on_status)
        self._task = asyncio.create_task(self._run(), name="announce-status")

    def announce_all(self) -> None:
        """Tell every camera's status, whether it has changed or not."""
        self._changed.update(dict.fromkeys(self._service.cameras))
        self._wakeup.set()

    async def close(self) -> None:
        """Say nothing any more."""
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
                        await self._send(self._describe(self._service.status(camera_id)).wire())
                    except NotFoundError:
                        raise
                    except Exception:
                        log.exception(
                            "camera %s: its status could not be announced", camera_id, extra={"camera": camera_id}
                        )
            await asyncio.sleep(self._interval_s)
