"""Fragment: a ``moof`` and its ``mdat``, the smallest unit of a recording that is on disk as a whole."""

import struct
from dataclasses import dataclass, replace

from gateway.clock import CLOCK_RATE
from hls.mp4.moof import FragmentBoxes
from hls.parts.part import PartSamples

FRAGMENT_MAX_90K = 9 * CLOCK_RATE // 20
"""A fragment has one part, or several that are together at most so long; most have two parts of 0.2 s. A crash loses
less than 0.6 s whatever the keyframe interval: a fragment, what waits for the next reading of a camera that nobody
watches (0.1 s), and the time of writing."""


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


class FragmentBorders:
    """Which parts make a fragment of a recording: a function of the parts alone.

    A fragment begins with each part that begins with a keyframe. It ends where another part as long as the last one
    would make it longer than :data:`FRAGMENT_MAX_90K`.
    """

    def __init__(self) -> None:
        self._duration_90k = 0

    def is_complete(self, part: PartSamples) -> bool:
        """Whether the fragment ends with this part, which is the next one."""
        if part.is_keyframe:
            self._duration_90k = 0
        duration_90k = part.end_90k - part.dts_90k
        self._duration_90k += duration_90k
        if self._duration_90k + duration_90k <= FRAGMENT_MAX_90K:
            return False
        self._duration_90k = 0
        return True


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
