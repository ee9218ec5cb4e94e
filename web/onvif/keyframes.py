"""KeyframeRequester: asks one camera for keyframes by ONVIF. SyncPointFile: what was measured, over restarts."""

import asyncio
import json
import logging
from pathlib import Path

from gateway.clock import Clock
from gateway.errors import LiveedgeError
from gateway.onvif.errors import OnvifError, OnvifLockedError, OnvifUnauthorizedError
from gateway.onvif.media import set_synchronization_point
from web.onvif.camera import CameraOnvif
from web.onvif.sync_points import SyncPoints
from web.private_files import write_private

log = logging.getLogger(__name__)

FILE = "onvif-sync-points.json"

CALL_S = 2.0


class SyncPointFile:
    """Counts by camera id. A file that cannot be read or written costs what was measured, and nothing else."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        self._points: dict[str, SyncPoints] | None = None

    def of(self, camera_id: str) -> SyncPoints:
        """The counts of a camera."""
        if self._points is None:
            self._points = self._read()
        return self._points.setdefault(camera_id, SyncPoints())

    def _read(self) -> dict[str, SyncPoints]:
        try:
            table = json.loads(self._path.read_bytes())
            return {str(name): SyncPoints(int(each["asked"]), int(each["helped"])) for name, each in table.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}

    async def save(self) -> None:
        """Write the counts."""
        points = (self._points or {}).items()
        data = json.dumps({name: {"asked": each.heard, "helped": each.helped} for name, each in points}).encode()
        try:
            await asyncio.to_thread(write_private, self._path, data)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error.strerror)


class KeyframeRequester:
    """See the module. Lives on the event loop."""

    def __init__(self, camera_id: str, onvif: CameraOnvif, file: SyncPointFile, clock: Clock) -> None:
        self._camera_id = camera_id
        self._onvif = onvif
        self._file = file
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    @property
    def points(self) -> SyncPoints:
        """What was measured."""
        return self._file.of(self._camera_id)

    def wanted(self, waited_s: float | None) -> None:
        """The camera's main stream waits for a keyframe, or has it (``None``)."""
        points = self.points
        helped = points.helped
        if points.wanted(waited_s, self._clock.monotonic()) and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._ask(), name=f"keyframe-{self._camera_id}")
        elif points.helped != helped and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._file.save(), name=f"keyframe-{self._camera_id}")

    def close(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()

    async def _ask(self) -> None:
        try:
            connected = await self._onvif.connected()
            await self._onvif.call(set_synchronization_point(connected.media, connected.profile.token), CALL_S)
        except LiveedgeError as error:
            if not isinstance(error, OnvifError) or isinstance(error, OnvifUnauthorizedError | OnvifLockedError):
                self.points.lost()
            log.info("camera %s: no keyframe by ONVIF: %s", self._camera_id, error, extra={"camera": self._camera_id})
        if self.points.is_useless:
            log.warning(
                "camera %s: SetSynchronizationPoint has no effect, so it is not asked any more",
                self._camera_id,
                extra={"camera": self._camera_id},
            )
        await self._file.save()
