"""CameraStore: which cameras there are, out of the settings and of what people changed by API.

Theory of operation. The settings (``liveedge.toml``, ``RTSP_URL``) configure cameras. What is added or changed at run
time lies over them, setting by setting, and is kept in ``DATA_DIR/cameras.json``, so that it is there after a restart.
The book is about tables and files; whoever owns it makes the cameras be what it says.

Rules:

1. A change is a merge patch (RFC 7396): what it names is set, and ``null`` takes a setting back to what it is without.
2. A configured camera cannot be removed by API, for it would be back at the next start: the settings are where it goes.
3. The file is replaced whole and is on disk before the change is told done. It holds credentials: mode 0600.
4. An entry that cannot be used is told, left out and kept; a file that cannot be read keeps the gateway from starting,
   since going on would mean to forget cameras and, with the next change, to overwrite them.
5. Python classes as engines and names of files come from the settings alone: an API that loads code is a way in, and
   one that reads files tells what files there are.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.camera_settings import CameraSettings, EngineName
from gateway.errors import BadRequestError, ConflictError, NotFoundError, SettingsError, UnavailableError
from gateway.settings import DEMO_CAMERA, DEMO_TABLES
from web.private_files import write_private
from web.settings import Settings

log = logging.getLogger(__name__)

FILE_NAME = "cameras.json"
VERSION = 1

CAMERAS_MAX = 1000
"""Cameras that the API may add: far more than one process can serve, far fewer than fill a disk."""

Tables = dict[str, dict[str, Any]]


class CameraStore:
    """See the module. Raises :class:`~gateway.errors.SettingsError` for a file that cannot be read."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.data_dir / FILE_NAME
        self.settings = settings
        self.faults: dict[str, str] = {}
        """Why a camera of the file is left out, by its id."""
        self._changes: Tables = _read(self.path)

    def cameras(self, settings: Settings | None = None) -> dict[str, CameraSettings]:
        """Every camera's settings; with ``settings``, as they would be under those.

        Raises :class:`~gateway.errors.SettingsError` for a configured camera that cannot be used; see rule 4.
        """
        settings = settings or self.settings
        configured = settings.camera_tables()
        cameras: dict[str, CameraSettings] = {}
        faults: dict[str, str] = {}
        for camera_id in {**configured, **self._changes}:
            try:
                table = _over(configured.get(camera_id, {}), self._changes.get(camera_id, {}))
                cameras[camera_id] = settings.camera(camera_id, table)
            except SettingsError as error:
                if camera_id not in self._changes:
                    raise
                faults[camera_id] = f"{error} (in {self.path})"
                log.error("camera %s: left out: %s (in %s)", camera_id, error, self.path, extra={"camera": camera_id})  # noqa: TRY400
        if not configured and not self._changes:
            cameras = dict(settings.camera_settings())
        self.faults = faults
        return cameras

    def is_configured(self, camera_id: str) -> bool:
        """Whether the settings, and not the API, brought this camera."""
        return camera_id in self.settings.camera_tables()

    def is_url_by_api(self, camera_id: str) -> bool:
        """Whether the URL that a camera is pulled from came by API."""
        return "url" in self._changes.get(camera_id, {})

    async def add(self, camera_id: str, table: Mapping[str, Any]) -> CameraSettings:
        """A new camera. Raises ``BadRequestError``, ``ConflictError`` and ``UnavailableError``."""
        if camera_id in self._changes or self.is_configured(camera_id):
            raise ConflictError(f"there is a camera {camera_id!r} already; PATCH changes it, DELETE removes it")
        if len(self._changes) >= CAMERAS_MAX:
            raise ConflictError(f"there are {CAMERAS_MAX} cameras that were added, the limit; DELETE removes one")
        return await self._change(camera_id, {key: value for key, value in table.items() if value is not None})

    async def patch(self, camera_id: str, patch: Mapping[str, Any]) -> CameraSettings:
        """A camera with other settings; rule 1. Raises ``BadRequestError`` and ``UnavailableError``."""
        before = self._changes.get(camera_id)
        if before is None:
            before = {} if self.is_configured(camera_id) else dict(DEMO_TABLES.get(camera_id, {}))
        merged = {key: value for key, value in {**before, **patch}.items() if value is not None}
        return await self._change(camera_id, merged)

    async def remove(self, camera_id: str) -> None:
        """Forget a camera. Raises ``ConflictError`` (rule 2), ``NotFoundError`` and ``UnavailableError``."""
        if self.is_configured(camera_id):
            raise ConflictError(
                f"camera {camera_id} is configured in liveedge.toml or the environment: remove it there, and the"
                ' gateway follows; PATCH with {"start": "on-demand", "record": "never"} keeps it quiet till then'
            )
        if camera_id in self._changes:
            await self._save({key: table for key, table in self._changes.items() if key != camera_id})
        elif camera_id != DEMO_CAMERA:
            raise NotFoundError(f"there is no camera {camera_id[:64]!r}; GET /api/cameras lists what there is")

    def reconfigure(self, settings: Settings) -> None:
        """Other settings are in force."""
        self.settings = settings

    async def _change(self, camera_id: str, changes: dict[str, Any]) -> CameraSettings:
        engine = changes.get("engine", changes.get("capture_engine"))
        if engine is not None and engine not in tuple(EngineName):
            raise BadRequestError("engine: name pyav, opencv or fake; an engine of your own is set in liveedge.toml")
        if changes.get("capture_tls_ca_file") is not None:
            raise BadRequestError("capture_tls_ca_file: files are named in liveedge.toml or the environment alone")
        configured = self.settings.camera_tables().get(camera_id, {})
        try:
            camera = self.settings.camera(camera_id, _over(configured, changes))
        except SettingsError as error:
            raise BadRequestError(str(error)) from None
        after = {**self._changes, camera_id: changes}
        if not changes:
            del after[camera_id]
        await self._save(after)
        return camera

    async def _save(self, changes: Tables) -> None:
        try:
            await asyncio.to_thread(_write, self.path, changes)
        except OSError as error:
            raise UnavailableError(
                f"the change cannot be kept in DATA_DIR ({error.strerror}), and so is not made", retry_after_s=30
            ) from None
        self._changes = changes


def _over(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``changes`` over ``table``, in which the engine may go by either of its names."""
    hidden = {"engine", "capture_engine"} if {"engine", "capture_engine"} & changes.keys() else set()
    return {name: value for name, value in table.items() if name not in hidden} | dict(changes)


def _read(path: Path) -> Tables:
    try:
        kept = json.loads(path.read_bytes())
        cameras = kept["cameras"]
        if kept["version"] != VERSION or not all(isinstance(table, dict) for table in cameras.values()):
            raise ValueError("another version")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read ({error.strerror}): give it to the user that runs liveedge"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SettingsError(
            f"{path} is none of ours, or damaged: put back a copy, or move it away and add those cameras again"
        ) from None
    return {str(camera_id): dict(table) for camera_id, table in cameras.items()}


def _write(path: Path, changes: Tables) -> None:
    """Rule 3. Raises ``OSError``; the file is then as it was."""
    write_private(path, json.dumps({"version": VERSION, "cameras": changes}, indent=2).encode())
