"""FrameCallbacks: call a function of the program that uses the library with each picture of the cameras.

The pictures are those that Socket.IO clients get: at ``FRAME_RATE``, of the stream that has ``FRAME_WIDTH``, and of the
other one while that has none (:mod:`gateway.pictures`). The function is no viewer: it gets what a command captured.
"""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import closing

from gateway.camera import Camera
from gateway.hub import SubscriptionClosed
from gateway.jpeg.frame_bytes import FrameBytes
from gateway.picture_reader import PictureReader
from gateway.session import FrameCallback

log = logging.getLogger(__name__)


class FrameCallbacks:
    """See the module. Lives on the event loop; the function may be set before that runs."""

    def __init__(self) -> None:
        self._callback: FrameCallback | None = None
        self._tasks: dict[Camera, asyncio.Task[None]] = {}

    def set(self, callback: FrameCallback | None, cameras: Iterable[Camera]) -> None:
        """Call this function from now on; ``None``: none."""
        self._callback = callback
        for camera in cameras:
            self.restart(camera)

    def restart(self, camera: Camera) -> None:
        """The function, or the camera's settings, have changed."""
        self._cancel(camera)
        camera.session.frame_callback = self._callback
        self.update(camera)

    def update(self, camera: Camera) -> None:
        """The camera has changed: it may be captured now, or not any more."""
        if self._callback is None or not camera.main.is_wanted:
            self._cancel(camera)
        elif camera not in self._tasks:
            task = asyncio.create_task(self._run(camera, self._callback), name=f"frames-{camera.id}")
            self._tasks[camera] = task

    def _cancel(self, camera: Camera) -> None:
        task = self._tasks.pop(camera, None)
        if task is not None:
            task.cancel()

    @staticmethod
    async def _run(camera: Camera, callback: FrameCallback) -> None:
        settings = camera.settings
        reader = PictureReader(camera, "", settings.frame_rate, settings.frame_width, is_viewer=False)
        with closing(reader):
            while True:
                try:
                    frame = await reader.get()
                except SubscriptionClosed:
                    return
                try:
                    result = callback(FrameBytes(frame))
                    if asyncio.iscoroutine(result):
                        await result
                except Exception:
                    extra = {"camera": camera.id}
                    log.exception("camera %s: the frame callback failed", camera.id, extra=extra)
