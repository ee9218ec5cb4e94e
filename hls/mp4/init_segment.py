"""Compare and restore init segments (``ftyp`` and ``moov``) of our recordings.

FFmpeg's ``hybrid_fragmented`` changes the bytes before ``moov`` when it closes a file; see :mod:`hls.archive.scan`.
"""

import hashlib

from hls.mp4.boxes import BOX_HEADER, find_box, parse_boxes


def growing_head(head: bytes) -> bytes:
    """The bytes before ``moov`` as they were while the file grew, for either shape of ``head``.

    That is ``ftyp``, an empty ``free`` reserved for a 64-bit size, and a ``free`` around a copy of ``ftyp``.
    """
    ftyp_size = int.from_bytes(head[:4], "big")
    if head[4:8] != b"ftyp" or not 8 <= ftyp_size <= len(head) - 16:
        return head
    rest = len(head) - ftyp_size - 8
    return head[:ftyp_size] + BOX_HEADER.pack(8, b"free") + BOX_HEADER.pack(rest, b"free") + head[ftyp_size + 16 :]


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
