"""CaptureService: all cameras, and the commands for them.

It is usable as a library, without a web server::

    service = CaptureService("auto", "rtsp://…")
    service.set_frame_callback(lambda frame: print(len(frame), frame.metadata))
    await service.start_capture()

Commands name a client; a client's second start replaces its first. Everything runs on one event loop.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Self

from gateway.camera import AddressCheck, Camera, ReferredCheck
from gateway.camera_settings import CameraSettings
from gateway.capture import engine_factory, engine_name
from gateway.capture.engine import CaptureEngine, EngineFactory
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import ConflictError, NotFoundError, SettingsError
from gateway.frame_callback import FrameCallbacks
from gateway.relay import RelayOf
from gateway.session import FrameCallback
from gateway.settings import DEFAULT_CAMERA, load_settings
from gateway.status import CaptureStatus
from gateway.transcode.limit import TranscodeLimit

log = logging.getLogger(__name__)

LIBRARY_CLIENT = "library"
"""The client of commands that name none."""

Listener = Callable[[CaptureStatus], None]


class CaptureService:
    """See the module. ``cameras`` are complete settings by camera id.

    With ``url`` there is one camera ``default`` there, and the first argument is its engine: a name that
    ``CAPTURE_ENGINE`` may have, a class, or an engine that was made without a source (``PyAVCaptureEngine()``). Each
    run has an engine of its own.

    ``address_check`` is called at the beginning of each run with the camera's id and the rendition. It returns the
    check of the addresses that the run connects to (:class:`~gateway.capture.engine.CaptureSource`), or ``None`` for no
    check.
    ``referred_check`` returns the one of the addresses that a camera refers to. ``relay_of`` tells which cameras
    another node captures, and how their packets come from there.
    """

    def __init__(
        self,
        cameras: Mapping[str, CameraSettings] | str | EngineFactory | CaptureEngine,
        url: str | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        address_check: AddressCheck | None = None,
        referred_check: ReferredCheck | None = None,
        transcode_max: int | None = None,
        relay_of: RelayOf | None = None,
    ) -> None:
        self._clock = clock
        self.transcode_limit = TranscodeLimit(transcode_max)
        """How many cameras are transcoded at a time."""
        self._address_check = address_check
        self._referred_check = referred_check
        self._relay_of = relay_of
        self._listeners: list[Listener] = []
        self._frame_callbacks = FrameCallbacks()
        self._cameras: dict[str, Camera] = {}
        if not isinstance(cameras, Mapping):
            cameras = _one_camera(url, engine=cameras if isinstance(cameras, str) else engine_name(cameras))
        elif url is not None:
            raise SettingsError("CaptureService: with a url the first argument is an engine, and not cameras")
        for camera_id, settings in cameras.items():
            self._cameras[camera_id] = self._make(camera_id, settings)

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Self:
        """One camera ``default`` at ``url``; ``settings`` as in the camera's table. A command starts the capture.

        Raises :class:`~gateway.errors.SettingsError`.
        """
        return cls(_one_camera(url, **settings))

    @property
    def cameras(self) -> Mapping[str, Camera]:
        """All cameras by id."""
        return self._cameras

    def camera(self, camera_id: str | None = None) -> Camera:
        """One camera; without an id the default one, or the only or first one. Raises ``NotFoundError``."""
        if camera_id is None:
            camera_id = DEFAULT_CAMERA if DEFAULT_CAMERA in self._cameras else next(iter(self._cameras), DEFAULT_CAMERA)
        try:
            return self._cameras[camera_id]
        except KeyError:
            raise NotFoundError(f"there is no camera {camera_id!r}; GET /api/cameras lists all cameras").because(
                "camera_unknown", camera_id=camera_id[:64]
            ) from None

    def start(self) -> None:
        """Capture the cameras whose settings say so."""
        for camera in self._cameras.values():
            camera.begin()

    async def close(self) -> None:
        """Stop all cameras concurrently."""
        await asyncio.gather(*(camera.aclose() for camera in self._cameras.values()))

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- commands

    async def start_capture(
        self,
        client_id: str = LIBRARY_CLIENT,
        camera_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        owner: str | None = None,
        expires: bool = True,
    ) -> CaptureStatus:
        """Start the capture for ``client_id``. Returns at once with the status.

        ``owner`` and ``expires`` as in :mod:`gateway.capture_clients`. Raises ``NotFoundError``, and
        ``UnavailableError`` if too many clients have started it.
        """
        camera = self.camera(camera_id)
        camera.add_client(client_id, metadata, owner=owner, expires=expires)
        return camera.status()

    async def stop_capture(self, client_id: str = LIBRARY_CLIENT, camera_id: str | None = None) -> CaptureStatus:
        """End ``client_id``'s capture. Unless another client or viewer wants it, it has ended on return."""
        camera = self.camera(camera_id)
        await camera.remove_client(client_id)
        return camera.status()

    async def end_client(self, client_id: str) -> None:
        """A client disconnected: its captures end after ``CAPTURE_LINGER``."""
        for camera in self._cameras.values():
            camera.lose_client(client_id)

    def status(self, camera_id: str | None = None) -> CaptureStatus:
        """One camera's status. Raises ``NotFoundError``."""
        return self.camera(camera_id).status()

    def set_frame_callback(self, callback: FrameCallback | None) -> None:
        """Call ``callback`` with each JPEG frame of every captured camera; ``None`` removes it.

        It gets a :class:`~gateway.jpeg.frame_bytes.FrameBytes`. It may be a coroutine function.
        """
        self._frame_callbacks.set(callback, self._cameras.values())

    def on_status(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` on each change of a camera's status. Returns a function that removes it."""
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove

    def announce(self, camera_id: str) -> None:
        """Call the listeners of :meth:`on_status`: what is known of a camera has changed elsewhere."""
        camera = self._cameras.get(camera_id)
        if camera is not None:
            self._notify(camera)

    # --- cameras at run time

    def add_camera(self, camera_id: str, settings: CameraSettings) -> Camera:
        """Add a camera and begin as its settings say. Raises ``ConflictError`` where the id is taken."""
        if camera_id in self._cameras:
            raise ConflictError(
                f"there is a camera {camera_id!r} already; PATCH changes it, DELETE removes it"
            ).because("camera_exists", camera_id=camera_id)
        camera = self._cameras[camera_id] = self._make(camera_id, settings)
        camera.begin()
        return camera

    def change_camera(self, camera_id: str, settings: CameraSettings) -> Camera:
        """Continue with other settings; see :meth:`Camera.reconfigure`. Raises ``NotFoundError``, ``SettingsError``."""
        camera = self.camera(camera_id)
        camera.reconfigure(settings, engine_factory(settings.capture_engine))
        self._frame_callbacks.restart(camera)
        return camera

    async def remove_camera(self, camera_id: str) -> None:
        """Stop a camera and remove it. Raises ``NotFoundError``."""
        camera = self.camera(camera_id)
        del self._cameras[camera_id]
        await camera.aclose()

    def _make(self, camera_id: str, settings: CameraSettings) -> Camera:
        factory = engine_factory(settings.capture_engine)
        camera = Camera(
            camera_id,
            settings,
            factory,
            self._clock,
            self._notify,
            self._address_check,
            self._referred_check,
            self.transcode_limit,
            self._relay_of,
        )
        self._frame_callbacks.restart(camera)
        return camera

    def _notify(self, camera: Camera) -> None:
        self._frame_callbacks.update(camera)
        if not self._listeners:
            return
        status = camera.status()
        for listener in tuple(self._listeners):
            try:
                listener(status)
            except Exception:
                log.exception("camera %s: a status listener failed", camera.id, extra={"camera": camera.id})


def _one_camera(url: str | None, **settings: Any) -> dict[str, CameraSettings]:
    if url is None:
        raise SettingsError("CaptureService: an engine needs the url of a camera as the second argument")
    table = {"start": "on-demand", "record": "never", **settings, "url": url}
    return {DEFAULT_CAMERA: load_settings().camera(DEFAULT_CAMERA, table)}
