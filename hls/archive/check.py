"""Check the archive's invariants: ``liveedge check [--repair]``.

1. Every row has its file, at the path of its name, or is in the object storage, whose objects are not read here.
2. A finished row's size is its file's size; a growing row's is at most that.
3. A closed row's file has its index; a truncated row's file ends with its last complete fragment.
4. A row's fragments are those of its file, with the same offsets, sizes and times, and its duration is their sum.
5. A row's SHA-256, if it has one, is that of its file.
6. Every readable file with the name of a segment has a row.
7. No deletion is unfinished.
8. The numbers of a stream's HLS segments only grow.

While a gateway runs on the same directory, the check only reads and ignores growing segments, and ``--repair`` is
refused. A repair makes the rows equal to the files: it adds, corrects and removes rows. It changes only the files that
recovery would change at the next start (:mod:`hls.archive.recovery`).
"""

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from gateway.camera_settings import RenditionName
from gateway.errors import SettingsError, StorageError
from hls.archive import upload_table
from hls.archive.data_dir import DataDirLock, lock_data_dir, unlock_data_dir
from hls.archive.fragment import Fragment
from hls.archive.metadata import UNREADABLE, sha256_of
from hls.archive.recovery import cameras_on_disk, files_on_disk, recover, truncate_to_fragments, with_scan
from hls.archive.scan import scan
from hls.archive.segment import SUB_SUFFIX, RecordedStream, Segment, SegmentState
from hls.archive.table import SegmentTable
from hls.settings import ArchiveSettings

PAGE = 200


class Fault(StrEnum):
    """Which invariant is violated."""

    NO_FILE = "no file"
    SIZE = "size differs"
    STATE = "state differs"
    FRAGMENTS = "fragments differ"
    SHA256 = "SHA-256 differs"
    NO_ROW = "not in the index"
    UNREADABLE = "cannot be read"
    HALF_DELETED = "half deleted"
    LEFT_GROWING = "left growing"
    NUMBERS = "numbers do not grow"


@dataclass(frozen=True, slots=True)
class Finding:
    """One violated invariant."""

    camera_id: str
    name: str
    fault: Fault
    detail: str = ""
    is_repaired: bool = False

    def __str__(self) -> str:
        done = ", repaired" if self.is_repaired else ""
        return f"{self.camera_id}/{self.name}: {self.fault}{done}{': ' + self.detail if self.detail else ''}"


def check_archive(settings: ArchiveSettings, *, repair: bool = False) -> list[Finding]:
    """Check all invariants, and with ``repair`` repair violations. Blocking; reads every file once.

    Raises :class:`~gateway.errors.SettingsError` if the directory or the index cannot be used, or is in use.
    """
    data_dir = settings.data_dir
    if not data_dir.is_dir():
        raise SettingsError(f"DATA_DIR {data_dir} is not a directory: there is nothing to check")
    lock: DataDirLock | None = None
    try:
        lock = lock_data_dir(data_dir)
    except SettingsError:
        if repair:
            raise
    url = settings.database_url
    index = SegmentTable(data_dir, url.get_secret_value() if url else None)
    try:
        index.open()
        checker = _Checker(data_dir, index, is_alone=lock is not None, repair=repair)
        return list(checker.findings())
    finally:
        index.close()
        if lock is not None:
            unlock_data_dir(lock)


class _Checker:
    def __init__(self, data_dir: Path, index: SegmentTable, *, is_alone: bool, repair: bool) -> None:
        self._data_dir = data_dir
        self._index = index
        self._is_alone = is_alone
        self._repair = repair

    def findings(self) -> Iterator[Finding]:
        """All violations. Repairs are made on the way, and by recovery at the end."""
        for segment in self._index.in_state(SegmentState.DELETING):
            yield self._found(segment, Fault.HALF_DELETED)
        for camera_id in sorted({*self._index.cameras(), *cameras_on_disk(self._data_dir)}):
            yield from self._rows(camera_id)
            yield from self._files(camera_id)
        if self._repair:
            recover(self._data_dir, self._index)

    def _rows(self, camera_id: str) -> Iterator[Finding]:
        after: tuple[int, str] | None = None
        numbers: dict[RecordedStream, list[tuple[int, int]]] = {}
        while page := self._index.page(camera_id, None, None, PAGE, after):
            after = page[-1].start_90k, page[-1].name
            for segment in page:
                numbers.setdefault(segment.stream, []).append(
                    (segment.sequence, segment.sequence + segment.hls_segments)
                )
                yield from self._row(segment)
        for stream, ranges in numbers.items():
            ranges.sort()
            if any(later[0] < before[1] for before, later in pairwise(ranges)):
                if self._repair:
                    self._index.renumber(stream)
                yield Finding(
                    camera_id,
                    "*" if stream.rendition is RenditionName.MAIN else f"*{SUB_SUFFIX}",
                    Fault.NUMBERS,
                    is_repaired=self._repair,
                )

    def _row(self, segment: Segment) -> Iterator[Finding]:
        path = segment.path(self._data_dir)
        if segment.state is SegmentState.GROWING:
            if self._is_alone:
                yield self._found(segment, Fault.LEFT_GROWING, "no process writes it")
            return
        if not path.exists() and not upload_table.without_objects(self._index, [segment]):
            return
        try:
            found = scan(path)
        except StorageError as error:
            yield self._found(segment, Fault.UNREADABLE if path.exists() else Fault.NO_FILE, str(error))
            return
        whole = self._index.get(segment.camera_id, segment.name)
        fragments: tuple[Fragment, ...] = whole[1] if whole else ()
        faults = []
        if found.file_bytes != segment.size:
            faults.append((Fault.SIZE, f"{found.file_bytes} bytes on disk, {segment.size} in the index"))
        if found.is_closed is not (segment.state is SegmentState.CLOSED):
            faults.append((Fault.STATE, f"the index says {segment.state}"))
        if found.fragments != fragments or (fragments and fragments[-1].end_90k != segment.duration_90k):
            faults.append((Fault.FRAGMENTS, f"{len(found.fragments)} on disk, {len(fragments)} in the index"))
        digest = None
        if segment.sha256 not in (None, UNREADABLE):
            with suppress(OSError):
                digest = sha256_of(path, threading.Event())
            if digest != segment.sha256:
                faults.append((Fault.SHA256, "the file has changed since it was recorded"))
        if faults and self._repair:
            with suppress(StorageError):
                found = truncate_to_fragments(path) or found
            repaired = replace(with_scan(segment, found), sha256=digest if found.is_closed else None)
            self._index.save(repaired, found.fragments)
        for fault, detail in faults:
            yield Finding(segment.camera_id, segment.name, fault, detail, self._repair)

    def _files(self, camera_id: str) -> Iterator[Finding]:
        rows = self._index.names(camera_id)
        for path in files_on_disk(self._data_dir, camera_id):
            if path.stem in rows:
                continue
            try:
                scan(path)
            except StorageError:
                continue  # not a recording: harmless
            yield Finding(camera_id, path.stem, Fault.NO_ROW, is_repaired=self._repair)

    def _found(self, segment: Segment, fault: Fault, detail: str = "") -> Finding:
        # An unreadable file and its row stay as they are, because there is nothing to repair them with.
        repaired = self._repair and fault is not Fault.UNREADABLE
        return Finding(segment.camera_id, segment.name, fault, detail, repaired)
