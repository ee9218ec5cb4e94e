"""Write the index of an ordinary MP4 (ISO/IEC 14496-12): ``ftyp`` and ``moov`` for samples in other files.

Rules:

1. Sample descriptions (``stsd`` entries) are copied from the recordings; nothing is re-encoded.
2. Sizes and offsets are 64-bit if a clip could need it (``co64``, version 1 headers).
3. An edit list says which part of the media is shown (§8.6.6), so that a clip may begin and end between keyframes.
"""

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from gateway.clock import CLOCK_RATE

_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_UNDETERMINED = 0x55C4
"""Language ``und`` (§8.4.2.3)."""


@dataclass(slots=True)
class Chunk:
    """Contiguous samples: ``size`` bytes at ``offset`` from the start of the media data."""

    offset: int
    samples: int
    description: int


@dataclass(slots=True)
class TrackTable:
    """One track of a clip, sample by sample, in its own time scale."""

    timescale: int
    is_video: bool
    width: int = 0
    height: int = 0
    descriptions: list[bytes] = field(default_factory=list)
    durations: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("I"))
    composition: "array[int]" = field(default_factory=lambda: array("i"))
    sync: "array[int]" = field(default_factory=lambda: array("I"))
    chunks: list[Chunk] = field(default_factory=list)
    skip: int = 0
    """Media time that is skipped at the start."""
    delay_90k: int = 0
    """How much later than the clip the track begins."""
    shown_90k: int = 0

    def description_index(self, entry: bytes) -> int:
        """The number of a sample description, from 1. A new one is added."""
        if entry not in self.descriptions:
            self.descriptions.append(entry)
        return self.descriptions.index(entry) + 1

    @property
    def media_duration(self) -> int:
        return sum(self.durations)


def header(tracks: Sequence[TrackTable], media_bytes: int) -> bytes:
    """All bytes before the ``media_bytes`` of content of ``mdat``."""
    ftyp = _box(b"ftyp", b"isom\0\0\2\0isomiso2mp41")
    mdat = struct.pack(">I4sQ", 1, b"mdat", 16 + media_bytes)
    length = len(ftyp) + len(_moov(tracks, 0)) + len(mdat)
    return ftyp + _moov(tracks, length) + mdat


def _moov(tracks: Sequence[TrackTable], media_offset: int) -> bytes:
    duration = max(track.delay_90k + track.shown_90k for track in tracks)
    mvhd = struct.pack(">QQIQ", 0, 0, CLOCK_RATE, duration) + struct.pack(">IHHQ", 0x10000, 0x100, 0, 0)
    mvhd += _MATRIX + bytes(24) + struct.pack(">I", len(tracks) + 1)
    traks = [_trak(number, track, media_offset) for number, track in enumerate(tracks, start=1)]
    return _box(b"moov", _full(b"mvhd", mvhd, version=1), *traks)


def _trak(number: int, track: TrackTable, media_offset: int) -> bytes:
    total_90k = track.delay_90k + track.shown_90k
    tkhd = struct.pack(">QQIIQ", 0, 0, number, 0, total_90k) + bytes(8)
    tkhd += struct.pack(">hhHH", 0, 0, 0 if track.is_video else 0x100, 0) + _MATRIX
    tkhd += struct.pack(">II", track.width << 16, track.height << 16)
    edits = [(track.shown_90k, track.skip)]
    if track.delay_90k:
        edits.insert(0, (track.delay_90k, -1))
    elst = struct.pack(">I", len(edits)) + b"".join(struct.pack(">QqI", *edit, 0x10000) for edit in edits)
    mdhd = struct.pack(">QQIQHH", 0, 0, track.timescale, track.media_duration, _UNDETERMINED, 0)
    kind, name = (b"vide", b"video\0") if track.is_video else (b"soun", b"audio\0")
    hdlr = struct.pack(">I4s12x", 0, kind) + name
    media_header = _full(b"vmhd", bytes(8), flags=1) if track.is_video else _full(b"smhd", bytes(4))
    dinf = _box(b"dinf", _full(b"dref", struct.pack(">I", 1) + _full(b"url ", b"", flags=1)))
    return _box(
        b"trak",
        _full(b"tkhd", tkhd, version=1, flags=3),
        _box(b"edts", _full(b"elst", elst, version=1)),
        _box(
            b"mdia",
            _full(b"mdhd", mdhd, version=1),
            _full(b"hdlr", hdlr),
            _box(b"minf", media_header, dinf, _stbl(track, media_offset)),
        ),
    )


def _stbl(track: TrackTable, media_offset: int) -> bytes:
    boxes = [
        _full(b"stsd", struct.pack(">I", len(track.descriptions)) + b"".join(track.descriptions)),
        _full(b"stts", _runs(track.durations, "I")),
    ]
    if any(track.composition):
        boxes.append(_full(b"ctts", _runs(track.composition, "i"), version=1))
    if track.is_video:
        boxes.append(_full(b"stss", struct.pack(">I", len(track.sync)) + _big_endian(track.sync)))
    boxes.append(_full(b"stsz", struct.pack(">II", 0, len(track.sizes)) + _big_endian(track.sizes)))
    shapes: list[bytes] = []
    last: tuple[int, int] | None = None
    for number, chunk in enumerate(track.chunks, start=1):
        if (chunk.samples, chunk.description) != last:
            last = chunk.samples, chunk.description
            shapes.append(struct.pack(">III", number, *last))
    boxes.append(_full(b"stsc", struct.pack(">I", len(shapes)) + b"".join(shapes)))
    offsets = array("Q", (media_offset + chunk.offset for chunk in track.chunks))
    boxes.append(_full(b"co64", struct.pack(">I", len(offsets)) + _big_endian(offsets)))
    return _box(b"stbl", *boxes)


def _runs(values: Iterable[int], kind: str) -> bytes:
    """Run-length coding of ``stts`` and ``ctts``."""
    runs = [(sum(1 for _ in group), value) for value, group in groupby(values)]
    return struct.pack(">I", len(runs)) + b"".join(struct.pack(f">I{kind}", *run) for run in runs)


def _big_endian(values: "array[int]") -> bytes:
    if sys.byteorder == "big":
        return values.tobytes()
    swapped = array(values.typecode, values)
    swapped.byteswap()
    return swapped.tobytes()


def _box(kind: bytes, *contents: bytes) -> bytes:
    size = 8 + sum(len(content) for content in contents)
    return struct.pack(">I4s", size, kind) + b"".join(contents)


def _full(kind: bytes, content: bytes, *, version: int = 0, flags: int = 0) -> bytes:
    """A box with version and flags (§4.2)."""
    return _box(kind, struct.pack(">I", version << 24 | flags), content)
