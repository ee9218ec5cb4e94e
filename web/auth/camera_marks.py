"""CameraMarks: tells a camera from a later one with the same id, for signed URLs that show live video.

A live URL is signed for a camera. When that is removed and another one gets its id, the URL must not open the other. So
the removal of a camera gives its id another mark, a random text, and such a URL contains the mark of its time. An id of
which no camera was ever removed has the mark "".

Rules:

1. The marks, and the ids of all cameras, are kept in ``DATA_DIR/camera-marks.json``: a camera can also be removed from
   the configuration while the gateway is stopped.
2. At most :data:`MARKS_MAX` are kept, those of the latest removals.
3. Workers share the file. Of several that see a removal, the first one gives the mark, and the others take it over.
4. Without authentication nothing is signed, and nothing is written. If the file cannot be written, the marks live as
   long as the process, with a warning.
"""

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from web.auth.shared_access import SharedAccess
from web.private_files import locked, write_private

log = logging.getLogger(__name__)

FILE_NAME = "camera-marks.json"

MARK_BYTES = 6

MARKS_MAX = 4096


class Marks(Protocol):
    """Where the marks are: :class:`CameraMarks`, or the database of a cluster (:mod:`web.cluster.marks`)."""

    def of(self, camera_id: str) -> str:
        """The mark of a camera now."""
        ...

    async def update(self, *, is_kept: bool) -> None:
        """Cameras were added or removed, or authentication was turned on."""
        ...

    async def reload(self) -> None:
        """Another process may have given marks."""
        ...


class CameraMarks:
    """See the module. ``cameras`` are those that exist now; it is read again with each :meth:`update`."""

    def __init__(
        self, data_dir: Path, cameras: Collection[str], *, is_kept: bool, shared: SharedAccess | None = None
    ) -> None:
        self._path = data_dir / FILE_NAME
        self._cameras = cameras
        self._shared = shared
        self._lock = asyncio.Lock()
        known, self._marks = _read(self._path)
        self._known = frozenset(known)
        self._saved = self._data()
        if shared is not None and is_kept:
            self._update_shared(frozenset(cameras))
            return
        self._mark_removed()
        if is_kept:
            self._save(self._data())

    def of(self, camera_id: str) -> str:
        """The mark of a camera now."""
        return self._marks.get(camera_id, "")

    async def update(self, *, is_kept: bool) -> None:
        """Cameras were added or removed, or authentication was turned on."""
        if self._shared is not None and is_kept:
            async with self._lock:
                is_changed = await asyncio.to_thread(self._update_shared, frozenset(self._cameras))
            if is_changed:
                await self._shared.announce()
            return
        self._mark_removed()
        if is_kept:
            await asyncio.to_thread(self._save, self._data())

    async def reload(self) -> None:
        """Another worker may have given marks."""
        async with self._lock:
            _, marks = await asyncio.to_thread(_read, self._path)
            self._marks |= marks

    def _update_shared(self, present: frozenset[str]) -> bool:
        """Rule 3. Blocking. Returns whether there are new marks."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(self._path))
            except OSError as error:
                log.warning("%s cannot be locked (%s)", self._path, error.strerror or error)
            names, marks = _read(self._path)
            in_file, removed, added = frozenset(names), self._known - present, present - self._known
            self._saved = _data(in_file, marks)
            _give_marks(marks, removed & in_file)
            self._marks, self._known = marks, present
            # A camera that another worker has removed already is not put back.
            self._save(_data((in_file - removed) | added, marks))
            return bool(removed & in_file)

    def _mark_removed(self) -> None:
        """Give the ids of removed cameras another mark."""
        present = frozenset(self._cameras)
        _give_marks(self._marks, self._known - present)
        self._known = present

    def _data(self) -> bytes:
        return _data(self._known, self._marks)

    def _save(self, data: bytes) -> None:
        if data == self._saved:
            return
        try:
            write_private(self._path, data)
        except OSError as error:
            why = error.strerror or str(error)
            log.warning("%s cannot be written (%s): signed URLs may open another camera of a name", self._path, why)
        else:
            self._saved = data


def _give_marks(marks: dict[str, str], removed: Collection[str]) -> None:
    """Change the marks of removed cameras; rule 2."""
    for camera_id in sorted(removed):
        marks.pop(camera_id, None)
        marks[camera_id] = secrets.token_urlsafe(MARK_BYTES)
    while len(marks) > MARKS_MAX:
        del marks[next(iter(marks))]


def _data(cameras: Collection[str], marks: Mapping[str, str]) -> bytes:
    return json.dumps({"cameras": sorted(cameras), "marks": marks}).encode()


def _read(path: Path) -> tuple[list[str], dict[str, str]]:
    """The cameras that existed, and the marks. A file that is damaged counts as none."""
    try:
        kept = json.loads(path.read_bytes())
        cameras, marks = kept["cameras"], kept["marks"]
        if not isinstance(cameras, list) or not isinstance(marks, Mapping):
            raise TypeError
    except FileNotFoundError:
        return [], {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        log.warning("%s is replaced: %s", path, type(error).__name__)
        return [], {}
    return [str(each) for each in cameras], {str(name): str(mark) for name, mark in marks.items()}
