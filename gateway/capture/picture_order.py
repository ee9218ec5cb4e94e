"""PictureOrder: the order in which pictures are shown, by the order count that is in their slices. Sans-IO.

Theory of operation. Where pictures are reordered, RTP has the time at which each is shown (RFC 6184 §5.1). Some cameras
stamp them as they send them: every time is after the one before. Decoders still show them in the right order
(H.264 §8.2.1, H.265 §8.3.1), but at each other's times. The order count says by how many places a picture moves.

Rules:

1. Where the order count steps back, the time should, too. :data:`EVIDENCE` pictures in a row whose time does not show
   that times are those of decoding; each whose time does shows that they are not.
2. Counts are compared from keyframe to keyframe. Their unit is their greatest common divisor.
3. Times that run :data:`GROSS` times too fast or too slow, in two periods of :data:`PERIOD_S` that follow each other,
   say nothing: reordered as they are, they cannot be corrected one by one (:mod:`gateway.capture.clock_drift`).
4. H.264 of another order type than 0 has no order here.
"""

import math
from contextlib import suppress
from fractions import Fraction

from gateway.codec import h265_slices
from gateway.codec.bits import BitReader, BitstreamError
from gateway.codec.h264 import is_b_slice
from gateway.codec.h265_slices import SlicePps, SliceSps
from gateway.codec.parameter_sets import ParameterSets, first_slice
from gateway.codec.sps import Sps

EVIDENCE = 2
"""Rule 1."""

PERIOD_S = 1.0
GROSS = 4.0
"""Rule 3. A backlog, or a pause, is in one period."""

SURE = 8
"""So many times that step back with the count: the camera is healthy, and its slices are read no more."""


class PictureOrder:
    """One stream's pictures; see the module."""

    def __init__(self, codec: str, sets: ParameterSets, sps: Sps) -> None:
        self.is_by_decoding = False
        """Whether times are those of decoding."""
        self.is_untimed = False
        """Whether times say nothing: rule 3."""
        self.has_reordered = False
        """Whether a picture was shown before one that was decoded earlier."""
        self.is_healthy = False
        """Whether no more has to be noted: times are right."""
        self._codec = codec
        self._sps = sps
        self._slice_sps: dict[int, SliceSps] = {}
        self._slice_pps: dict[int, SlicePps] = {}
        if codec == "hevc":
            with suppress(BitstreamError):
                self._slice_sps = dict(map(h265_slices.parse_slice_sps, sets.sps))
                self._slice_pps = dict(map(h265_slices.parse_slice_pps, sets.pps))
        self._unit = 0
        self._first = self._newest = 0
        """Counts of the keyframe, and of the picture that is shown last."""
        self._newest_pts = 0
        self._pictures: int | None = None
        """Since the keyframe; ``None`` where its count is not known."""
        self._distance = self._longest_distance = self._since_anchor = 0
        """Of the newest anchor from the one before, the longest of those that were complete, and the pictures since."""
        self._evidence = self._steps_back = 0
        self._period: tuple[float, float] | None = None
        """Arrival and time of the first picture of this period, in seconds."""
        self._right_periods = self._fast_periods = self._slow_periods = 0
        """In a row."""

    def note(self, data: bytes, pts: int | None, time_base: Fraction, now_s: float, *, is_keyframe: bool) -> int:
        """Take a picture; by how many places it is shown later (or earlier, below 0) than it is decoded."""
        if pts is not None:
            self._measure(float(pts * time_base), now_s)
        found = self._count(data)
        if found is None:
            self._pictures = None
            return 0
        count, modulus = found
        if is_keyframe:
            self._first = self._newest = count
            self._newest_pts, self._pictures = pts or 0, 0
            self._distance = self._since_anchor = 0
            return 0
        if self._pictures is None:
            return 0
        self._pictures += 1
        step = (count - self._newest) % modulus
        step = step if step < modulus // 2 else step - modulus
        self._unit = math.gcd(self._unit, step)
        count = self._newest + step
        if step < 0:
            self.has_reordered = True
            self._since_anchor += 1
            self._judge(pts)
            if self._is_leaf(data):
                self._pictures = max(self._pictures, (count - self._first) // self._unit + 1)
        else:
            if self._unit:
                self._pictures = max(self._pictures, self._least_pictures(data, count))
            self._newest, self._newest_pts = count, max(self._newest_pts, pts or 0)
        return (count - self._first) // (self._unit or 1) - self._pictures

    def _least_pictures(self, data: bytes, count: int) -> int:
        """How many pictures were decoded since the keyframe, this one included, that is shown last: rule 4.

        Where none was lost it is what was counted, or less.
        """
        distance = (count - self._newest) // self._unit
        after_anchor = (self._newest - self._first) // self._unit + 1
        if self._codec == "h264" and is_b_slice(first_slice("h264", data)):
            return after_anchor + 1
        if self._since_anchor == self._distance - 1:
            self._longest_distance = max(self._longest_distance, self._distance)
        self._distance, self._since_anchor = distance, 0
        missing = distance - self._longest_distance if self._longest_distance else 0
        return after_anchor + max(0, missing)

    def _is_leaf(self, data: bytes) -> bool:
        """Whether no other picture refers to this one, which is a B-frame."""
        start = first_slice(self._codec, data)
        if self._codec == "hevc":
            kind = start[0] >> 1
            return kind in h265_slices.SUB_LAYER_NON_REFERENCE
        return start[0] & 0x60 == 0

    def _judge(self, pts: int | None) -> None:
        """Rule 1."""
        if pts is not None and pts < self._newest_pts:
            self._evidence, self.is_by_decoding = 0, False
            self._steps_back += 1
            self.is_healthy = self._steps_back >= SURE and self._right_periods >= 2
            return
        self._newest_pts = max(self._newest_pts, pts or 0)
        self._evidence += 1
        self.is_by_decoding = self._evidence >= EVIDENCE

    def _measure(self, time_s: float, now_s: float) -> None:
        """Rule 3."""
        if self._period is None:
            self._period = now_s, time_s
        elapsed_s = now_s - self._period[0]
        if elapsed_s < PERIOD_S:
            return
        speed = (time_s - self._period[1]) / elapsed_s
        self._period = now_s, time_s
        self._fast_periods = self._fast_periods + 1 if speed > GROSS else 0
        self._slow_periods = self._slow_periods + 1 if abs(speed) < 1 / GROSS else 0
        self._right_periods = self._right_periods + 1 if 1 / GROSS <= speed <= GROSS else 0
        self.is_untimed |= max(self._fast_periods, self._slow_periods) >= 2

    def _count(self, data: bytes) -> tuple[int, int] | None:
        """The order count's lowest bits of a picture, and their modulus."""
        try:
            start = first_slice(self._codec, data)
            if self._codec == "hevc":
                found = h265_slices.parse_slice(start, self._slice_sps, self._slice_pps)
                return (found.order, 1 << found.order_bits) if found is not None else None
            return self._h264(start)
        except BitstreamError:
            return None

    def _h264(self, start: bytes) -> tuple[int, int] | None:
        """§7.3.3."""
        sps = self._sps
        if sps.order_bits is None or not start:
            return None
        bits = BitReader(start[1:64])
        for _ in range(3):
            bits.ue()
        bits.u(2 if sps.has_separate_planes else 0)
        bits.u(sps.frame_num_bits)
        if not sps.is_frames_only and bits.flag():
            bits.flag()
        if start[0] & 0x1F == 5:
            bits.ue()
        return bits.u(sps.order_bits), 1 << sps.order_bits
