"""StatusPublisher: sends every change of a camera's status at once, with a limit of messages a second.

Rules:

1. The first change of a camera is sent immediately. Changes within :data:`INTERVAL_S` after it become one message, and
   what is sent is always the status at the moment of sending. Each camera has at most one message pending.
2. A pending change can be sent before something that depends on it (:meth:`StatusPublisher.flush`).
3. While a command for a camera is executed, its changes wait (:meth:`StatusPublisher.hold`). The answer has the status
   too: a change that the answer has told is not sent again.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from gateway.errors import NotFoundError
from gateway.service import CaptureService
from gateway.status import CaptureStatus
from signaling.answers import CaptureStatusResponse

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
        self._held: Counter[str] = Counter()
        self._told: dict[str, dict[str, Any]] = {}
        self._wakeup = asyncio.Event()
        self._detach = service.on_status(self._on_status)
        self._task = asyncio.create_task(self._run(), name="publish-status")

    def publish_all(self) -> None:
        """Send every camera's status, changed or not."""
        self._told.clear()
        self._changed.update(dict.fromkeys(self._service.cameras))
        self._wakeup.set()

    async def flush(self, camera_id: str) -> None:
        """Send a pending change of one camera now (rule 2)."""
        if camera_id in self._changed and not self._held[camera_id]:
            del self._changed[camera_id]
            await self._publish(camera_id)

    @contextlib.contextmanager
    def hold(self, camera_id: str) -> Iterator[None]:
        """Keep the changes of one camera (rule 3)."""
        self._held[camera_id] += 1
        try:
            yield
        finally:
            self._held[camera_id] -= 1
            if not self._held[camera_id]:
                del self._held[camera_id]
                self._wakeup.set()

    def told(self, data: dict[str, Any]) -> None:
        """An answer has told a camera's status (rule 3)."""
        self._told[data["camera_id"]] = _facts(data)

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
            for camera_id in [each for each in self._changed if not self._held[each]]:
                if self._changed.pop(camera_id, True) is None:
                    await self._publish(camera_id)
            await asyncio.sleep(self._interval_s)

    async def _publish(self, camera_id: str) -> None:
        try:
            data = self._to_message(self._service.status(camera_id)).wire()
            if self._told.pop(camera_id, None) != _facts(data):
                await self._send(data)
        except NotFoundError:
            pass  # the camera has been removed since
        except Exception:
            log.exception("camera %s: its status could not be sent", camera_id, extra={"camera": camera_id})


def _facts(data: dict[str, Any]) -> dict[str, Any]:
    """A status without what belongs to one answer, and without what changes with every packet."""
    return {name: value for name, value in data.items() if name not in _NOT_FACTS}


_NOT_FACTS = {
    "client_id",
    "metadata",
    "warnings",
    "error",
    "live_edge",
    "down_since",
    "keyframe_age_s",
    "fps",
    "bitrate_bps",
}
