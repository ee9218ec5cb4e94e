"""What the NAL units of a codec mean for the pictures that they make.

:class:`~gateway.rtsp.depacketize.pictures.PictureAssembler` asks a :class:`Syntax` about each.
"""

from enum import Enum
from typing import NamedTuple, Protocol


class NalKind(Enum):
    """What a NAL unit means for picture boundaries."""

    FIRST_SLICE = 1
    """A slice that begins a picture."""
    SLICE = 2
    """A slice that continues one."""
    PREFIX = 3
    """Belongs to the picture after it: delimiter, parameter sets."""
    MESSAGE = 4
    """SEI before or after slices, rule 3."""
    SUFFIX = 5
    """Belongs to the picture before it: end of sequence, suffix SEI, filler."""
    UNUSED = 6
    """Not to be passed on."""


FIRST_SLICE, SLICE, PREFIX, MESSAGE, SUFFIX, UNUSED = NalKind
"""For code that runs for each NAL unit: Python 3.11 needs 0.3 µs to find a member by its name, as much as a call."""


class Nal(NamedTuple):
    """What the beginning of a NAL unit tells. ``field`` is ``(frame_num, is_bottom)`` of a field, ``None`` of a
    frame."""

    kind: NalKind
    is_random_access: bool = False
    has_recovery_point: bool = False
    field: tuple[int, bool] | None = None


class Syntax(Protocol):
    """One codec's NAL units."""

    def read(self, start: bytes) -> Nal:
        """Classify a NAL unit by its first bytes (at least its header; as much of the slice header as came)."""
        ...

    def is_intra(self, start: bytes) -> bool:
        """Whether a slice refers to no other picture, as far as is known."""
        ...

    def is_same_picture(self, first: bytes, other: bytes) -> bool:
        """Whether two slices are of one picture, as far as is known."""
        ...

    def is_surely_same_picture(self, first: bytes, other: bytes) -> bool:
        """Whether two slices are known to be of one picture, by the first bytes of each."""
        ...

    def has_references(self, first: bytes) -> bool:
        """Note a picture by its first slice; whether those that it refers to came, as far as is known."""
        ...

    def learn(self, unit: bytes) -> None:
        """Take a whole parameter set."""
        ...

    def is_parameter_set(self, start: bytes) -> bool:
        """Whether :meth:`learn` wants the unit that begins so."""
        ...
