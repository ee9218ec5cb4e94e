"""UnfinishedFiles: what a process that was killed has on the disk and not in its index.

It is what :mod:`hls.archive.recovery` will put into the index when that process starts again, found without a change of
anything: files end with their last complete fragment.

Rules:

1. A growing row has what is in its file.
2. A file without a row counts if it began after the newest row of its stream: rows of new files are written at once,
   so there are few. At most :data:`ADDED_MAX` of a camera are read, the newest ones; an index that was lost has its
   files back when its process starts.
3. A file is read again when its size or its date has changed.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from gateway.camera_settings import RenditionName
from gateway.errors import StorageError
from hls.archive.recovery import read_recording, recovered
from hls.archive.scan import scan
from hls.archive.segment import (
    Segment,
    SegmentState,
    SegmentWithFragments,
    parse_name,
    rendition_of,
    segment_path,
)
from hls.archive.segment_queries import SegmentQueries

ADDED_MAX = 16

_Read = dict[Path, tuple[tuple[int, int], SegmentWithFragments | None]]
"""What was read of a file, with the size and the date that it had."""


class UnfinishedFiles:
    """See the module. Blocking; one thread at a time. ``data_dir`` is that of the other process, ``index`` its."""

    def __init__(self, data_dir: Path, index: SegmentQueries) -> None:
        self._data_dir = data_dir
        self._index = index
        self._read: dict[str, _Read] = {}

    def of_camera(self, camera_id: str) -> list[SegmentWithFragments]:
        """The segments of both streams, the main stream before, oldest first. Raises ``StorageError`` of the index."""
        before, self._read[camera_id] = self._read.get(camera_id, {}), {}
        growing = [each for each in self._index.in_state(SegmentState.GROWING) if each.camera_id == camera_id]
        found: list[SegmentWithFragments] = []
        for rendition in RenditionName:
            newest = self._index.newest(camera_id, rendition)
            rows = sorted((each for each in growing if each.rendition is rendition), key=lambda each: each.sequence)
            whole = [self._file(each.path(self._data_dir), camera_id, before, each) for each in rows]
            of_stream = [each for each in whole if each is not None]
            last = next((each.segment for each in of_stream if newest and each.segment.name == newest.name), newest)
            for path in self._later(camera_id, rendition, newest):
                added = self._file(path, camera_id, before)
                if added is not None:
                    last = _numbered(added.segment, last)
                    of_stream.append(SegmentWithFragments(last, added.fragments))
            found += of_stream
        return found

    def _file(
        self, path: Path, camera_id: str, before: _Read, row: Segment | None = None
    ) -> SegmentWithFragments | None:
        """What is in a file (rule 3). ``row``: its row, which grew."""
        try:
            status = path.stat()
        except OSError:
            return None
        version = status.st_size, status.st_mtime_ns
        known = before.get(path)
        if known is not None and known[0] == version:
            whole = known[1]
        else:
            whole = read_recording(path, camera_id) if row is None else _of_row(path, row)
        self._read[camera_id][path] = version, whole
        if whole is None or row is None:
            return whole
        # Other rows of the stream are numbered with it, which may have been done anew since.
        kept = replace(whole.segment, sequence=row.sequence, discontinuities=row.discontinuities)
        return SegmentWithFragments(kept, whole.fragments)

    def _later(self, camera_id: str, rendition: RenditionName, newest: Segment | None) -> list[Path]:
        """Rule 2, oldest first."""
        after = newest.name if newest is not None else ""
        names = [
            name
            for name in self._names(camera_id, _day(after))
            if rendition_of(name) is rendition and parse_name(name) is not None and name > after
        ]
        return [segment_path(self._data_dir, camera_id, name) for name in sorted(names)[-ADDED_MAX:]]

    def _names(self, camera_id: str, first_day: str) -> Iterator[str]:
        try:
            days = [entry.path for entry in os.scandir(self._data_dir / camera_id) if entry.name >= first_day]
        except OSError:
            return
        for day in sorted(days):
            try:
                with os.scandir(day) as entries:
                    names = [entry.name for entry in entries if entry.name.endswith(".mp4")]
            except OSError:
                continue
            yield from (name.removesuffix(".mp4") for name in names)


def _of_row(path: Path, row: Segment) -> SegmentWithFragments | None:
    """Rule 1."""
    try:
        found = scan(path)
        return SegmentWithFragments(recovered(row, path, found), found.fragments) if found.fragments else None
    except StorageError:
        return None


def _numbered(segment: Segment, last: Segment | None) -> Segment:
    """A segment without a row, with the numbers of one that follows ``last``."""
    if last is None:
        return segment
    sequence = last.sequence + last.hls_segments
    return replace(segment, sequence=sequence, discontinuities=last.discontinuities + 1)


def _day(name: str) -> str:
    """The name of the folder that has a segment; empty for an empty name."""
    digits = name.removeprefix("segment_")
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}" if digits else ""
