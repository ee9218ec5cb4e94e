"""ForwardService: the forwards of all cameras."""

import asyncio
from collections.abc import Callable, Mapping

from gateway.camera import Camera
from gateway.capture.engine import Address, CheckAddress
from gateway.clock import Clock
from gateway.forward.forward import Forward
from gateway.forward.target import parse_target
from gateway.forward.whip_connection import WhipHttp


class ForwardService:
    """See the module. ``check_address`` is asked for each connection: the check of addresses, or ``None``.

    ``whip_http`` is the HTTP of WHIP; without it nothing is sent by WHIP.
    """

    def __init__(
        self,
        clock: Clock,
        check_address: Callable[[], CheckAddress | None] = lambda: None,
        whip_http: WhipHttp | None = None,
    ) -> None:
        self._clock = clock
        self._check_address = check_address
        self._whip_http = whip_http
        self._forwards: dict[str, list[Forward]] = {}

    @property
    def forwards(self) -> Mapping[str, list[Forward]]:
        """By camera."""
        return self._forwards

    async def set_camera(self, camera: Camera) -> None:
        """Apply a camera's settings. What has not changed goes on. The owner of a camera alone forwards it."""
        wanted = camera.settings.forward if camera.is_own else ()
        texts = [each.get_secret_value().strip() for each in wanted]
        before = {each.target.text: each for each in self._forwards.get(camera.id, [])}
        now: list[Forward] = []
        for text in dict.fromkeys(texts):
            forward = before.pop(text, None)
            if forward is None:
                forward = Forward(camera.main, parse_target(text), self._clock, self._checked, self._whip_http)
                forward.start()
            now.append(forward)
        self._forwards[camera.id] = now
        await asyncio.gather(*(each.close() for each in before.values()))

    async def remove_camera(self, camera_id: str) -> None:
        """End those of a camera that was removed."""
        await asyncio.gather(*(each.close() for each in self._forwards.pop(camera_id, [])))

    async def close(self) -> None:
        """End all."""
        await asyncio.gather(*(self.remove_camera(camera_id) for camera_id in tuple(self._forwards)))

    def _checked(self, address: Address) -> None:
        check = self._check_address()
        if check is not None:
            check(address)
