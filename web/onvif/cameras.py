"""OnvifCameras: what runs for each camera with ``onvif_url``: its connection, its events, its movements.

Rules:

1. A camera whose ONVIF settings change gets another connection. One that was removed is left.
2. A clock that is off by :data:`CLOCK_OFF_S` is a problem of the camera: it burns its time into the picture.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from gateway.camera_settings import CameraSettings
from gateway.errors import CaptureError
from gateway.onvif.errors import OnvifUnsupportedError
from web.checked_resolver import CheckAddress
from web.gateway import Gateway
from web.onvif.camera import CameraOnvif
from web.onvif.client import Tries
from web.onvif.event_source import EventSource
from web.onvif.keyframes import KeyframeRequester, SyncPointFile
from web.onvif.movement import Movement

CLOCK_OFF_S = 5.0

CLOSE_S = 3.0


@dataclass(frozen=True, slots=True)
class Running:
    """One camera."""

    settings: tuple[object, ...]
    onvif: CameraOnvif
    source: EventSource
    movement: Movement
    keyframes: KeyframeRequester
    task: asyncio.Task[None]


class OnvifCameras:
    """See the module. Lives on the event loop."""

    def __init__(self, gateway: Gateway, tries: Tries, check: Callable[[], CheckAddress | None]) -> None:
        self._gateway = gateway
        self._tries = tries
        self._check = check
        self._sync_points = SyncPointFile(gateway.settings.data_dir)
        self._running: dict[str, Running] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> Mapping[str, Running]:
        """By camera id."""
        return self._running

    def movement(self, camera_id: str) -> Movement:
        """The movements of a camera. Raises ``NotFoundError`` and ``OnvifUnsupportedError``."""
        camera = self._gateway.service.camera(camera_id)
        running = self._running.get(camera.id)
        if running is None:
            raise OnvifUnsupportedError(f"camera {camera.id} has no ONVIF: set its onvif_url").because(
                "onvif_not_set", camera_id=camera.id
            )
        return running.movement

    async def apply(self) -> None:
        """Follow the settings of the cameras; rule 1."""
        wanted = {
            camera.id: camera.settings
            for camera in self._gateway.service.cameras.values()
            if camera.settings.onvif_url is not None
        }
        for camera_id, running in tuple(self._running.items()):
            settings = wanted.get(camera_id)
            if settings is None or _of(settings) != running.settings:
                del self._running[camera_id]
                if (camera := self._gateway.service.cameras.get(camera_id)) is not None:
                    camera.keyframe_wanted = lambda waited_s: None
                task = asyncio.create_task(self._close(running))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        for camera_id, settings in wanted.items():
            if camera_id not in self._running:
                with contextlib.suppress(CaptureError):  # the settings have checked the URL
                    self._running[camera_id] = self._start(camera_id, settings)

    def _start(self, camera_id: str, settings: CameraSettings) -> Running:
        onvif = CameraOnvif(settings, self._tries, self._check())
        events = self._gateway.events if settings.onvif_events else None
        source = EventSource(camera_id, onvif, events, self._gateway.clock)
        task = asyncio.create_task(source.run(), name=f"onvif-{camera_id}")
        keyframes = KeyframeRequester(camera_id, onvif, self._sync_points, self._gateway.clock)
        if settings.onvif_sync_point:
            self._gateway.service.camera(camera_id).keyframe_wanted = keyframes.wanted
        return Running(_of(settings), onvif, source, Movement(camera_id, onvif), keyframes, task)

    async def _close(self, running: Running) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                running.keyframes.close()
                await running.movement.close()
                running.task.cancel()
                await asyncio.wait({running.task})
        running.task.cancel()
        await running.onvif.close()

    async def close(self) -> None:
        """Stop everything."""
        running, self._running = self._running, {}
        await asyncio.gather(*(self._close(each) for each in running.values()), *self._closing)

    async def release(self, owner: object) -> None:
        """The connection of a client that may have moved cameras has ended."""
        await asyncio.gather(*(each.movement.release(owner) for each in tuple(self._running.values())))

    def problems(self) -> Iterator[tuple[str, str, str | None, str]]:
        """Findings for :mod:`web.observability.health`."""
        for camera_id, running in self._running.items():
            offset_s = running.onvif.clock_offset_s
            if offset_s is not None and abs(offset_s) > CLOCK_OFF_S:
                way = "ahead of" if offset_s > 0 else "behind"
                message = f"its clock is {abs(offset_s):.0f} s {way} the gateway's: let both use NTP"
                yield ("onvif", "camera_clock_off", camera_id, message)
            if running.source.error is not None:
                yield ("onvif", "onvif_away", camera_id, f"its ONVIF does not work: {running.source.error}")


def _of(settings: CameraSettings) -> tuple[object, ...]:
    """What a connection depends on."""
    return (settings.onvif_url, settings.url, settings.onvif_events, settings.onvif_sync_point)
