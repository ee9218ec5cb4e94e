"""``ptz_request``: move a camera, for the EMS and for browsers. And what this package needs of ONVIF for it: a port."""

from typing import Protocol

from gateway.onvif.errors import OnvifUnsupportedError
from gateway.onvif.ptz_command import PtzFields, PtzState
from signaling.answers import PtzResponse
from signaling.control import Caller, Control, Reply
from signaling.requests import PtzRequest


class PtzControl(Protocol):
    """Moves cameras. :mod:`web.onvif.service` implements it. Every coroutine may raise ``LiveedgeError``."""

    async def state(self, camera_id: str) -> PtzState:
        """What a camera can do."""

    async def command(self, camera_id: str, command: PtzFields, owner: object) -> None:
        """Move a camera for a client."""

    async def release(self, owner: object) -> None:
        """Stop the cameras that a client moves: its connection has ended."""


class Ptz:
    """The cameras' movements; ``control`` is ``None`` in a program without ONVIF."""

    def __init__(self) -> None:
        self.control: PtzControl | None = None

    def add_to(self, control: Control) -> None:
        """Add the command."""
        service = control.service

        async def move(caller: Caller, request: PtzRequest) -> Reply:
            camera = service.camera(request.camera_id)
            if self.control is None:
                raise OnvifUnsupportedError("this program moves no cameras")
            await self.control.command(camera.id, request, caller.connection)
            return Reply("ptz_response", PtzResponse(client_id=request.client_id, camera_id=camera.id).wire())

        control.add_handler("ptz_request", move)

    async def release(self, connection: str) -> None:
        """A connection has ended."""
        if self.control is not None:
            await self.control.release(connection)
