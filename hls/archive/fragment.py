"""Fragment: a ``moof`` and its ``mdat``, the smallest unit of a recording that is on disk as a whole."""

import struct
from dataclasses import dataclass, replace

from hls.mp4.moof import FragmentBoxes


@dataclass(frozen=True, slots=True)
class Fragment:
    """A ``moof`` and its ``mdat``: ``size`` bytes from ``offset`` of the file, ``frames`` pictures.

    ``start_90k`` is media time from the segment's first frame. ``is_keyframe``: its first frame is one.
    """

    offset: int
    size: int
    start_90k: int
    duration_90k: int
    frames: int
    is_keyframe: bool

    @property
    def end_90k(self) -> int:
        return self.start_90k + self.duration_90k


def add_fragment(fragments: list[Fragment], about: FragmentBoxes, offset: int, size: int) -> None:
    """Append a fragment, so that all are contiguous in file and time.

    The duration of a fragment's last frame is known only when the next one comes, and is guessed if the camera's run
    ended. The start of the next fragment corrects it. A fragment without video belongs to the one before it.
    """
    if fragments:
        last = fragments[-1]
        if about.frames == 0:
            fragments[-1] = replace(last, size=offset + size - last.offset)
            return
        if about.start_90k != last.end_90k:
            fragments[-1] = replace(last, duration_90k=about.start_90k - last.start_90k)
    fragments.append(Fragment(offset, size, about.start_90k, about.duration_90k, about.frames, about.is_keyframe))


# Fragments are contiguous in file and time, so sizes and durations suffice: 11 bytes each, 13 kB for 10 minutes.
_PACKED = struct.Struct("<IIHB")


def pack_fragments(fragments: tuple[Fragment, ...]) -> bytes:
    """Encode fragments for the index."""
    return b"".join(_PACKED.pack(f.size, f.duration_90k, f.frames, f.is_keyframe) for f in fragments)


def unpack_fragments(packed: bytes, init_size: int) -> tuple[Fragment, ...]:
    """Decode :func:`pack_fragments`. The first fragment begins where the init segment ends."""
    fragments = []
    offset, start_90k = init_size, 0
    for size, duration_90k, frames, is_keyframe in _PACKED.iter_unpack(packed):
        fragments.append(Fragment(offset, size, start_90k, duration_90k, frames, bool(is_keyframe)))
        offset += size
        start_90k += duration_90k
    return tuple(fragments)
