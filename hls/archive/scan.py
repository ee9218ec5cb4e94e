"""Scan a recording: where its init segment ends, and where each fragment lies.

Theory of operation. A recording is written in two shapes, one after the other, which are those of FFmpeg's
``hybrid_fragmented``. Earlier versions wrote with that muxer, and :mod:`hls.archive.writer` does the same itself:

    growing   ftyp free free moov (moof mdat)*                     a fragmented MP4, complete after each mdat
    closed    ftyp free mdat[ ftyp moov (moof mdat)* ] moov        an ordinary MP4; the old boxes are the payload

Only the box headers between the first ``ftyp`` and the first ``moov`` differ. Every ``moof`` keeps its place and bytes.
So one walk reads both shapes: an ``mdat`` before any ``moov`` is an envelope, and the walk continues inside it.

Rules:

1. Nothing here writes, and no size is trusted: a box that does not fit into the file ends the walk.
2. A fragment is a ``moof`` together with the ``mdat`` after it. Half of one is not a fragment.
3. The video is track 1 with a time scale of 90 kHz; :mod:`hls.archive.writer` writes it so.
"""

import base64
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway.errors import StorageError
from hls.archive.activity import Activity, ActivityMeter
from hls.archive.baseline import Baseline
from hls.archive.fragment import Fragment, add_fragment
from hls.mp4.boxes import BOX_HEADER, Box
from hls.mp4.init_segment import growing_head, init_id, read_comment
from hls.mp4.moof import FragmentBoxes, parse_runs, summarize, video_frames

MOOF_MAX_BYTES = 4 * 1024 * 1024
"""Our moofs have 4-16 bytes a sample and span half a second; a larger size field is garbage."""

FRAGMENT_MAX_FRAMES = 65_535
FRAGMENT_MAX = 2**32 - 1
"""Limits of the index's packed fragments: ticks from the beginning of the file (13 hours), and bytes."""

INIT_MAX_BYTES = 1024 * 1024
"""Our init segments have about 1.5 kB; parameter sets cannot make one this large."""

MOOV_MAX_BYTES = 64 * 1024 * 1024
"""The index of a day at 60 frames a second."""

SECONDS_MAX = 2 * 86_400
"""No recording is longer."""


@dataclass(frozen=True, slots=True)
class Scan:
    """The content of a file.

    ``head`` are the bytes before ``moov`` as they stood while the file grew, ``init_size`` the length of the whole init
    segment, ``whole_bytes`` the end of the last complete fragment, ``is_closed`` whether the file has its final index.
    """

    head: bytes
    init_size: int
    init_id: str
    fragments: tuple[Fragment, ...]
    whole_bytes: int
    file_bytes: int
    is_closed: bool
    longest_gap_90k: int
    activity: Activity


def scan(path: Path) -> Scan:
    """Walk a recording. Raises :class:`~gateway.errors.StorageError` for any other file."""
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
    meter = ActivityMeter(Baseline())
    longest_gap_90k = whole_bytes = 0
    while (box := _box_at(descriptor, position, end, clip_mdat=moov is None)) is not None:
        position = box.end
        if box.kind == b"mdat" and moov is None:
            envelope_end = box.end
            position, end = box.content, box.end
        elif box.kind == b"moov" and moov is None:
            moov = box
            whole_bytes = box.end
            meter = ActivityMeter(Baseline.unpack(_identity(descriptor, moov).get("activity")))
        elif box.kind == b"moof" and moov is not None and box.end - box.offset <= MOOF_MAX_BYTES:
            moof = (box, os.pread(descriptor, box.end - box.offset, box.offset))
        elif box.kind == b"mdat" and moof is not None:
            runs = parse_runs(moof[1])
            about = summarize(runs)
            if not _is_plausible(about, box.end - moof[0].offset, fragments):
                break
            add_fragment(fragments, about, moof[0].offset, box.end - moof[0].offset)
            longest_gap_90k = max(longest_gap_90k, about.longest_gap_90k)
            whole_bytes = box.end
            moof = None
            for frame in video_frames(runs):
                meter.add(*frame)
        elif box.kind not in (b"ftyp", b"free"):
            break
    if moov is None or moov.end > INIT_MAX_BYTES:
        raise StorageError(f"{path} has no init segment: it is not a recording, or its first bytes are lost")
    head = growing_head(os.pread(descriptor, moov.offset, 0))
    final = _box_at(descriptor, envelope_end, file_bytes) if envelope_end else None
    is_closed = final is not None and final.kind == b"moov"
    activity = meter.finished() if fragments else meter.activity()
    if final is not None and is_closed:
        activity = replace(activity, sound=_sound(_identity(descriptor, final)))
    return Scan(
        head=head,
        init_size=moov.end,
        init_id=init_id(head + os.pread(descriptor, moov.end - moov.offset, moov.offset)),
        fragments=tuple(fragments),
        whole_bytes=whole_bytes,
        file_bytes=file_bytes,
        is_closed=is_closed,
        longest_gap_90k=longest_gap_90k,
        activity=activity,
    )


def _identity(descriptor: int, moov: Box) -> dict[str, Any]:
    """What the tag of a ``moov`` says, see :func:`hls.archive.writer.identity`. Empty where it says nothing."""
    if moov.end - moov.offset > MOOV_MAX_BYTES:
        return {}
    try:
        values = json.loads(read_comment(os.pread(descriptor, moov.end - moov.offset, moov.offset)) or "{}")
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _sound(identity: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(identity.get("sound", ""), validate=True)[:SECONDS_MAX]
    except (ValueError, TypeError):
        return b""


def _is_plausible(about: FragmentBoxes, size: int, before: list[Fragment]) -> bool:
    """Whether liveedge can have written this fragment. After an implausible one, nothing is trusted."""
    since_90k = about.start_90k - before[-1].start_90k if before and about.frames else 0
    return (
        about.frames <= FRAGMENT_MAX_FRAMES
        and max(about.duration_90k, about.start_90k, since_90k, size) <= FRAGMENT_MAX
        and since_90k >= 0
    )


def _box_at(descriptor: int, offset: int, end: int, *, clip_mdat: bool = False) -> Box | None:
    """The box at an offset, if it fits. The envelope of a closed file that has lost its end is clipped to the file."""
    header = os.pread(descriptor, min(16, max(0, end - offset)), offset)
    if len(header) < 8:
        return None
    size, kind = BOX_HEADER.unpack_from(header)
    content = offset + 8
    if size == 1 and len(header) == 16:
        size = int.from_bytes(header[8:], "big")
        content = offset + 16
    if clip_mdat and kind == b"mdat":
        size = min(size, end - offset)
    if size < content - offset or offset + size > end:
        return None
    return Box(kind, offset, content, offset + size)
