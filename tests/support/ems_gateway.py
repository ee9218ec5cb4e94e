"""What a gateway has for an EMS: two cameras and the messaging for them, without HTTP."""

import asyncio
from collections.abc import Mapping
from typing import Any

from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.service import CaptureService
from gateway.session import SessionState
from signaling.factory import create_messaging
from signaling.messaging import StreamMessaging
from tests.support.ems import LISTENER, Ems
from web.settings import Settings, load_settings

CAMERA = {
    "url": "clip://viewer:s3cret@camera/door",
    "engine": "tests.support.sources.numbered:ClipEngine",
    "start": "on-demand",
    "record": "never",
    "capture_linger": 0,
}


class EmsGateway:
    """Two cameras, and the messaging for them."""

    def __init__(
        self,
        ems_url: str,
        clock: Clock = SYSTEM_CLOCK,
        camera: Mapping[str, object] = CAMERA,
        **settings: Any,
    ) -> None:
        self.settings: Settings = load_settings(
            **{
                "socketio_server_url": ems_url,
                "connection_retry_attempts": 2,
                "connection_retry_delay": 0.05,
                **settings,
            }
        )
        self.service = CaptureService({name: self.settings.camera(name, camera) for name in ("default", "yard")})
        self.messaging: StreamMessaging = create_messaging(self.settings, self.service, clock=clock)

    def state(self, camera_id: str = "default") -> SessionState:
        return self.service.status(camera_id).state

    async def __aenter__(self) -> "EmsGateway":
        await self.messaging.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        began = asyncio.get_running_loop().time()
        await self.messaging.close()
        assert asyncio.get_running_loop().time() - began < 2
        await self.service.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert [task for task in left if task.get_name() != LISTENER] == []


async def announced(ems: Ems, after: int = 0) -> int:
    """Return once both cameras were announced."""
    first, _ = await ems.expect("capture_status_response", lambda data: data["camera_id"] == "default", after)
    second, _ = await ems.expect("capture_status_response", lambda data: data["camera_id"] == "yard", after)
    return max(first, second)


def ask(client: str = "operator", **metadata: Any) -> dict[str, Any]:
    return {"client_id": client, "metadata": metadata}
