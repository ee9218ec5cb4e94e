"""CameraChanges: adds, changes and removes cameras while the gateway runs, in every part that has something of one.

Rules:

1. Changes are made one after the other. A change that has begun is finished, even if its client hangs up.
2. What is stored comes first: a change that cannot be stored is not made.
3. A camera whose settings are the same before and after is not interrupted.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway.camera import Camera
from gateway.camera_settings import CameraSettings
from gateway.errors import ConflictError, LiveedgeError
from gateway.forward.service import ForwardService
from gateway.rtsp_server.server import RtspServer
from gateway.service import CaptureService
from gateway.talk.service import TalkService
from gateway.uninterrupted import uninterrupted
from gateway.webrtc.server import WebRtcServer
from gateway.whip.server import WhipServer
from hls.archive.service import Archive
from hls.events.detection import Detections
from hls.events.recording import EventRecording
from hls.events.service import EventService
from hls.live.service import LiveService
from web.camera_store import CameraStore

log = logging.getLogger(__name__)

T = TypeVar("T")

_REMOVED = "the camera was removed"


@dataclass(frozen=True, slots=True)
class CameraParts:
    """The parts of a gateway that have something of each camera."""

    service: CaptureService
    live: LiveService
    archive: Archive
    events: EventService
    event_recording: EventRecording
    detections: Detections
    webrtc: WebRtcServer
    whip: WhipServer
    talk: TalkService
    rtsp: RtspServer
    forward: ForwardService

    async def open(self, camera_id: str, settings: CameraSettings) -> Camera:
        """Make a camera, and begin as its settings say."""
        camera = self.service.add_camera(camera_id, settings)
        self.live.add_camera(camera)
        self.archive.add_camera(camera)
        await self._set(camera)
        return camera

    async def change(self, camera: Camera, settings: CameraSettings) -> None:
        """Go on with other settings."""
        before = camera.settings
        self.service.change_camera(camera.id, settings)
        self.live.add_camera(camera)
        self.talk.change_camera(camera)
        await self.archive.change_camera(before, camera)
        await self._set(camera)

    async def close(self, camera_id: str) -> None:
        """Stop a camera and forget it. Its recordings and events stay; open events end."""
        await self.forward.remove_camera(camera_id)
        await self.detections.remove_camera(camera_id)
        await self.service.remove_camera(camera_id)
        self.event_recording.remove_camera(camera_id)
        await self.end_clients(camera_id, _REMOVED)
        await self.archive.remove_camera(camera_id)
        await self.live.remove_camera(camera_id)
        try:
            await self.events.end_open(camera_id)
        except LiveedgeError as error:
            log.warning("camera %s: its open events could not be ended: %s", camera_id, error)

    async def end_clients(self, camera_id: str, reason: str) -> None:
        """End the connections of all who watch a camera, publish it or talk to it."""
        await self.webrtc.close_camera(camera_id, reason)
        await self.end_senders(camera_id, reason)
        self.rtsp.close_camera(camera_id, reason)

    async def end_senders(self, camera_id: str, reason: str) -> None:
        """End the connections of all who publish a camera or talk to it."""
        await self.whip.close_camera(camera_id, reason)
        await self.talk.close_camera(camera_id, reason)
        self.rtsp.close_publishers(camera_id, reason)

    async def owner_changed(self, camera: Camera) -> None:
        """This node captures a camera now, or another one does. What a recording has is of the owner alone."""
        self.live.owner_changed(camera)
        if camera.is_own:
            self.archive.add_camera(camera)
        else:
            await self.archive.remove_camera(camera.id)
        await camera.owner_changed()
        if not camera.is_own:
            await self.end_senders(camera.id, "another node of the cluster captures the camera now")
        if self.service.cameras.get(camera.id) is camera:  # it may have been removed meanwhile
            await self._set(camera)

    async def _set(self, camera: Camera) -> None:
        await self.event_recording.set_camera(camera)
        await self.forward.set_camera(camera)
        await self.detections.set_camera(camera)


class CameraChanges:
    """See the module."""

    def __init__(self, store: CameraStore, parts: CameraParts) -> None:
        self.on_changed: list[Callable[[], Awaitable[None]]] = []
        """Called after cameras were added, changed or removed, before the next change."""
        self._store = store
        self._parts = parts
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Future[Any]] = set()

    async def add(self, camera_id: str, table: Mapping[str, Any]) -> Camera:
        """Add a camera. It is kept over restarts.

        Raises ``BadRequestError``, ``ConflictError`` and ``UnavailableError``.
        """

        async def add() -> Camera:
            if camera_id in self._parts.service.cameras and not self._store.is_shared:
                raise ConflictError(
                    f"there is a camera {camera_id!r} already; PATCH changes it, DELETE removes it"
                ).because("camera_exists", camera_id=camera_id)
            settings = await self._store.add(camera_id, table)
            log.info("camera %s: added by API", camera_id, extra={"camera": camera_id})
            camera = await self._set(camera_id, settings)
            await self._tell()
            return camera

        return await self._uninterrupted(add)

    async def change(self, camera_id: str, patch: Mapping[str, Any], revision: str | None = None) -> Camera:
        """Change some settings of a camera. The change is kept over restarts. ``None`` resets a setting to its default.

        ``revision``: the settings that it was made of. If they are others by now, nothing changes.

        Raises ``NotFoundError``, ``BadRequestError``, ``ConflictError`` and ``UnavailableError``.
        """

        async def change() -> Camera:
            self._require(camera_id)
            settings = await self._store.patch(camera_id, patch, revision)
            names = ", ".join(patch) or "nothing"
            log.info("camera %s: changed by API: %s", camera_id, names, extra={"camera": camera_id})
            camera = await self._set(camera_id, settings)
            await self._tell()
            return camera

        return await self._uninterrupted(change)

    async def remove(self, camera_id: str) -> None:
        """Stop and remove a camera. Its recordings stay. Raises ``NotFoundError`` and ``ConflictError``."""

        async def remove() -> None:
            self._require(camera_id)
            await self._store.remove(camera_id)
            log.info("camera %s: removed by API", camera_id, extra={"camera": camera_id})
            if camera_id in self._parts.service.cameras:
                await self._parts.close(camera_id)
            await self._tell()

        await self._uninterrupted(remove)

    def alone(self) -> AbstractAsyncContextManager[Any]:
        """For changes of another kind: none of these is made meanwhile."""
        return self._lock

    async def apply(self, wanted: Mapping[str, CameraSettings]) -> dict[str, list[str]]:
        """Add, change and remove cameras, so that there are these. Within :meth:`alone`. Returns what was done."""
        present = self._parts.service.cameras
        removed = [camera_id for camera_id in present if camera_id not in wanted]
        changed = [key for key in wanted if key in present and present[key].settings != wanted[key]]
        added = [camera_id for camera_id in wanted if camera_id not in present]
        for camera_id in removed:
            await self._parts.close(camera_id)
        for camera_id in changed:
            await self._parts.change(present[camera_id], wanted[camera_id])
        for camera_id in added:
            await self._parts.open(camera_id, wanted[camera_id])
        await self._tell()
        return {"added": added, "changed": changed, "removed": removed}

    def _require(self, camera_id: str) -> None:
        """Raise ``NotFoundError`` for a camera that there is not. Of one of another node, only the store knows."""
        if not self._store.is_shared:
            self._parts.service.camera(camera_id)

    async def _set(self, camera_id: str, settings: CameraSettings) -> Camera:
        """Have a camera with these settings. It may be new here alone, or known here still."""
        camera = self._parts.service.cameras.get(camera_id)
        if camera is None:
            return await self._parts.open(camera_id, settings)
        await self._parts.change(camera, settings)
        return camera

    async def finish(self, timeout_s: float) -> None:
        """Wait for the changes that have begun."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)

    async def _uninterrupted(self, change: Callable[[], Awaitable[T]]) -> T:
        """Rule 1."""

        async def locked() -> T:
            async with self._lock:
                return await change()

        return await uninterrupted(locked(), self._running)

    async def _tell(self) -> None:
        for listener in self.on_changed:
            await listener()
