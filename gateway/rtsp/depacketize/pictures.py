"""PictureAssembler: NAL units of H.264 or H.265 into pictures (access units), as soon as they are complete. Sans-IO.

Theory of operation. RTP tells the end of a picture by its marker bit (RFC 6184 §5.1, RFC 7798 §4.1), and the bit stream
tells the beginning of the next one (H.264 §7.4.1.2.3, H.265 §7.4.2.4.4). The bit stream is always right and one picture
late; the marker is prompt, and some cameras set it on every packet, on parameter sets, or never. So the bit stream
decides what belongs together, and the marker decides only when a picture is released, once it has proved itself.

Rules:

1. A picture begins with a slice that begins one (``first_mb_in_slice`` is 0; ``first_slice_segment_in_pic_flag``), and
   with the delimiter and the parameter sets right before it. Some cameras send those before each slice or each field;
   between the slices of a picture they are left out. A slice that continues a picture belongs to it, whatever its
   timestamp says: a continuation is never dropped for its time. Where its header says that it belongs to another
   picture, or after a loss, another timestamp is a boundary as well: cameras lose slices themselves, without a gap in
   the sequence numbers.
2. A picture's time is that of its first slice. Parameter sets with the time of the picture before them are common.
3. SEI after the slices belongs to the picture if the marker follows it at the same time, and to the next one otherwise.
4. Markers are trusted after :data:`TRIAL` pictures that ended exactly where their marker was, and never again after one
   that did not. A marker without a slice before it means nothing. Where nothing follows a marker for a while, it is
   trusted before that: a camera may send a picture a minute. If markers were wrong, the picture has as many slices as
   the one before.
5. Two fields of one frame (``field_pic_flag``, opposite parity, equal ``frame_num``) are one picture: MP4 knows frames
   alone. Two whole pictures with the same timestamp stay two.
6. A keyframe is a random access picture (IDR, IRAP). A recovery point (H.264 §D.2.8) is one where there has been no
   random access picture, or where :data:`RECOVERY_POINTS` have come since the last: such a camera sends no other.
7. Some cameras send parameter sets after the slices of the random access picture that they belong to. Where one comes
   without any, and none are known, or the ones before it did so, it waits for the next picture. Sets between the two
   are its own, unless the next one is a random access picture as well.
8. A picture larger than :data:`PICTURE_MAX_BYTES` is dropped, and so is one with a hole in it; the next one says so in
   ``follows_loss``. So does one that refers to pictures which never came. The parameter sets of a picture with a hole
   go to the next keyframe, if that has none.
"""

import re
from dataclasses import dataclass, field

from gateway.codec.annexb import START_CODE, start_code_bytes
from gateway.rtsp.depacketize import Frame
from gateway.rtsp.depacketize.syntax import FIRST_SLICE, MESSAGE, PREFIX, SLICE, UNUSED, Nal, Syntax

TRIAL = 3
"""Pictures whose marker was right before markers are trusted: a camera's habit shows in its first pictures."""

PICTURE_MAX_BYTES = 16 * 1024 * 1024
"""Ten times a keyframe in 4K."""

SETS_MAX = 256
"""Parameter sets of one picture that are kept: more cannot be named (H.264 §7.4.2.2)."""

SET_MAX_BYTES = 4096
"""Four times what a set with all that it may say takes; what is larger is none."""

RECOVERY_POINTS = 2
"""Recovery points since the last IDR after which they count as keyframes, rule 6."""

# As in gateway.codec.annexb, an expression finds it in a third of the time.
_EMULATED = re.compile(rb"\x00\x00\x01")


@dataclass(slots=True)
class _Picture:
    data: bytearray = field(default_factory=bytearray)
    timestamp: int | None = None
    first_slice: bytes = b""
    slices_at: int = 0
    """Where its first slice begins, with the start code."""
    sets: list[bytes] = field(default_factory=list)
    """The parameter sets before its slices."""
    slices: int = 0
    has_slices: bool = False
    is_random_access: bool = False
    has_recovery_point: bool = False
    field: tuple[int, bool] | None = None
    has_both_fields: bool = False
    is_intra: bool = True
    is_damaged: bool = False
    is_marked: bool = False
    after_marker: bool = False
    """A slice came after the marker: the marker was wrong."""


class PictureAssembler:
    """One video track's pictures; see the module's rules."""

    def __init__(self, syntax: Syntax, *, has_sets: bool = False) -> None:
        """``has_sets``: parameter sets are known beforehand."""
        self._syntax = syntax
        self._has_sets = has_sets
        self._do_sets_follow = False
        """Whether the newest random access picture had its sets after it: rule 7."""
        self._is_without_sets = False
        """Whether the newest picture was one of random access without sets."""
        self._picture = _Picture()
        self._trailing = bytearray()
        self._trailing_time: int | None = None
        self._trailing_recovery = False
        self._has_prefix = False
        """Whether what trails has a unit that cannot belong to the picture before it."""
        self._trailing_sets: list[bytes] = []
        """The parameter sets in what trails."""
        self._kept_sets: list[bytes] = []
        """Those of a picture that was dropped: they may come only once."""
        self._open_unit: int | None = None
        self._open_time = 0
        self._into_trailing = False
        self._skips_unit = False
        self._right_markers = 0
        self._follows_loss = False
        self._lost_since_unit = False
        self._has_random_access = False
        self._recovery_points = 0
        self._wrong_markers = 0
        self._released: bytes | None = None
        """The first slice of the newest picture that was released."""
        self._released_slices = 0
        self.damaged = 0
        """Pictures that were dropped for a hole in them, or for their size."""

    @property
    def is_prompt(self) -> bool:
        """Whether pictures are released by their marker."""
        return self._right_markers >= TRIAL and self._wrong_markers == 0

    def lose(self) -> list[Frame]:
        """Packets are missing here: a picture that has not reached its marker has a hole."""
        self._lost_since_unit = True
        frames: list[Frame] = []
        if self._picture.is_marked and self._open_unit is None:
            frames = self._release()
        elif self._picture.data:
            self._picture.is_damaged = True
        self._open_unit = None
        self._skips_unit = True
        # Whatever was lost may have been a whole picture.
        self._follows_loss = True
        return frames

    def unit(self, data: bytes | memoryview, timestamp: int) -> list[Frame]:
        """Take a whole NAL unit."""
        return self.begin_unit(data, timestamp) + self.end_unit()

    def begin_unit(self, start: bytes | memoryview, timestamp: int) -> list[Frame]:
        """Take the first bytes of a NAL unit, its header included; :meth:`add` and :meth:`end_unit` follow."""
        if len(start) > 2 and start[0] == 0 == start[1]:
            start = start[start_code_bytes(start) :]
        head = bytes(start[:64])
        nal = self._syntax.read(head)
        frames: list[Frame] = []
        self._skips_unit = nal.kind is UNUSED
        if self._skips_unit:
            return frames
        picture = self._picture
        if picture.has_slices and self._begins_picture(nal, head, timestamp):
            if not nal.is_random_access:
                self._adopt_sets(picture)
            frames = self._release()
            picture = self._picture
        self._lost_since_unit = False
        is_slice = nal.kind in (FIRST_SLICE, SLICE)
        if is_slice and not picture.has_slices:
            picture.slices_at = len(picture.data)
        self._into_trailing = picture.has_slices and (nal.kind is MESSAGE or nal.kind is PREFIX)
        if self._into_trailing:
            self._trailing_time = timestamp
            self._trailing_recovery |= nal.has_recovery_point
            self._has_prefix |= nal.kind is PREFIX
        elif self._trailing and is_slice:
            # A slice that continues the picture: what seemed to trail it is in its middle.
            if not self._has_prefix:
                picture.data += self._trailing
            self._trailing.clear()
            self._has_prefix, self._trailing_sets = False, []
        if is_slice:
            self._note_slice(picture, nal, head, timestamp)
        elif nal.has_recovery_point and not self._into_trailing:
            picture.has_recovery_point = True
        target = self._trailing if self._into_trailing else picture.data
        if len(target) + len(START_CODE) + len(start) > PICTURE_MAX_BYTES:
            self._drop_oversized()
            return frames
        target += START_CODE
        self._open_unit = len(target)
        self._open_time = timestamp
        target += start
        return frames

    def add(self, more: bytes | memoryview) -> None:
        """Take more bytes of the NAL unit that was begun."""
        if self._skips_unit or self._open_unit is None:
            return
        target = self._trailing if self._into_trailing else self._picture.data
        if len(target) + len(more) > PICTURE_MAX_BYTES:
            self._drop_oversized()
            return
        target += more

    def end_unit(self) -> list[Frame]:
        """The NAL unit that was begun is complete."""
        start, self._open_unit = self._open_unit, None
        if start is None:
            return []
        data = self._trailing if self._into_trailing else self._picture.data
        found = _EMULATED.search(data, start)
        more: list[bytes] = []
        if found is not None:
            # No NAL unit contains this (H.264 §7.4.1): there are several, with the start codes of Annex B between them.
            following = found.start()
            more = re.split(rb"\x00\x00+\x01", bytes(data[following:]))[1:]
            del data[following:]
        if self._syntax.is_parameter_set(bytes(data[start : start + 2])):
            unit = bytes(data[start:])
            self._syntax.learn(unit)
            self._has_sets = True
            sets = self._trailing_sets if self._into_trailing else self._picture.sets
            if len(sets) < SETS_MAX and len(unit) <= SET_MAX_BYTES:
                sets.append(unit)
        return [frame for unit in more for frame in self.unit(unit, self._open_time)]

    def mark(self, timestamp: int) -> list[Frame]:
        """The marker was set on the packet that has just been taken."""
        picture = self._picture
        if not picture.has_slices or self._open_unit is not None or self._has_prefix:
            return []
        if self._trailing and self._trailing_time == timestamp == picture.timestamp:
            picture.data += self._trailing
            self._trailing.clear()
        if picture.field is not None and not picture.has_both_fields:
            return []
        picture.is_marked = True
        return self._release(by_marker=True) if self.is_prompt and not self._awaits_sets(picture) else []

    def release_marked(self) -> list[Frame]:
        """Nothing has come for a while: rule 4."""
        picture = self._picture
        if not picture.is_marked or self._open_unit is not None or self._awaits_sets(picture):
            return []
        is_whole = self._wrong_markers == 0 or picture.slices == self._released_slices
        return self._release() if is_whole else []

    def _awaits_sets(self, picture: _Picture) -> bool:
        """Rule 7."""
        is_without = picture.is_random_access and not picture.sets
        return is_without and (self._do_sets_follow or not self._has_sets)

    def _adopt_sets(self, picture: _Picture) -> None:
        """Take the parameter sets between a random access picture and one that is none for its own: rule 7."""
        sets = self._trailing_sets
        if not sets or not picture.is_random_access or picture.sets:
            return
        self._do_sets_follow = True
        self._insert_sets(picture, sets)
        units = bytes(self._trailing).split(START_CODE)[1:]
        self._trailing[:] = b"".join(START_CODE + unit for unit in units if unit not in sets)
        self._trailing_sets = []

    def _insert_sets(self, picture: _Picture, sets: list[bytes]) -> None:
        picture.data[picture.slices_at : picture.slices_at] = b"".join(START_CODE + unit for unit in sets)
        picture.sets = sets

    def flush(self) -> list[Frame]:
        """The stream has ended: release what is there."""
        return self._release() if self._picture.has_slices else []

    def _drop_oversized(self) -> None:
        """Rule 8: forget what there is of the picture, and the rest of the NAL unit."""
        self._picture.is_damaged = True
        self._picture.data = bytearray()
        self._trailing = bytearray()
        self._open_unit = None
        self._skips_unit = True

    def _begins_picture(self, nal: Nal, head: bytes, timestamp: int) -> bool:
        if nal.kind is FIRST_SLICE:
            return not self._is_second_field(nal)
        # Rule 1: after a loss the first slices of a picture may be among what is missing.
        if nal.kind is not SLICE or timestamp == self._picture.timestamp:
            return False
        first = self._picture.first_slice
        if self._lost_since_unit:
            return True
        if self._has_prefix:
            return not self._syntax.is_surely_same_picture(first, head)
        return not self._syntax.is_same_picture(first, head)

    def _is_second_field(self, nal: Nal) -> bool:
        first = self._picture.field
        return (
            first is not None
            and nal.field is not None
            and not self._picture.has_both_fields
            and first[0] == nal.field[0]
            and first[1] != nal.field[1]
        )

    def _note_slice(self, picture: _Picture, nal: Nal, head: bytes, timestamp: int) -> None:
        if not picture.has_slices:
            if nal.is_random_access:
                self._do_sets_follow &= not picture.sets
            elif self._is_without_sets and picture.sets:
                self._do_sets_follow = True
            self._is_without_sets = nal.is_random_access and not picture.sets
            picture.timestamp = timestamp
            picture.first_slice = head
            picture.field = nal.field
            if nal.kind is SLICE:
                # The first slice is missing: it was lost, or released too early.
                picture.is_damaged = True
                was_released = self._released is not None and self._syntax.is_same_picture(self._released, head)
                self._wrong_markers += self.is_prompt and not self._follows_loss and was_released
        elif nal.kind is FIRST_SLICE and self._is_second_field(nal):
            picture.has_both_fields = True
            picture.is_marked = False
        elif picture.is_marked:
            picture.is_marked = False
            picture.after_marker = True
        picture.has_slices = True
        picture.slices += 1
        picture.is_random_access |= nal.is_random_access
        # It is only asked of streams without random access, and costs a little.
        picture.is_intra &= nal.is_random_access or (not self._has_random_access and self._syntax.is_intra(head))

    def _release(self, *, by_marker: bool = False) -> list[Frame]:
        picture, self._picture = self._picture, _Picture()
        if not by_marker:
            if picture.after_marker:
                self._wrong_markers += 1
            elif picture.is_marked:
                self._right_markers += 1
        if self._trailing:
            # Rule 3: it belongs to the picture that comes.
            self._picture.data += self._trailing
            self._picture.has_recovery_point = self._trailing_recovery
            self._picture.sets = self._trailing_sets
            self._trailing.clear()
        self._has_prefix, self._trailing_sets = False, []
        self._trailing_recovery = False
        if picture.is_damaged or picture.timestamp is None:
            self.damaged += 1
            self._kept_sets = picture.sets or self._kept_sets
            self._follows_loss = True
            return []
        self._released, self._released_slices = picture.first_slice, picture.slices
        follows_loss, self._follows_loss = self._follows_loss, False
        follows_loss |= not self._syntax.has_references(picture.first_slice)
        is_keyframe = picture.is_random_access or self._counts_as_keyframe(picture)
        if is_keyframe:
            if self._kept_sets and not picture.sets:
                self._insert_sets(picture, self._kept_sets)
            self._kept_sets = []
        if picture.is_random_access:
            self._has_random_access = True
            self._recovery_points = 0
        return [
            Frame(
                data=bytes(picture.data),
                timestamp=picture.timestamp,
                is_keyframe=is_keyframe,
                follows_loss=follows_loss,
                is_intra=picture.is_intra,
            )
        ]

    def _counts_as_keyframe(self, picture: _Picture) -> bool:
        if not picture.has_recovery_point:
            return False
        self._recovery_points += 1
        return not self._has_random_access or self._recovery_points >= RECOVERY_POINTS
