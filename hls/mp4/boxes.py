"""Reading the boxes of our own MP4 files (ISO/IEC 14496-12): where the init segment ends, and where each fragment lies.

Theory of operation. FFmpeg's ``hybrid_fragmented`` writes a recording in two shapes, one after the other:

    growing   ftyp free free moov (moof mdat)*                     a fragmented MP4, whole after each mdat
    closed    ftyp free mdat[ ftyp moov (moof mdat)* ] moov        an ordinary MP4; the old boxes are the payload

Only the box headers between the first ``ftyp`` and the first ``moov`` differ; every ``moof`` keeps its place and bytes.
So one walk reads both shapes: an ``mdat`` that comes before any ``moov`` is an envelope, and the walk goes on inside
it.

Rules:

1. Nothing here writes, and nothing here trusts a size: a box that does not fit into the file ends the walk.
2. A fragment is a ``moof`` together with the ``mdat`` after it; half of one is no fragment.
3. The video is track 1 on a 90 kHz time scale; :mod:`hls.archive.writer` sees to that.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.errors import NotFoundError, StorageError
from hls.archive.segment import Fragment, Segment

VIDEO_TRACK_ID = 1

MOOF_MAX_BYTES = 4 * 1024 * 1024
"""A moof of ours has 8-16 bytes a sample and spans half a second; one this large is garbage in a size field."""

RUN_MAX_SAMPLES = 100_000
"""Where a run's count is all that speaks of its samples, as many as a day of one frame a second."""

FRAGMENT_MAX_FRAMES = 65_535
FRAGMENT_MAX = 2**32 - 1
"""Ticks from a file's beginning (13 hours), and bytes: the index has room for more than any file of ours has."""

INIT_MAX_BYTES = 1024 * 1024
"""An init segment of ours has about 1.5 kB; parameter sets cannot make it this large."""

# Size and kind, with which every box begins (§4.2).
_HEADER = struct.Struct(">I4s")

NON_SYNC = 0x0001_0000
"""``sample_is_non_sync_sample`` (ISO/IEC 14496-12 §8.8.3.1)."""


@dataclass(frozen=True, slots=True)
class Box:
    """One box: where it lies, and where its content begins; all in bytes from the start of what was walked."""

    kind: bytes
    offset: int
    content: int
    end: int


@dataclass(frozen=True, slots=True)
class FragmentBoxes:
    """What a ``moof`` says about its video; times in 90 kHz."""

    start_90k: int
    duration_90k: int
    frames: int
    is_keyframe: bool
    longest_gap_90k: int


@dataclass(frozen=True, slots=True)
class Run:
    """Samples of one track that lie side by side, from ``data_offset`` after the start of their ``moof``.

    ``decode_time`` is in the track's time scale; a sample is (duration, size, flags, composition offset).
    """

    track_id: int
    decode_time: int
    data_offset: int
    samples: list[tuple[int, int, int, int]]


@dataclass(frozen=True, slots=True)
class Scan:
    """What a file holds.

    ``head`` are the bytes before ``moov`` as they stood while the file grew, ``init_size`` the length of the whole init
    segment, ``whole_bytes`` the end of the last whole fragment, ``is_closed`` whether the file has its final index.
    """

    head: bytes
    init_size: int
    init_id: str
    fragments: tuple[Fragment, ...]
    whole_bytes: int
    file_bytes: int
    is_closed: bool
    longest_gap_90k: int


def parse_boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes side by side in ``data[start:end]``; stops at the first that does not fit."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = _HEADER.unpack_from(data, start)
        content = start + 8
        if size == 1 and start + 16 <= end:
            size = int.from_bytes(data[start + 8 : start + 16], "big")
            content = start + 16
        if size < content - start or start + size > end:
            return
        yield Box(kind, start, content, start + size)
        start += size


def find_box(data: bytes, *path: bytes) -> Box | None:
    """The first box at a path of kinds, as ``find_box(init, b"moov", b"trak")``."""
    start, end = 0, len(data)
    found: Box | None = None
    for kind in path:
        found = next((box for box in parse_boxes(data, start, end) if box.kind == kind), None)
        if found is None:
            return None
        start, end = found.content, found.end
    return found


def parse_runs(moof: bytes) -> list[Run]:
    """Every run of samples in one ``moof`` box; nothing of what cannot be read as one."""
    runs: list[Run] = []
    header = find_box(moof, b"moof")
    if header is None:
        return runs
    for traf in parse_boxes(moof, header.content, header.end):
        if traf.kind != b"traf":
            continue
        defaults: tuple[int, int, int, int] | None = None
        decode_time = 0
        for box in parse_boxes(moof, traf.content, traf.end):
            if box.kind == b"tfhd":
                defaults = _track_defaults(moof, box)
            elif box.kind == b"tfdt":
                decode_time = int.from_bytes(moof[box.content + 4 : box.end], "big")
            elif box.kind == b"trun" and defaults is not None:
                run = _run(moof, box, decode_time, defaults)
                decode_time += sum(sample[0] for sample in run.samples)
                runs.append(run)
    return runs


def parse_moof(moof: bytes) -> FragmentBoxes:
    """What a ``moof`` box says of its video. A fragment without video has no frames."""
    video = [run for run in parse_runs(moof) if run.track_id == VIDEO_TRACK_ID and run.samples]
    if not video:
        return FragmentBoxes(0, 0, 0, False, 0)
    durations = [sample[0] for run in video for sample in run.samples]
    return FragmentBoxes(
        start_90k=video[0].decode_time,
        duration_90k=sum(durations),
        frames=len(durations),
        is_keyframe=not video[0].samples[0][2] & NON_SYNC,
        longest_gap_90k=max(durations),
    )


def add_fragment(fragments: list[Fragment], about: FragmentBoxes, offset: int, size: int) -> None:
    """Append a fragment to those before it, so that they lie side by side in file and time.

    The muxer knows the duration of a fragment's last frame only when the next one has come, and guesses where audio
    made it cut: the start of the next fragment is the truth. A fragment without video belongs to the one before it.
    """
    if fragments:
        last = fragments[-1]
        if about.frames == 0:
            fragments[-1] = replace(last, size=offset + size - last.offset)
            return
        fragments[-1] = replace(last, duration_90k=about.start_90k - last.start_90k)
    fragments.append(Fragment(offset, size, about.start_90k, about.duration_90k, about.frames, about.is_keyframe))


def scan(path: Path) -> Scan:
    """Walk a file of ours. Raises :class:`~gateway.errors.StorageError` for one that is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return _scan(descriptor, path)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _scan(descriptor: int, path: Path) -> Scan:
    file_bytes = os.fstat(descriptor).st_size
    position, end = 0, file_bytes
    moov: Box | None = None
    envelope_end = 0
    moof: tuple[Box, bytes] | None = None
    fragments: list[Fragment] = []
    longest_gap_90k = whole_bytes = 0
    while (box := _box_at(descriptor, position, end, clip_mdat=moov is None)) is not None:
        position = box.end
        if box.kind == b"mdat" and moov is None:
            envelope_end = box.end
            position, end = box.content, box.end
        elif box.kind == b"moov" and moov is None:
            moov = box
            whole_bytes = box.end
        elif box.kind == b"moof" and moov is not None and box.end - box.offset <= MOOF_MAX_BYTES:
            moof = (box, os.pread(descriptor, box.end - box.offset, box.offset))
        elif box.kind == b"mdat" and moof is not None:
            about = parse_moof(moof[1])
            if not _is_plausible(about, box.end - moof[0].offset, fragments):
                break
            add_fragment(fragments, about, moof[0].offset, box.end - moof[0].offset)
            longest_gap_90k = max(longest_gap_90k, about.longest_gap_90k)
            whole_bytes = box.end
            moof = None
        elif box.kind not in (b"ftyp", b"free"):
            break
    if moov is None or moov.end > INIT_MAX_BYTES:
        raise StorageError(f"{path} has no init segment: it is no recording, or its first bytes are lost")
    head = growing_head(os.pread(descriptor, moov.offset, 0))
    final = _box_at(descriptor, envelope_end, file_bytes) if envelope_end else None
    return Scan(
        head=head,
        init_size=moov.end,
        init_id=init_id(head + os.pread(descriptor, moov.end - moov.offset, moov.offset)),
        fragments=tuple(fragments),
        whole_bytes=whole_bytes,
        file_bytes=file_bytes,
        is_closed=final is not None and final.kind == b"moov",
        longest_gap_90k=longest_gap_90k,
    )


def _is_plausible(about: FragmentBoxes, size: int, before: list[Fragment]) -> bool:
    """Whether a fragment can be one of ours: what follows a wild one is not to be trusted either."""
    since_90k = about.start_90k - before[-1].start_90k if before and about.frames else 0
    return (
        about.frames <= FRAGMENT_MAX_FRAMES
        and max(about.duration_90k, about.start_90k, since_90k, size) <= FRAGMENT_MAX
        and since_90k >= 0
    )


def growing_head(head: bytes) -> bytes:
    """The bytes before ``moov`` as they stood while the file grew, whichever shape ``head`` is in.

    That is ``ftyp``, an empty ``free`` kept for a 64-bit size, and a ``free`` around a copy of ``ftyp``.
    """
    ftyp_size = int.from_bytes(head[:4], "big")
    if head[4:8] != b"ftyp" or not 8 <= ftyp_size <= len(head) - 16:
        return head
    rest = len(head) - ftyp_size - 8
    return head[:ftyp_size] + _HEADER.pack(8, b"free") + _HEADER.pack(rest, b"free") + head[ftyp_size + 16 :]


def shared_init(init: bytes) -> bytes:
    """An init segment without what it says of its own file: the same for all files whose tracks are described alike."""
    ftyp, moov = find_box(init, b"ftyp"), find_box(init, b"moov")
    if ftyp is None or moov is None:
        return init
    boxes = parse_boxes(init, moov.content, moov.end)
    content = b"".join(init[box.offset : box.end] for box in boxes if box.kind in (b"mvhd", b"trak", b"mvex"))
    return init[ftyp.offset : ftyp.end] + _HEADER.pack(8 + len(content), b"moov") + content


def init_id(init: bytes) -> str:
    """A name for :func:`shared_init`: its hash and its length, in hexadecimal."""
    shared = shared_init(init)
    return f"{hashlib.sha256(shared).hexdigest()[:16]}-{len(shared):x}"


def read_init(path: Path, segment: Segment) -> bytes:
    """A segment's init segment as it stood while the file grew. Raises :class:`~gateway.errors.NotFoundError`."""
    try:
        with path.open("rb") as file:
            return segment.head + file.read(segment.init_size)[len(segment.head) :]
    except OSError as error:
        raise NotFoundError(f"the file of segment {segment.name} cannot be read: {error.strerror}") from None


def _box_at(descriptor: int, offset: int, end: int, *, clip_mdat: bool = False) -> Box | None:
    """The box at an offset, if it fits. The envelope of a closed file that has lost its end counts as far as it
    goes."""
    header = os.pread(descriptor, min(16, max(0, end - offset)), offset)
    if len(header) < 8:
        return None
    size, kind = _HEADER.unpack_from(header)
    content = offset + 8
    if size == 1 and len(header) == 16:
        size = int.from_bytes(header[8:], "big")
        content = offset + 16
    if clip_mdat and kind == b"mdat":
        size = min(size, end - offset)
    if size < content - offset or offset + size > end:
        return None
    return Box(kind, offset, content, offset + size)


def _track_defaults(data: bytes, box: Box) -> tuple[int, int, int, int]:
    """Track id, default duration, size and flags of a ``tfhd`` (§8.8.7)."""
    flags = int.from_bytes(data[box.content + 1 : box.content + 4], "big")
    words = [int.from_bytes(data[at : at + 4], "big") for at in range(box.content + 4, box.end, 4)]
    found = [words[0] if words else 0, 0, 0, 0]
    position = 1 + 2 * bool(flags & 0x1) + bool(flags & 0x2)  # base-data-offset, sample-description-index
    for place, bit in ((1, 0x8), (2, 0x10), (3, 0x20)):
        if flags & bit and position < len(words):
            found[place] = words[position]
            position += 1
    return found[0], found[1], found[2], found[3]


def _run(data: bytes, box: Box, decode_time: int, defaults: tuple[int, int, int, int]) -> Run:
    """The samples of a ``trun`` (§8.8.8)."""
    track_id, *default = defaults
    flags = int.from_bytes(data[box.content + 1 : box.content + 4], "big")
    count = int.from_bytes(data[box.content + 4 : box.content + 8], "big")
    position = box.content + 8
    data_offset = 0
    first_flags: int | None = None
    if flags & 0x1:
        data_offset = int.from_bytes(data[position : position + 4], "big", signed=True)
        position += 4
    if flags & 0x4:
        first_flags = int.from_bytes(data[position : position + 4], "big")
        position += 4
    present = [bool(flags & bit) for bit in (0x100, 0x200, 0x400, 0x800)]
    record = struct.Struct(">" + "".join(kind for kind, is_there in zip("IIIi", present, strict=True) if is_there))
    # A count that the box has no room for is garbage, and without any field per sample nothing else bounds it.
    end = position + min(count * record.size, box.end - position) if record.size else position
    end -= (end - position) % record.size if record.size else 0
    if present == [True, True, True, True]:
        samples = [(a, b, c, d) for a, b, c, d in record.iter_unpack(data[position:end])]
    else:
        samples = []
        fields = record.iter_unpack(data[position:end]) if record.size else iter([()] * min(count, RUN_MAX_SAMPLES))
        for values in fields:
            given = iter(values)
            duration, size, sample_flags = (
                next(given) if is_there else default[place] for place, is_there in enumerate(present[:3])
            )
            samples.append((duration, size, sample_flags, next(given) if present[3] else 0))
    if samples and first_flags is not None:
        samples[0] = (samples[0][0], samples[0][1], first_flags, samples[0][3])
    return Run(track_id, decode_time, data_offset, samples)
