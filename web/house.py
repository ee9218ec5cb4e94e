"""House: everything that one gateway process is made of, built from Settings, started and stopped in order.

Order matters at both ends. Starting, whoever consumes packets is there before the first camera sends one. Stopping, the
doors close first (nobody new comes in), then the cameras, then whoever still writes what the cameras sent; each step is
bounded, and no failing step keeps the others from being done.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Mapping
from typing import Any

from gateway.camera import Camera
from gateway.clock import SYSTEM_CLOCK, Clock, to_rfc3339
from gateway.service import CaptureService
from gateway.settings import Settings
from gateway.webrtc.server import WebRtcServer
from hls.archive import Archive
from hls.window import LiveHls
from signaling.browser import BrowserSignaling
from signaling.messaging import create_messaging

log = logging.getLogger(__name__)

CLOSE_STEP_S = 4.0
"""No step of the shutdown takes longer: together with the rest it is done within the 5 s that people wait."""


class House:
    """See the module. Raises :class:`~gateway.errors.SettingsError` where a camera's settings cannot be used."""

    def __init__(self, settings: Settings, clock: Clock = SYSTEM_CLOCK) -> None:
        self.settings = settings
        self.clock = clock
        self.service = CaptureService(settings.camera_settings(), clock)
        self.live = LiveHls(self.service, clock=clock)
        self.archive = Archive(settings, self.service, clock)
        self.webrtc = WebRtcServer(
            udp_port=settings.webrtc_udp_port,
            hosts=settings.webrtc_hosts,
            ice_servers=settings.ice_servers,
            listen=_media_addresses(settings),
            clock=clock,
        )
        self.messaging = create_messaging(settings, self.service, self.webrtc, live_edge=self.live_edge)
        self.browser = BrowserSignaling(settings, self.service, self.webrtc, live_edge=self.live_edge)

    async def start(self) -> None:
        """Open the ports, heal the archive, begin to capture. Raises a ``LiveedgeError`` that names what is wrong."""
        await self.archive.start()
        await self.webrtc.start()
        for camera in self.service.cameras.values():
            self.live.open(camera)
        self.service.start()
        await self.messaging.start()

    async def close(self) -> None:
        """Finish files, close peers, leave nothing behind."""
        await self._close_all(self.browser.close(), self.messaging.close(), self.webrtc.close())
        await self._close_all(self.live.close())
        await self._close_all(self.service.close())
        await self._close_all(self.archive.close())

    def live_edge(self, camera_id: str) -> Mapping[str, Any] | None:
        """Where life is, in every coordinate that a client can resume from; ``None`` before the first picture."""
        newest = self.service.camera(camera_id).hub.newest
        if newest is None:
            return None
        edge: dict[str, Any] = {"time": to_rfc3339(newest.captured_at_90k)}
        part = self.live.window(camera_id).live_edge
        if part is not None:
            edge["media_sequence"], edge["part"] = part[0], part[1]
        position = self.archive.live_position(camera_id)
        if position is not None:
            edge["segment"], edge["offset_s"] = position[0], round(position[1], 3)
        return edge

    async def add_camera(self, camera_id: str, table: Mapping[str, Any]) -> Camera:
        """Add a camera at run time. Raises ``SettingsError`` or ``ConflictError``."""
        camera = self.service.add_camera(camera_id, self.settings.camera(camera_id, table))
        self.live.open(camera)
        self.archive.add_camera(camera)
        return camera

    async def remove_camera(self, camera_id: str) -> None:
        """Stop a camera and forget it; its recordings stay. Raises ``NotFoundError``."""
        await self.service.remove_camera(camera_id)
        await self.webrtc.close_camera(camera_id, "the camera was removed")
        await self.archive.remove_camera(camera_id)
        await self.live.forget(camera_id)

    async def _close_all(self, *steps: Any) -> None:
        done = await asyncio.gather(*(asyncio.wait_for(step, CLOSE_STEP_S) for step in steps), return_exceptions=True)
        for result in done:
            if isinstance(result, BaseException):
                log.error("shutting down: %s: %s", type(result).__name__, result)


def _media_addresses(settings: Settings) -> tuple[str, ...]:
    """Where media is sent from: everywhere, but for a gateway that is this machine's alone, with no other to offer."""
    try:
        local = ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        local = settings.host == "localhost"
    return ("127.0.0.1", "::1") if local and not settings.webrtc_hosts else ("0.0.0.0", "::")  # noqa: S104
