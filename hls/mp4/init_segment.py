"""Write, compare and restore init segments (``ftyp`` and ``moov``) of our recordings.

The bytes before ``moov`` change when a file is closed; see :mod:`hls.archive.scan`.
"""

import hashlib
from dataclasses import dataclass

from hls.mp4.boxes import BOX_HEADER, Box, box, find_box, full_box, parse_boxes
from hls.mp4.fragments import AUDIO_TRACK_ID

_LARGE_SIZE_BYTES = 16
"""Header of a box with a 64-bit size (ISO/IEC 14496-12 §4.2)."""


SOUND_ROOM_BYTES = 1024
"""Two and a half times what a track of AAC takes."""


def recording_init(init: bytes, comment: str, length: int | None = None) -> bytes | None:
    """The init segment of a growing recording: ``init`` with room for an envelope and for another track, and with a
    tag. ``length``: what it has to be, in bytes; ``None`` where that is not enough."""
    ftyp, moov = find_box(init, b"ftyp"), find_box(init, b"moov")
    assert ftyp is not None
    assert moov is not None
    kind = init[ftyp.offset : ftyp.end]
    head = kind + box(b"free") + box(b"free", kind)
    content = init[moov.content : moov.end] + comment_tag(comment)
    room = SOUND_ROOM_BYTES if length is None else length - len(head) - len(content) - 2 * BOX_HEADER.size
    return head + box(b"moov", content, box(b"free", bytes(room))) if room >= 0 else None


def closed_head(head: bytes, end: int) -> bytes:
    """The bytes before ``moov`` of a closed recording whose fragments end at ``end``: ``mdat`` around all of it."""
    ftyp_size = int.from_bytes(head[:4], "big")
    size = end - ftyp_size
    if size - 8 < 2**32:
        envelope = box(b"free") + BOX_HEADER.pack(size - 8, b"mdat")
    else:
        envelope = BOX_HEADER.pack(1, b"mdat") + size.to_bytes(8, "big")
    return head[:ftyp_size] + envelope + head[ftyp_size + _LARGE_SIZE_BYTES :]


def comment_tag(comment: str) -> bytes:
    """``udta`` with the tag that FFmpeg calls ``comment`` (QuickTime File Format, "Metadata")."""
    handler = full_box(b"hdlr", bytes(4), b"mdirappl", bytes(9))
    data = full_box(b"data", bytes(4), comment.encode(), flags=1)
    return box(b"udta", full_box(b"meta", handler, box(b"ilst", box(b"\xa9cmt", data))))


def read_comment(data: bytes) -> str | None:
    """The inverse of :func:`comment_tag`, for bytes with a ``moov``; ``None`` where there is none."""
    moov = find_box(data, b"moov")
    for udta in parse_boxes(data, moov.content, moov.end) if moov is not None else ():
        # FFmpeg may have written one too.
        meta = find_box(data[udta.offset : udta.end], b"udta", b"meta")
        if meta is None:
            continue
        # The boxes in it follow version and flags.
        tags = data[udta.offset + meta.content + 4 : udta.offset + meta.end]
        value = find_box(tags, b"ilst", b"\xa9cmt", b"data")
        if value is not None:
            return tags[value.content + 8 : value.end].decode(errors="replace")
    return None


def growing_head(head: bytes) -> bytes:
    """The bytes before ``moov`` as they were while the file grew, for either shape of ``head``.

    That is ``ftyp``, an empty ``free`` reserved for a 64-bit size, and a ``free`` around a copy of ``ftyp``.
    """
    ftyp_size = int.from_bytes(head[:4], "big")
    if head[4:8] != b"ftyp" or not 8 <= ftyp_size <= len(head) - 16:
        return head
    rest = len(head) - ftyp_size - 8
    return (
        head[:ftyp_size]
        + BOX_HEADER.pack(8, b"free")
        + BOX_HEADER.pack(rest, b"free")
        + head[ftyp_size + _LARGE_SIZE_BYTES :]
    )


def shared_init(init: bytes) -> bytes:
    """An init segment without the data of its own file, so that it is equal for all files with the same tracks."""
    ftyp, moov = find_box(init, b"ftyp"), find_box(init, b"moov")
    if ftyp is None or moov is None:
        return init
    boxes = parse_boxes(init, moov.content, moov.end)
    content = b"".join(init[box.offset : box.end] for box in boxes if box.kind in (b"mvhd", b"trak", b"mvex"))
    return init[ftyp.offset : ftyp.end] + BOX_HEADER.pack(8 + len(content), b"moov") + content


def init_id(init: bytes) -> str:
    """A name for :func:`shared_init`: its hash and its length in hexadecimal."""
    shared = shared_init(init)
    return f"{hashlib.sha256(shared).hexdigest()[:16]}-{len(shared):x}"


@dataclass(frozen=True, slots=True)
class InitTrack:
    """A track of an init segment: its sample description (an entry of ``stsd``) and its time scale."""

    entry: bytes
    timescale: int


def read_tracks(init: bytes) -> dict[int, InitTrack]:
    """The tracks of an init segment, by track id. One that lacks a box is left out."""
    tracks: dict[int, InitTrack] = {}
    moov = find_box(init, b"moov")
    for trak in parse_boxes(init, moov.content, moov.end) if moov else ():
        if trak.kind != b"trak":
            continue
        data = init[trak.offset : trak.end]
        tkhd, mdhd = find_box(data, b"trak", b"tkhd"), find_box(data, b"trak", b"mdia", b"mdhd")
        stsd = find_box(data, b"trak", b"mdia", b"minf", b"stbl", b"stsd")
        if tkhd is None or mdhd is None or stsd is None:
            continue
        # The field follows two times of 64 bits in version 1, and of 32 bits in version 0.
        track_id, timescale = _after_times(data, tkhd.content), _after_times(data, mdhd.content)
        entry_size = int.from_bytes(data[stsd.content + 8 : stsd.content + 12], "big")
        tracks[track_id] = InitTrack(data[stsd.content + 8 : stsd.content + 8 + entry_size], timescale)
    return tracks


def _after_times(data: bytes, content: int) -> int:
    at = content + 4 + (16 if data[content] == 1 else 8)
    return int.from_bytes(data[at : at + 4], "big")


def video_init(init: bytes) -> bytes:
    """An init segment (``ftyp`` and ``moov``) without its track of sound: for media that have none."""
    moov = find_box(init, b"moov")
    if moov is None:
        return init
    kept = b""
    for child in parse_boxes(init, moov.content, moov.end):
        if child.kind == b"mvex":
            extends = [each for each in parse_boxes(init, child.content, child.end) if not _is_of_sound(init, each)]
            kept += box(b"mvex", *(init[each.offset : each.end] for each in extends))
        elif not _is_of_sound(init, child):
            kept += init[child.offset : child.end]
    return init[: moov.offset] + box(b"moov", kept) + init[moov.end :]


def _is_of_sound(init: bytes, of: Box) -> bool:
    """Whether a ``trak`` or ``trex`` is that of the sound (ISO/IEC 14496-12 §8.3.2, §8.8.3)."""
    if of.kind == b"trex":
        at = of.content + 4
    elif of.kind == b"trak":
        tkhd = next((each for each in parse_boxes(init, of.content, of.end) if each.kind == b"tkhd"), None)
        if tkhd is None:
            return False
        # track_ID follows version, flags and two times of 32 bits, or of 64 with version 1.
        at = tkhd.content + (20 if init[tkhd.content] == 1 else 12)
    else:
        return False
    return int.from_bytes(init[at : at + 4], "big") == AUDIO_TRACK_ID
