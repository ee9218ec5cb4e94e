"""Repair files and index after a crash, before anything is recorded.

Rules, in the order in which they are applied at every start:

1. A row that is being deleted: its files are removed, then the row. While the object storage has something of it, the
   row stays until that is deleted too (:mod:`hls.archive.uploader`).
2. A growing row: no process writes its file any more. If the file has its index, the row is closed. Otherwise the file
   is cut to its last complete fragment, and the row is truncated. A file without a complete fragment is removed, and
   its row too.
3. A row without a file is removed, unless the object storage has the segment, or parts of it.
4. A recording without a row gets one, from its name and the metadata in the file. If it cannot be read, it is not
   changed.
5. A file that is not a recording by its name, path or content is not changed.

Blocking; runs in a worker thread, or in ``liveedge check``. Errors do not stop the gateway: they are logged, and the
file stays as it is.
"""

import io
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av

from gateway.camera_settings import CAMERA_ID
from gateway.codec import av1
from gateway.codec.h264 import codec_string_of_avcc
from gateway.codec.h265 import codec_string_of_hvcc
from gateway.errors import StorageError
from hls.archive import upload_table
from hls.archive.durable import sync_file
from hls.archive.fragment import Fragment
from hls.archive.hls_segments import hls_segments
from hls.archive.identity import IDENTITY_KEY
from hls.archive.scan import Scan, scan
from hls.archive.segment import (
    EndReason,
    RecordedStream,
    Segment,
    SegmentState,
    SegmentWithFragments,
    parse_name,
    rendition_of,
    segment_path,
)
from hls.archive.table import SegmentTable
from hls.archive.upload import without_file

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Recovery:
    """The repairs, for the log and for ``liveedge check``."""

    truncated: int = 0
    closed: int = 0
    added: int = 0
    removed_rows: int = 0
    removed_files: int = 0
    unreadable: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.truncated} truncated, {self.closed} found closed, {self.added} files added to the index,"
            f" {self.removed_rows} rows and {self.removed_files} empty files removed, {len(self.unreadable)} unreadable"
        )

    @property
    def is_nothing(self) -> bool:
        """Whether there was nothing to repair."""
        return self == Recovery()


def recover(data_dir: Path, index: SegmentTable) -> Recovery:
    """Apply the module's rules. Raises :class:`~gateway.errors.StorageError` only if the index fails."""
    done = Recovery()
    deleting = index.in_state(SegmentState.DELETING)
    for segment in deleting:
        remove_files(segment.path(data_dir))
    deleted = upload_table.without_objects(index, deleting)
    index.end_delete(deleted)
    done.removed_rows += len(deleted)
    for segment in index.in_state(SegmentState.GROWING):
        _recover_growing(data_dir, index, segment, done)
    on_disk = cameras_on_disk(data_dir)
    for camera_id in sorted({*index.cameras(), *on_disk}):
        _reconcile(data_dir, index, camera_id, done)
    return done


def cameras_on_disk(data_dir: Path) -> list[str]:
    """The names of folders that may be those of cameras."""
    try:
        with os.scandir(data_dir) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and CAMERA_ID.fullmatch(entry.name))
    except OSError:
        return []


def files_on_disk(data_dir: Path, camera_id: str) -> Iterator[Path]:
    """The camera's files with the name of a segment, at the path of that name."""
    try:
        days = sorted(entry.path for entry in os.scandir(data_dir / camera_id) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for day in days:
        try:
            with os.scandir(day) as entries:
                paths = sorted(Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False))
        except OSError:
            continue
        for path in paths:
            if parse_name(path.stem) is not None and path == segment_path(data_dir, camera_id, path.stem):
                yield path


def remove_files(path: Path) -> None:
    """Unlink a segment's file and its thumbnail. Raises ``OSError`` if the disk does not permit it."""
    path.with_suffix(".jpg").unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def truncate_to_fragments(path: Path) -> Scan | None:
    """Cut a file to its last complete fragment. ``None``: it had none, and was removed.

    Raises :class:`~gateway.errors.StorageError` if the file is not a recording.
    """
    if path.stat().st_size == 0:
        path.unlink()
        return None
    found = scan(path)
    if found.is_closed:
        return found
    if not found.fragments:
        path.unlink()
        return None
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, found.whole_bytes)
            os.pwrite(descriptor, found.head, 0)
            sync_file(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(f"{path} cannot be truncated: {error.strerror}") from None
    return found


def segment_from_file(path: Path, camera_id: str, found: Scan) -> Segment:
    """A segment from the metadata in its file. Raises :class:`~gateway.errors.StorageError`."""
    named_90k = parse_name(path.stem)
    try:
        with path.open("rb") as file:
            init = found.head + file.read(found.init_size)[len(found.head) :]
        # Only the init segment is opened, because libav trusts any number of samples in a broken fragment.
        with av.open(io.BytesIO(init), metadata_errors="replace") as container:
            tag = container.metadata.get(IDENTITY_KEY, "{}")
            video = container.streams.video[0].codec_context
            if video is None:  # in spite of PyAV's types: libav has no decoder for it
                raise StorageError(f"{path} cannot be read as MP4: its video codec is unknown")
            audio = container.streams.audio[0].codec_context if container.streams.audio else None
            codec, extradata = av1.LIBAV_DECODERS.get(video.name, video.name), video.extradata or b""
            size = video.width, video.height
    except (av.FFmpegError, OSError, IndexError, ValueError) as error:
        raise StorageError(f"{path} cannot be read as MP4: {type(error).__name__}") from None
    try:
        identity: dict[str, Any] = json.loads(tag)
        start_90k, run = int(identity["start_90k"]), int(identity["run"])
        continues = bool(identity["continues"])
    except (ValueError, KeyError, TypeError):
        if named_90k is None:
            raise StorageError(f"{path} does not say when it began") from None
        start_90k, run, continues = named_90k, 0, False
    return with_scan(
        Segment(
            camera_id=camera_id,
            rendition=rendition_of(path.stem),
            name=path.stem,
            state=SegmentState.TRUNCATED,
            start_90k=start_90k,
            duration_90k=0,
            size=0,
            codec=codec,
            codec_string=_codec_string(codec, extradata),
            audio_codec=audio.name if audio else None,
            audio_codec_string="mp4a.40.2" if audio else None,
            width=size[0],
            height=size[1],
            head=b"",
            init_size=0,
            run=run,
            continues=continues,
        ),
        found,
    )


def read_recording(path: Path, camera_id: str) -> SegmentWithFragments | None:
    """The segment of a file, which is not changed. ``None``: it has no fragment (yet), or is not a recording."""
    try:
        found = scan(path)
        return (
            SegmentWithFragments(segment_from_file(path, camera_id, found), found.fragments)
            if found.fragments
            else None
        )
    except (StorageError, OSError) as error:
        log.debug("%s; it is not changed", error)
        return None


def _recover_growing(data_dir: Path, index: SegmentTable, segment: Segment, done: Recovery) -> None:
    """Rule 2."""
    path = segment.path(data_dir)
    if not path.exists():
        upload = upload_table.get(index, segment.camera_id, segment.name)
        recording = index.get(segment.camera_id, segment.name)
        cut = without_file(segment, recording.fragments, upload) if upload is not None and recording else None
        if cut is not None:
            index.save(replace(cut[0], end_reason=EndReason.CRASHED), cut[1])
            done.truncated += 1
        else:
            index.remove(segment.camera_id, segment.name)
            done.removed_rows += 1
        return
    try:
        found = truncate_to_fragments(path)
    except StorageError as error:
        log.warning("%s; its row is kept", error)
        done.unreadable.append(path)
        index.save(replace(segment, state=SegmentState.TRUNCATED, end_reason=EndReason.CRASHED), ())
        return
    if found is None:
        index.remove(segment.camera_id, segment.name)
        done.removed_files += 1
        done.removed_rows += 1
        return
    index.save(recovered(segment, path, found), found.fragments)
    done.closed += found.is_closed
    done.truncated += not found.is_closed


def _reconcile(data_dir: Path, index: SegmentTable, camera_id: str, done: Recovery) -> None:
    """Rules 3 and 4."""
    rows = index.names(camera_id)
    added: set[RecordedStream] = set()
    for path in files_on_disk(data_dir, camera_id):
        if rows.pop(path.stem, None) is not None:
            continue
        try:
            found = truncate_to_fragments(path)
            if found is None:
                done.removed_files += 1
                continue
            index.save(segment_from_file(path, camera_id, found), found.fragments)
        except (StorageError, OSError) as error:
            log.warning("%s; it is not changed", error)
            done.unreadable.append(path)
            continue
        done.added += 1
        added.add(RecordedStream(camera_id, rendition_of(path.stem)))
    in_storage = upload_table.in_storage(index, camera_id) if rows else {}
    for name in rows:
        if name in in_storage:
            continue
        index.remove(camera_id, name)
        done.removed_rows += 1
    for stream in added:
        index.renumber(stream)


def recovered(segment: Segment, path: Path, found: Scan) -> Segment:
    """What the row of a growing segment becomes whose process has ended. Raises ``StorageError``."""
    if found.init_id != segment.init_id:
        # Its sound began after the row was written.
        in_file = segment_from_file(path, segment.camera_id, found)
        segment = replace(segment, audio_codec=in_file.audio_codec, audio_codec_string=in_file.audio_codec_string)
    return with_scan(segment, found)


def with_scan(segment: Segment, found: Scan) -> Segment:
    """A segment with the values of its file."""
    last: Fragment | None = found.fragments[-1] if found.fragments else None
    return replace(
        segment,
        state=SegmentState.CLOSED if found.is_closed else SegmentState.TRUNCATED,
        end_reason=segment.end_reason or (EndReason.STOPPED if found.is_closed else EndReason.CRASHED),
        duration_90k=last.end_90k if last else 0,
        size=found.file_bytes if found.is_closed else found.whole_bytes,
        frames=sum(fragment.frames for fragment in found.fragments),
        longest_gap_90k=found.longest_gap_90k,
        head=found.head,
        init_size=found.init_size,
        init_id=found.init_id,
        activity=found.activity,
        hls_segments=len(hls_segments(found.fragments, is_complete=True)),
    )


def _codec_string(codec: str, extradata: bytes) -> str:
    """The codec string from an ``avcC``, ``hvcC`` or ``av1C``; the codec's name alone where there is none."""
    if codec == "h264":
        return codec_string_of_avcc(extradata) or codec
    if codec == "hevc":
        return codec_string_of_hvcc(extradata) or "hvc1"
    if codec == "av1":
        return av1.codec_string_of_av1c(extradata) or "av01"
    return codec
