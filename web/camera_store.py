"""CameraStore: the table of cameras, made of the settings and of the changes by API.

Theory of operation. The settings (``liveedge.toml``, ``RTSP_URL``) configure cameras. What the API adds or changes at
run time overrides them, setting by setting. It is stored in ``DATA_DIR/cameras.json``, so that it survives a restart;
in a cluster it is in its database, where all cameras are (:mod:`web.cluster`). This module knows tables and files only;
:class:`web.gateway.Gateway` starts and stops the cameras.

Rules:

1. A change is a merge patch (RFC 7396): a setting in it is set, and ``null`` resets a setting.
2. A configured camera cannot be removed by API, because it would be back at the next start. Remove it in the settings.
3. The file is replaced atomically, and is on disk before the change is confirmed. It contains credentials: mode 0600.
4. An entry that is invalid is reported, left out and kept in the file. A file that cannot be read stops the start:
   without it, cameras would be missing, and the next change would overwrite them.
5. The API may not set Python classes as engines, or names of files: loading code would be a way to attack the gateway,
   and reading files would show which files exist.
6. In a cluster, a change is made to what the nodes share at that moment, and no other change comes between: so none
   undoes another, whether this node knows that yet or not.
7. A change that names the revision of the settings that it was made of (:mod:`web.camera_revision`) replaces no others.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.camera import Camera
from gateway.camera_settings import CameraSettings, RenditionName
from gateway.camera_table import Given
from gateway.capture_settings import EngineName
from gateway.config.messages import InvalidSettingsError
from gateway.errors import BadRequestError, ConflictError, NotFoundError, SettingsError, UnavailableError
from gateway.picture_settings import DetectorName
from gateway.settings import DEMO_CAMERA, DEMO_TABLES
from web import camera_revision
from web.cluster.service import Cluster
from web.private_files import write_private
from web.settings import Settings

log = logging.getLogger(__name__)

FILE_NAME = "cameras.json"
VERSION = 1

CAMERAS_MAX = 1000
"""Cameras that the API may add: more than one process can serve, and few enough not to fill the disk."""

Tables = dict[str, dict[str, Any]]

Edit = Callable[[Tables], Tables]
"""Makes other tables of the cameras. It may run in another thread, and more than once."""


class CameraStore:
    """See the module. Raises :class:`~gateway.errors.SettingsError` for a file that cannot be read."""

    def __init__(self, settings: Settings, cluster: Cluster | None = None) -> None:
        self._cluster = cluster
        self.path = settings.data_dir / FILE_NAME
        self.settings = settings
        self.faults: dict[str, str] = {}
        """Why a camera of the file is left out, by camera id."""
        self._is_in_database = cluster is not None and cluster.has_own_cameras
        self._place = "the database of the cluster" if self._is_in_database else str(self.path)
        self._changes: Tables = read_tables(self.path) if cluster is None else cluster.open()

    def cameras(self, settings: Settings | None = None) -> dict[str, CameraSettings]:
        """The settings of every camera, under ``settings`` if given.

        Raises :class:`~gateway.errors.SettingsError` for an invalid camera of the settings; see rule 4.
        """
        settings = settings or self.settings
        configured = settings.camera_tables()
        cameras: dict[str, CameraSettings] = {}
        faults: dict[str, str] = {}
        for camera_id in {**configured, **self._changes}:
            try:
                table = _merged(configured.get(camera_id, {}), self._changes.get(camera_id, {}))
                cameras[camera_id] = settings.camera(camera_id, table)
            except SettingsError as error:
                if camera_id not in self._changes:
                    raise
                faults[camera_id] = f"{error} (in {self._place})"
                log.error("camera %s: left out: %s (in %s)", camera_id, error, self._place, extra={"camera": camera_id})  # noqa: TRY400
        if not configured and not self._changes and not self._is_in_database:
            cameras = dict(settings.camera_settings())
        self.faults = faults
        return cameras

    @property
    def is_shared(self) -> bool:
        """Whether other nodes, or workers, change the cameras too."""
        return self._cluster is not None

    def is_configured(self, camera_id: str) -> bool:
        """Whether the settings, and not the API, define a camera."""
        return self.settings.is_configured(camera_id)

    def is_url_by_api(self, camera_id: str, rendition: RenditionName = RenditionName.MAIN) -> bool:
        """Whether the API set the URL of a camera's stream."""
        name = "url" if rendition is RenditionName.MAIN else "sub_url"
        return name in self._changes.get(camera_id, {})

    def revision(self, camera: Camera) -> str:
        """The revision of a camera's present settings; rule 7."""
        return camera_revision.revision(camera)

    async def add(self, camera_id: str, table: Mapping[str, Any]) -> CameraSettings:
        """Add a camera. Raises ``BadRequestError``, ``ConflictError`` and ``UnavailableError``."""

        def edit(tables: Tables) -> Tables:
            if camera_id in tables or self.is_configured(camera_id) or self._is_demo(tables, camera_id):
                raise ConflictError(
                    f"there is a camera {camera_id!r} already; PATCH changes it, DELETE removes it"
                ).because("camera_exists", camera_id=camera_id)
            if len(tables) >= CAMERAS_MAX:
                raise ConflictError(
                    f"there are {CAMERAS_MAX} cameras that were added, the limit; DELETE removes one"
                ).because("limit_reached", limit=CAMERAS_MAX)
            changes = {key: value for key, value in table.items() if value is not None}
            self._check(camera_id, changes)
            return {**tables, camera_id: changes}

        await self._edit(edit)
        return self._camera(camera_id)

    async def patch(self, camera_id: str, patch: Mapping[str, Any], revision: str | None = None) -> CameraSettings:
        """Change settings of a camera; rules 1 and 7.

        Raises ``BadRequestError``, ``ConflictError``, ``NotFoundError`` and ``UnavailableError``.
        """

        def edit(tables: Tables) -> Tables:
            before = tables.get(camera_id)
            if before is None:
                if self.is_shared and not (self.is_configured(camera_id) or self._may_be_demo(camera_id)):
                    raise self._no_camera(camera_id)
                before = {} if self.is_configured(camera_id) else dict(DEMO_TABLES.get(camera_id, {}))
            if revision is not None:
                camera_revision.require_revision(self._usable(camera_id, before), revision)
            changes = {key: value for key, value in {**before, **patch}.items() if value is not None}
            self._check(camera_id, changes)
            others = {key: table for key, table in tables.items() if key != camera_id}
            return {**others, camera_id: changes} if changes else others

        await self._edit(edit)
        return self._camera(camera_id)

    async def remove(self, camera_id: str) -> None:
        """Remove a camera. Raises ``ConflictError`` (rule 2), ``NotFoundError`` and ``UnavailableError``."""

        def edit(tables: Tables) -> Tables:
            if self.is_configured(camera_id):
                raise ConflictError(
                    f"camera {camera_id} is configured in liveedge.toml or the environment: remove it there, and the"
                    ' gateway follows; PATCH with {"paused": true} keeps it stopped until then'
                ).because("camera_configured", camera_id=camera_id)
            if camera_id not in tables and not self._may_be_demo(camera_id):
                raise self._no_camera(camera_id)
            return {key: table for key, table in tables.items() if key != camera_id}

        await self._edit(edit)

    def reconfigure(self, settings: Settings) -> None:
        """Use other settings."""
        self.settings = settings

    def _check(self, camera_id: str, changes: Mapping[str, Any]) -> None:
        """Raise ``BadRequestError`` unless the API may set these, and they make a camera. From any thread."""
        engine = changes.get("engine", changes.get("capture_engine"))
        detector = changes.get("detector")
        if detector is not None and detector not in tuple(DetectorName):
            raise BadRequestError(
                "detector: must be motion or null; one of your own can be set in the settings file only"
            )
        if engine is not None and engine not in tuple(EngineName):
            raise BadRequestError(
                "engine: name auto, rtsp, pyav, opencv or fake; an engine of your own is set in liveedge.toml"
            )
        if changes.get("capture_tls_ca_file") is not None:
            raise BadRequestError("capture_tls_ca_file: files are named in liveedge.toml or the environment alone")
        try:
            self._merged(camera_id, changes)
        except SettingsError as error:
            refusal = BadRequestError(str(error))
            if isinstance(error, InvalidSettingsError):
                # The id of a camera is a key of the setting ``cameras``.
                names = {"camera_id" if fault.setting == "cameras" else fault.setting for fault in error.faults}
                refusal.because("setting_invalid", field=", ".join(sorted(names)))
            raise refusal from None

    def _merged(self, camera_id: str, changes: Mapping[str, Any]) -> CameraSettings:
        configured = self.settings.camera_tables().get(camera_id, {})
        return self.settings.camera(camera_id, _merged(configured, changes), given=Given.REQUEST)

    def _usable(self, camera_id: str, changes: Mapping[str, Any]) -> CameraSettings | None:
        """The settings of a camera; ``None`` for one that is left out (rule 4). From any thread."""
        try:
            return self._merged(camera_id, changes)
        except SettingsError:
            return None

    def _camera(self, camera_id: str) -> CameraSettings:
        return self._merged(camera_id, self._changes.get(camera_id, {}))

    def _is_demo(self, tables: Tables, camera_id: str) -> bool:
        """Whether it is the camera that there is where nobody has configured any."""
        return not tables and self._may_be_demo(camera_id)

    def _may_be_demo(self, camera_id: str) -> bool:
        """Whether it is that camera, which stays until the next start where others are added."""
        return camera_id == DEMO_CAMERA and not (self.settings.camera_tables() or self._is_in_database)

    def _no_camera(self, camera_id: str) -> NotFoundError:
        why = " any more: another node removed it" if camera_id in self._changes else ""
        return NotFoundError(f"there is no camera {camera_id[:64]!r}{why}; GET /api/cameras lists all cameras").because(
            "camera_unknown", camera_id=camera_id[:64]
        )

    async def read_again(self) -> None:
        """Read what other nodes of the cluster changed. Raises :class:`~gateway.errors.StorageError`."""
        if self._cluster is not None:
            self._changes = await self._cluster.cameras()

    async def _edit(self, edit: Edit) -> None:
        if self._cluster is not None:
            try:
                self._changes = await self._cluster.edit_cameras(edit)
            except (ConflictError, NotFoundError):
                await self.read_again()
                raise
            return
        changes = edit(self._changes)
        try:
            await asyncio.to_thread(write_tables, self.path, changes)
        except OSError as error:
            raise UnavailableError(
                f"the change was not made, because DATA_DIR cannot be written ({error.strerror})", retry_after_s=30
            ).because("data_dir_unwritable") from None
        self._changes = changes


def _merged(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``table`` with ``changes``. The engine has two names; a change by one replaces the other."""
    hidden = {"engine", "capture_engine"} if {"engine", "capture_engine"} & changes.keys() else set()
    return {name: value for name, value in table.items() if name not in hidden} | dict(changes)


def read_tables(path: Path) -> Tables:
    try:
        kept = json.loads(path.read_bytes())
        cameras = kept["cameras"]
        if kept["version"] != VERSION or not all(isinstance(table, dict) for table in cameras.values()):
            raise ValueError("unknown version")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read ({error.strerror}): give it to the user that runs liveedge"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SettingsError(
            f"{path} is damaged or was not written by liveedge: restore a copy, or move it away and add its cameras"
            " again"
        ) from None
    return {str(camera_id): dict(table) for camera_id, table in cameras.items()}


def write_tables(path: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Rule 3. Raises ``OSError``; the file is unchanged then."""
    write_private(path, json.dumps({"version": VERSION, "cameras": changes}, indent=2).encode())
