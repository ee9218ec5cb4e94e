"""AccessUnits: pictures put together from the pieces of RTP, and let go as soon as they are whole. Sans-IO.

Theory of operation. libav's own parser takes a picture for whole when the next one begins, and so is a frame late: 67
ms at 15 frames a second, more than all the rest of the gateway. RTP marks the last packet of a picture (RFC 6184 §5.1,
RFC 7798 §4.1), but libav keeps the mark to itself. So libav is asked for the pieces (``fflags=noparse``), and their
sizes are looked at: a packetiser fills its packets, hence a fragment that is shorter than the one before it is the
last of its NAL unit, and with as many slices as the pictures before had, the picture is whole.

Rules:

1. A picture begins as H.264 §7.4.1.2.3 and H.265 §7.4.2.4.4 say; this alone decides what belongs together.
2. Guessing is earned: only after ``TRIAL`` pictures in a row, of which none would have been let go too early, is a
   picture let go before the next one begins. A packetiser that does not fill its packets, or an encoder whose slices
   vary, never passes, and its pictures are as late as libav's would be.
3. One guess too early, and there are no more guesses in this run: a picture was damaged, and that is enough.
4. A keyframe holds an IDR (H.265: IRAP) picture; where there never are any, a recovery point counts.
5. What belongs to no picture is dropped; a picture larger than ``MAX_BYTES`` is no picture.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.capture.timeline import Arrival
from gateway.codec import h264
from gateway.codec.annexb import START_CODE, nal_offsets
from gateway.codec.parameter_sets import NAL_SYNTAX

TRIAL = 25
"""Pictures, about a second's: a camera's habits show in its first keyframe and a few pictures after it."""

MAX_BYTES = 16 * 1024 * 1024
"""A picture of 16 MB is ten times a 4K keyframe."""

SAME_TIME_S = 0.01
"""Pieces whose times differ by less, in seconds, may be of one picture: libav corrects its clock between two of
them."""

_RECOVERY_POINT = 6


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """A coded picture in Annex B. ``pts`` is the source's; ``arrival`` that of its last piece."""

    data: bytes
    pts: int | None
    arrival: Arrival
    is_keyframe: bool


@dataclass(slots=True)
class _Picture:
    """A picture in the making. ``guessed_at`` is after how many pieces it looked whole for the first time."""

    pts: int | None
    arrival: Arrival
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0
    slices: int = 0
    is_random_access: bool = False
    has_recovery_point: bool = False
    guessed_at: int | None = None
    is_gone: bool = False


class AccessUnits:
    """One video track's pictures."""

    def __init__(self, codec: str, time_base: float) -> None:
        """``codec`` is ``h264`` or ``hevc``; ``time_base`` is a tick of the source's time in seconds."""
        self.guessed_wrong = 0
        """Pictures let go too early: 0 or 1, by rule 3."""
        self._syntax = NAL_SYNTAX[codec]
        self._time_base = time_base
        self._picture: _Picture | None = None
        self._has_random_access = False
        self._right_in_a_row = 0
        self._slices: dict[bool, int] = {}
        self._full = 0
        self._before = 0

    @property
    def is_trusted(self) -> bool:
        """Whether pictures are let go as soon as they look whole."""
        return self._right_in_a_row >= TRIAL and not self.guessed_wrong

    def push(self, piece: bytes, pts: int | None, arrival: Arrival) -> Iterator[AccessUnit]:
        """Take the next piece: NAL units with start codes, the first fragment of one, or a later fragment without."""
        if piece.startswith(START_CODE):
            yield from self._push_start(piece, pts, arrival)
        else:
            yield from self._push_continuation(piece, pts, arrival)

    def _push_start(self, piece: bytes, pts: int | None, arrival: Arrival) -> Iterator[AccessUnit]:
        starts = list(nal_offsets(piece))
        picture = self._picture
        if picture is None or self._begins_picture(piece, starts[0], picture, pts):
            if picture is not None:
                yield from self._finish(picture)
            picture = self._picture = _Picture(pts, arrival)
        for start in starts:
            self._note(piece, start, picture)
        # Of several units in one packet none is a fragment (RFC 6184 §5.7.1).
        is_whole = len(starts) > 1 or len(piece) - len(START_CODE) <= self._full
        self._before = 0 if is_whole else len(piece) - len(START_CODE) - self._syntax.header_bytes
        yield from self._add(piece, picture, arrival, is_whole and self._is_slice(piece, starts[-1]))

    def _push_continuation(self, piece: bytes, pts: int | None, arrival: Arrival) -> Iterator[AccessUnit]:
        picture = self._picture
        if picture is None or not self._is_same_time(picture, pts):
            return
        self._full = max(self._full, len(piece))
        is_whole = len(piece) < self._before
        self._before = len(piece)
        yield from self._add(piece, picture, arrival, is_whole and picture.slices > 0)

    def _add(self, piece: bytes, picture: _Picture, arrival: Arrival, is_whole_slice: bool) -> Iterator[AccessUnit]:
        if picture.is_gone:
            self.guessed_wrong += 1
            self._picture = None
            return
        picture.pieces.append(piece)
        picture.size += len(piece)
        picture.arrival = arrival
        if picture.size > MAX_BYTES:
            self._picture = None
            return
        has_all_slices = picture.slices == self._slices.get(picture.is_random_access)
        if is_whole_slice and has_all_slices and picture.guessed_at is None:
            picture.guessed_at = len(picture.pieces)
            if self.is_trusted:
                picture.is_gone = True
                yield from self._let_go(picture)

    def _finish(self, picture: _Picture) -> Iterator[AccessUnit]:
        """The next picture has begun: this one is whole for certain, and what was guessed is seen to be right or
        not."""
        if picture.slices:
            self._slices[picture.is_random_access] = picture.slices
        if picture.guessed_at == len(picture.pieces):
            self._right_in_a_row += 1
        elif picture.guessed_at is not None:
            self._right_in_a_row = 0
        if not picture.is_gone:
            yield from self._let_go(picture)

    def _let_go(self, picture: _Picture) -> Iterator[AccessUnit]:
        if not picture.slices:
            return
        self._has_random_access |= picture.is_random_access
        is_keyframe = picture.is_random_access or (picture.has_recovery_point and not self._has_random_access)
        yield AccessUnit(b"".join(picture.pieces), picture.pts, picture.arrival, is_keyframe)

    def _begins_picture(self, piece: bytes, start: int, picture: _Picture, pts: int | None) -> bool:
        kind = self._syntax.type_of(piece, start)
        if kind not in self._syntax.slices:
            return kind in self._syntax.delimiters and picture.slices > 0
        header = start + self._syntax.header_bytes
        # first_mb_in_slice is 0, first_slice_segment_in_pic_flag is set: both are a leading 1 bit. The second field of
        # a picture begins at 0 as well, and at the same time.
        is_first = len(piece) > header and piece[header] & 0x80 > 0
        return picture.slices > 0 and is_first and not (picture.pts is not None and picture.pts == pts)

    def _note(self, piece: bytes, start: int, picture: _Picture) -> None:
        kind = self._syntax.type_of(piece, start)
        if kind in self._syntax.slices:
            picture.slices += 1
            picture.is_random_access |= kind in self._syntax.random_access
        elif kind == self._syntax.sei and self._syntax is h264.NAL:
            picture.has_recovery_point |= h264.has_sei(piece[start + 1 :], _RECOVERY_POINT)

    def _is_slice(self, piece: bytes, start: int) -> bool:
        return self._syntax.type_of(piece, start) in self._syntax.slices

    def _is_same_time(self, picture: _Picture, pts: int | None) -> bool:
        if picture.pts is None or pts is None:
            return True
        return abs(pts - picture.pts) * self._time_base < SAME_TIME_S
