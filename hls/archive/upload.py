"""Upload: how a segment gets into the object storage while it is recorded. Without I/O.

Theory of operation. A segment is one multipart upload from its first :data:`PART_BYTES` on. Each part that is full is
uploaded while the rest is being recorded. The first bytes of the file change when it is closed
(:mod:`hls.archive.scan`), so its first part is uploaded twice: as soon as it is full, so that the others are of use
without the disk, and last of all. The state of the upload is in the index (:mod:`hls.archive.upload_table`), so that
each process that has the index goes on with it.

Rules:

1. Parts have one size, but for the last one, as some servers require.
2. The first part is the last one that is uploaded of a finished file: where it is that of the finished file, all are.
3. A part that is not what the file has at its place is uploaded again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from hls.archive.fragment import Fragment
from hls.archive.segment import Segment, SegmentState, segment_path
from hls.storage.client import PartDone

PART_BYTES = 5 * 1024 * 1024
"""The smallest part that S3 has (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html). What is lost without the
disk is less than that."""

_ROOT = Path()

LONG_SEGMENT_S = 3600
LONG_PART_BYTES = 32 * 1024 * 1024
"""For files that may become longer: a day at 29 Mbit/s has 10,000 of these parts, and an object of S3 has no more."""


class UploadState(StrEnum):
    """The state of an upload."""

    UPLOADING = "uploading"
    UPLOADED = "uploaded"
    """The storage has the object, and its size is that of the file."""


@dataclass(frozen=True, slots=True)
class Upload:
    """The upload of one segment, as the index has it.

    ``upload_id`` is ``None`` before it begins and after it has ended. ``head`` says which first part the storage has,
    see :func:`head_of`.
    """

    part_size: int
    state: UploadState = UploadState.UPLOADING
    upload_id: str | None = None
    parts: tuple[PartDone, ...] = ()
    head: str = ""
    is_local: bool = True
    """Whether there is a file in ``DATA_DIR``."""

    @property
    def size(self) -> int:
        """Bytes from the beginning of the file that the storage has without a gap."""
        size = 0
        for number, part in enumerate(self.parts, 1):
            if part.number != number:
                break
            size += part.size
        return size

    def with_part(self, part: PartDone, head: str) -> "Upload":
        """The upload with one more part, or another one of the same number."""
        others = (each for each in self.parts if each.number != part.number)
        return replace(self, parts=tuple(sorted((*others, part))), head=head if part.number == 1 else self.head)


def pack_parts(parts: Sequence[PartDone]) -> str:
    """Parts as JSON: a list of [number, ETag, size]."""
    return json.dumps(parts, separators=(",", ":"))


def unpack_parts(packed: str) -> tuple[PartDone, ...]:
    """The inverse of :func:`pack_parts`."""
    return tuple(PartDone(*each) for each in json.loads(packed))


class PutPart(NamedTuple):
    """Upload ``size`` bytes of the file as a part. ``head`` is for :attr:`Upload.head` if it is the first one."""

    number: int
    offset: int
    size: int
    head: str


class Begin(NamedTuple):
    """Begin a multipart upload."""


class Complete(NamedTuple):
    """Make the object of these parts, which then has ``size`` bytes."""

    parts: tuple[PartDone, ...]
    size: int


Step = Begin | PutPart | Complete


def key_of(segment: Segment) -> str:
    """The key of a segment's object: the path of its file in ``DATA_DIR``."""
    return key(segment.camera_id, segment.name)


def key(camera_id: str, name: str) -> str:
    """As :func:`key_of`."""
    return segment_path(_ROOT, camera_id, name).as_posix()


def part_size(segment_s: int) -> int:
    """The size of parts for segments of this length."""
    return PART_BYTES if segment_s <= LONG_SEGMENT_S else LONG_PART_BYTES


def head_of(segment: Segment) -> str:
    """Which first part a segment's file has at present. It changes when its sound begins and when it ends."""
    return segment.init_id if segment.state is SegmentState.GROWING else f"{segment.state}-{segment.size:x}"


def next_step(upload: Upload, segment: Segment) -> Step | None:
    """What is to be done next; ``None``: nothing at present."""
    if upload.state is UploadState.UPLOADED:
        return None
    is_finished = segment.state is not SegmentState.GROWING
    size, count = upload.part_size, segment.size // upload.part_size
    last = segment.size - count * size
    count += is_finished and last > 0
    if not count:
        return None
    if upload.upload_id is None:
        return Begin()
    done = {part.number: part for part in upload.parts}
    head = head_of(segment)
    # Of a growing file the first part is the one that all others need, see rule 2 for a finished one.
    numbers = [*range(2, count + 1), 1] if is_finished else range(1, count + 1)
    for number in numbers:
        wanted = last if is_finished and last and number == count else size
        part = done.get(number)
        if part is None or part.size != wanted or (number == 1 and upload.head != head):
            return PutPart(number, (number - 1) * size, wanted, head)
    if not is_finished:
        return None
    return Complete(tuple(done[number] for number in range(1, count + 1)), segment.size)


def without_file(
    segment: Segment, fragments: Sequence[Fragment], upload: Upload
) -> tuple[Segment, tuple[Fragment, ...]] | None:
    """What the parts in the storage have of a segment whose file is lost; ``None``: no fragment.

    It ends with its last complete fragment, as a file does that a crash has cut. The rest of the last part is behind
    it.
    """
    kept = tuple(each for each in fragments if each.offset + each.size <= upload.size)
    if not kept:
        return None
    cut = replace(
        segment,
        state=SegmentState.TRUNCATED,
        duration_90k=kept[-1].end_90k,
        size=kept[-1].offset + kept[-1].size,
        frames=sum(each.frames for each in kept),
        sha256=None,
    )
    if upload.head and segment.state is SegmentState.GROWING and upload.head != segment.init_id:
        # The storage has the first part from before the sound began.
        cut = replace(cut, init_id=upload.head, audio_codec=None, audio_codec_string=None)
    return cut, kept
