"""Onvif: what the gateway does with ONVIF, for the API and the page.

Rules:

1. One search runs at a time, and :data:`LOOKS_MAX` looks at devices: each has many connections.
2. Tries of passwords are counted for the whole process (:class:`~web.onvif.client.Tries`).
"""

import contextlib
from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from gateway.capture.url import parse
from gateway.errors import CaptureError, UnavailableError
from gateway.onvif.ptz_command import PtzFields, PtzState
from gateway.rtsp.auth import Credentials
from web.address_policy import refuse_metadata
from web.checked_resolver import CheckAddress
from web.gateway import Gateway
from web.onvif.cameras import OnvifCameras
from web.onvif.client import Tries
from web.onvif.look import Look, look_at_onvif, look_at_rtsp
from web.onvif.report import DeviceReport, DiscoveredDevice
from web.onvif.search import parse_targets, search

LOOKS_MAX = 4


class Onvif:
    """See the module. Lives on the event loop."""

    def __init__(self, gateway: Gateway) -> None:
        self.tries = Tries(gateway.clock)
        self._gateway = gateway
        self._is_searching = False
        self._looks = 0
        self.cameras = OnvifCameras(gateway, self.tries, lambda: self.check)
        gateway.changes.on_changed.append(self.cameras.apply)
        gateway.problem_sources.append(self.cameras.problems)
        gateway.ptz.control = self

    async def start(self) -> None:
        """Connect to the cameras, after the gateway has started."""
        await self.cameras.apply()

    async def state(self, camera_id: str) -> PtzState:
        """What a camera can do. Raises ``NotFoundError``, and a ``LiveedgeError`` of its ONVIF."""
        return await self.cameras.movement(camera_id).state()

    async def command(self, camera_id: str, command: PtzFields, owner: object) -> None:
        """Move a camera for a client. Raises as :meth:`state`."""
        await self.cameras.movement(camera_id).command(command, owner)

    async def release(self, owner: object) -> None:
        """Stop the cameras that a client moves: its connection has ended."""
        await self.cameras.release(owner)

    async def close(self) -> None:
        """Stop what moves, and end the subscriptions."""
        await self.cameras.close()

    @property
    def check(self) -> CheckAddress | None:
        """The check of addresses that the settings ask for. It raises a :class:`~gateway.errors.CaptureError`."""
        return None if self._gateway.camera_store.settings.allow_metadata_addresses else refuse_metadata

    async def discover(self, addresses: Sequence[str], multicast_s: float) -> tuple[list[DiscoveredDevice], bool]:
        """The devices, and whether the search was complete. Raises ``BadRequestError`` and ``UnavailableError``."""
        targets = parse_targets(addresses, self._gateway.camera_store.settings.allow_metadata_addresses)
        if self._is_searching:
            raise UnavailableError("a search is running; wait until it ends", retry_after_s=5).because("search_running")
        self._is_searching = True
        try:
            found = await search(targets, multicast_s=multicast_s, check=self.check, tries=self.tries)
        finally:
            self._is_searching = False
        by_address: dict[str, list[str]] = {}
        for camera in self._gateway.service.cameras.values():
            with contextlib.suppress(CaptureError):
                by_address.setdefault(parse(camera.settings.url.get_secret_value()).host, []).append(camera.id)
        devices = [DiscoveredDevice.of(each, by_address.get(each.address, [])) for each in found.devices]
        return devices, found.is_complete

    async def look_at(
        self, onvif_url: str | None, rtsp: tuple[str, int], credentials: Credentials | None, *, wants_pictures: bool
    ) -> DeviceReport:
        """Everything about a device: at its ONVIF address, or with RTSP alone, at a host and a port.

        Raises ``OnvifError``, ``CaptureError`` and ``UnavailableError``.
        """
        look = Look(credentials, self.tries, self.check, set(self._gateway.service.cameras), wants_pictures)
        async with self._look():
            return await (look_at_onvif(onvif_url, look) if onvif_url is not None else look_at_rtsp(*rtsp, look))

    @contextlib.asynccontextmanager
    async def _look(self) -> AsyncIterator[None]:
        """Rule 1."""
        if self._looks >= LOOKS_MAX:
            raise UnavailableError(
                f"{LOOKS_MAX} devices are being looked at; wait until that ends", retry_after_s=5
            ).because("search_running")
        self._looks += 1
        try:
            yield
        finally:
            self._looks -= 1


ONVIF: web.AppKey[Onvif] = web.AppKey("onvif", Onvif)
"""The application key by which request handlers reach it."""
