"""Write the index of an ordinary MP4 (ISO/IEC 14496-12): ``moov`` with the tables of its samples.

Rules:

1. Sample descriptions (``stsd`` entries) are copied from the recordings; nothing is re-encoded.
2. Sizes and offsets are 64-bit if a file could need it (``co64``, version 1 headers).
3. An edit list says which part of the media is shown (§8.6.6), so that a clip may begin and end between keyframes. A
   track that is shown as a whole has none.
4. A table is kept as it is written: arrays, with runs of equal values as one entry. An hour of video and audio has
   less than 2 MB.
"""

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.clock import CLOCK_RATE
from hls.mp4.boxes import box, full_box

_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_UNDETERMINED = 0x55C4
"""Language ``und`` (§8.4.2.3)."""


EPOCH_1904_S = 2_082_844_800
"""From the beginning of 1904, where times of MP4 begin (§8.2.2.3), to the Unix epoch, in seconds."""

CHAPTERS_MAX = 255
"""Their number is one byte."""


def chapter_list(chapters: Sequence[tuple[int, str]]) -> bytes:
    """Chapters as ``udta`` with ``chpl``, the box of Nero that FFmpeg, VLC and mpv read: start in 90 kHz, and title.

    No standard has it; the layout is that of FFmpeg's ``mov_read_chpl``. Empty without chapters.
    """
    if not chapters:
        return b""
    entries = []
    for start_90k, title in chapters[:CHAPTERS_MAX]:
        text = title.encode()[:255].decode(errors="ignore").encode()
        entries.append(struct.pack(">QB", start_90k * 10_000_000 // CLOCK_RATE, len(text)) + text)
    return box(b"udta", full_box(b"chpl", struct.pack(">IB", 0, len(entries)), *entries, version=1))


class RunLengths:
    """Numbers of 32 bits, each run of equal ones kept once: the content of ``stts`` (§8.6.1.2) and ``ctts``.

    Durations are at least 0. Composition time offsets may be negative (version 1 of ``ctts``, §8.6.1.3).
    """

    def __init__(self) -> None:
        self._runs = array("I")
        """Count and value of each run, alternating; values modulo 2³²."""

    def append(self, value: int) -> None:
        value &= 0xFFFFFFFF
        runs = self._runs
        if runs and runs[-1] == value:
            runs[-2] += 1
        else:
            runs.append(1)
            runs.append(value)

    @property
    def last(self) -> int:
        """The last value, modulo 2³²."""
        return self._runs[-1]

    def replace_last(self, value: int) -> None:
        """Change the last value."""
        if value == self._runs[-1]:
            return
        self._runs[-2] -= 1
        if not self._runs[-2]:
            del self._runs[-2:]
        self.append(value)

    @property
    def total(self) -> int:
        """The sum of all values, which are not negative."""
        runs = self._runs
        return sum(runs[at] * runs[at + 1] for at in range(0, len(runs), 2))

    @property
    def is_zero(self) -> bool:
        """Whether no value differs from 0."""
        return not any(self._runs[1::2])

    def __bool__(self) -> bool:
        return bool(self._runs)

    def table(self) -> bytes:
        """The number of runs, and the runs."""
        return struct.pack(">I", len(self._runs) // 2) + _big_endian(self._runs)


@dataclass(slots=True)
class TrackTable:
    """One track, sample by sample, in its own time scale."""

    timescale: int
    is_video: bool
    width: int = 0
    height: int = 0
    descriptions: list[bytes] = field(default_factory=list)
    durations: RunLengths = field(default_factory=RunLengths)
    sizes: "array[int]" = field(default_factory=lambda: array("I"))
    composition: RunLengths = field(default_factory=RunLengths)
    sync: "array[int]" = field(default_factory=lambda: array("I"))
    skip: int = 0
    """Media time that is skipped at the start."""
    delay_90k: int = 0
    """How much later than the file the track begins."""
    shown_90k: int | None = None
    """How much of the media is shown; ``None`` for all of it, without an edit list."""
    _end: int = 0
    """Media time at the end of the last sample that :meth:`add_sample` added."""
    _chunk_offsets: "array[int]" = field(default_factory=lambda: array("Q"))
    _chunk_samples: "array[int]" = field(default_factory=lambda: array("I"))
    _chunk_descriptions: "array[int]" = field(default_factory=lambda: array("I"))

    def description_index(self, entry: bytes) -> int:
        """The number of a sample description, from 1. A new one is added."""
        if entry not in self.descriptions:
            self.descriptions.append(entry)
        return self.descriptions.index(entry) + 1

    def add_sample(self, dts: int, duration: int, size: int, composition: int, is_sync: bool) -> None:
        """Add the next sample. ``dts`` begins at 0 and grows. Each sample lasts until the next one."""
        if dts != self._end and self.sizes:
            self.durations.replace_last(self.durations.last + dts - self._end)
        self.durations.append(duration)
        self._end = dts + duration
        self.sizes.append(size)
        self.composition.append(composition)
        if is_sync and self.is_video:
            self.sync.append(len(self.sizes))

    def add_chunk(self, offset: int, samples: int, description: int = 1) -> None:
        """Say where the next ``samples`` are: contiguous bytes at ``offset`` from the start of the media data."""
        self._chunk_offsets.append(offset)
        self._chunk_samples.append(samples)
        self._chunk_descriptions.append(description)

    @property
    def total_90k(self) -> int:
        """The track's duration on the timeline of the file."""
        shown_90k = self.shown_90k
        if shown_90k is None:
            shown_90k = -(-self.durations.total * CLOCK_RATE // self.timescale)
        return self.delay_90k + shown_90k

    def chunk_boxes(self, media_offset: int) -> tuple[bytes, bytes]:
        """``stsc`` and ``co64`` of media data that begin at ``media_offset`` of the file."""
        shapes: list[bytes] = []
        last: tuple[int, int] | None = None
        for number, shape in enumerate(zip(self._chunk_samples, self._chunk_descriptions, strict=True), start=1):
            if shape != last:
                last = shape
                shapes.append(struct.pack(">III", number, *shape))
        offsets = array("Q", (media_offset + offset for offset in self._chunk_offsets))
        return (
            full_box(b"stsc", struct.pack(">I", len(shapes)), *shapes),
            full_box(b"co64", struct.pack(">I", len(offsets)), _big_endian(offsets)),
        )


def header(tracks: Sequence[TrackTable], media_bytes: int, *more: bytes, created_s: int | None = None) -> bytes:
    """All bytes before the ``media_bytes`` of content of ``mdat``. The rest is as of :func:`moov`."""
    ftyp = box(b"ftyp", b"isom\0\0\2\0isomiso2mp41")
    mdat = struct.pack(">I4sQ", 1, b"mdat", 16 + media_bytes)
    length = len(ftyp) + len(moov(tracks, 0, *more)) + len(mdat)
    return ftyp + moov(tracks, length, *more, created_s=created_s) + mdat


def moov(tracks: Sequence[TrackTable], media_offset: int, *more: bytes, created_s: int | None = None) -> bytes:
    """The index of tracks whose media data begin at ``media_offset`` of the file. ``more``: boxes after the tracks.

    ``created_s``: the file's creation time, in Unix seconds.
    """
    duration = max(track.total_90k for track in tracks)
    created = 0 if created_s is None else created_s + EPOCH_1904_S
    mvhd = struct.pack(">QQIQ", created, created, CLOCK_RATE, duration) + struct.pack(">IHHQ", 0x10000, 0x100, 0, 0)
    mvhd += _MATRIX + bytes(24) + struct.pack(">I", len(tracks) + 1)
    traks = [_trak(number, track, media_offset) for number, track in enumerate(tracks, start=1)]
    return box(b"moov", full_box(b"mvhd", mvhd, version=1), *traks, *more)


def _trak(number: int, track: TrackTable, media_offset: int) -> bytes:
    tkhd = struct.pack(">QQIIQ", 0, 0, number, 0, track.total_90k) + bytes(8)
    tkhd += struct.pack(">hhHH", 0, 0, 0 if track.is_video else 0x100, 0) + _MATRIX
    tkhd += struct.pack(">II", track.width << 16, track.height << 16)
    mdhd = struct.pack(">QQIQHH", 0, 0, track.timescale, track.durations.total, _UNDETERMINED, 0)
    kind, name = (b"vide", b"video\0") if track.is_video else (b"soun", b"audio\0")
    hdlr = struct.pack(">I4s12x", 0, kind) + name
    media_header = full_box(b"vmhd", bytes(8), flags=1) if track.is_video else full_box(b"smhd", bytes(4))
    dinf = box(b"dinf", full_box(b"dref", struct.pack(">I", 1) + full_box(b"url ", b"", flags=1)))
    return box(
        b"trak",
        full_box(b"tkhd", tkhd, version=1, flags=3),
        _edits(track),
        box(
            b"mdia",
            full_box(b"mdhd", mdhd, version=1),
            full_box(b"hdlr", hdlr),
            box(b"minf", media_header, dinf, _stbl(track, media_offset)),
        ),
    )


def _edits(track: TrackTable) -> bytes:
    """The edit list of a track, if it needs one."""
    if track.shown_90k is None:
        return b""
    edits = [(track.shown_90k, track.skip)]
    if track.delay_90k:
        edits.insert(0, (track.delay_90k, -1))
    elst = struct.pack(">I", len(edits)) + b"".join(struct.pack(">QqI", *edit, 0x10000) for edit in edits)
    return box(b"edts", full_box(b"elst", elst, version=1))


def _stbl(track: TrackTable, media_offset: int) -> bytes:
    boxes = [
        full_box(b"stsd", struct.pack(">I", len(track.descriptions)), *track.descriptions),
        full_box(b"stts", track.durations.table()),
    ]
    if not track.composition.is_zero:
        boxes.append(full_box(b"ctts", track.composition.table(), version=1))
    if track.is_video:
        boxes.append(full_box(b"stss", struct.pack(">I", len(track.sync)), _big_endian(track.sync)))
    boxes.append(full_box(b"stsz", struct.pack(">II", 0, len(track.sizes)), _big_endian(track.sizes)))
    return box(b"stbl", *boxes, *track.chunk_boxes(media_offset))


def _big_endian(values: "array[int]") -> bytes:
    if sys.byteorder == "big":
        return values.tobytes()
    swapped = array(values.typecode, values)
    swapped.byteswap()
    return swapped.tobytes()
