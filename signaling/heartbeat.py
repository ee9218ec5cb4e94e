"""Heartbeat: tells the EMS at an interval that the gateway runs, and how its cameras are.

A connection without frames is silent while no camera changes: the EMS cannot tell a gateway that hangs from one that
has nothing to say.
"""

import asyncio
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from gateway.clock import CLOCK_RATE, Clock, to_rfc3339
from gateway.service import CaptureService
from gateway.session import SessionState
from signaling.answers import CameraCounts, ServiceHeartbeat
from signaling.events import EVENTS_VERSION

HEARTBEAT = "service_heartbeat"


class Heartbeat:
    """Calls ``send`` at once and every ``interval_s`` seconds, until closed. ``started_s`` is monotonic."""

    def __init__(
        self,
        service: CaptureService,
        clock: Clock,
        started_s: float,
        interval_s: float,
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        self._service = service
        self._clock = clock
        self._started_s = started_s
        self._interval_s = interval_s
        self._send = send
        self._task = asyncio.create_task(self._run(), name="ems-heartbeat")

    async def close(self) -> None:
        """Stop."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await self._send(self.message())
            await asyncio.sleep(self._interval_s)

    def message(self) -> dict[str, Any]:
        """The data of the event, now."""
        now_90k = self._clock.wall_90k()
        ran_s = self._clock.monotonic() - self._started_s
        sessions = [camera.session for camera in self._service.cameras.values()]
        return ServiceHeartbeat(
            version=_gateway_version(),
            events_version=EVENTS_VERSION,
            started=to_rfc3339(now_90k - round(ran_s * CLOCK_RATE)),
            time=to_rfc3339(now_90k),
            interval_s=self._interval_s,
            cameras=CameraCounts(
                total=len(sessions),
                live=sum(session.state is SessionState.LIVE for session in sessions),
                down=sum(session.down_since_s is not None for session in sessions),
            ),
        ).wire()


def _gateway_version() -> str:
    try:
        return version("liveedge")
    except PackageNotFoundError:
        # The packages are used from their folder, without an installation.
        return "unknown"
