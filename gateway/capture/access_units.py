"""AccessUnitAssembler: puts frames together from RTP payloads, and passes each on as soon as it is complete. Sans-IO.

Theory of operation. libav's own parser takes a frame for complete when the next one begins. That is one frame late: 67
ms at 15 frames a second, more than all the rest of the gateway. RTP marks the last packet of a frame (RFC 6184 §5.1,
RFC 7798 §4.1), but libav does not hand the marker bit on. So libav is asked for the payloads as they are
(``fflags=noparse``), and the end of a frame is predicted from their sizes. A packetizer fills its packets. Hence a
fragment that is shorter than the one before it is the last of its NAL unit. When there are as many slices as in the
frames before, the frame is complete.

Rules:

1. H.264 §7.4.1.2.3 and H.265 §7.4.2.4.4 say where an access unit begins. This alone decides which NAL units belong
   together.
2. A frame is passed on before the next one begins only after ``TRIAL_FRAMES`` frames in a row whose end was predicted
   correctly. A packetizer that does not fill its packets, or an encoder whose number of slices varies, never gets
   there. Its frames are as late as libav's would be.
3. After one wrong prediction there are no more in this run: that frame was passed on incomplete.
4. A keyframe has an IDR (H.265: IRAP) slice. In streams without any, a recovery point counts.
5. NAL units that belong to no frame are dropped. A frame larger than ``MAX_BYTES`` is dropped.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.capture.counters import CaptureCounters
from gateway.capture.timeline import ArrivalTime
from gateway.codec import h264
from gateway.codec.annexb import START_CODE, nal_offsets
from gateway.codec.parameter_sets import NAL_SYNTAX

TRIAL_FRAMES = 25
"""About one second. What a camera's packetizer does shows in its first keyframe and a few frames after it."""

MAX_BYTES = 16 * 1024 * 1024
"""Ten times a 4K keyframe."""

SAME_TIME_S = 0.01
"""Payloads whose times differ by less, in seconds, may be of one frame: libav corrects its clock in between."""

_RECOVERY_POINT = 6


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """A coded frame in Annex B. ``pts`` is the source's; ``arrival`` is that of its last payload."""

    data: bytes
    pts: int | None
    arrival: ArrivalTime
    is_keyframe: bool


@dataclass(slots=True)
class _PartialFrame:
    """A frame of which more may come. ``predicted_at`` is the number of payloads after which it first looked complete.

    ``is_passed_on`` is set once it was passed on by that prediction.
    """

    pts: int | None
    arrival: ArrivalTime
    payloads: list[bytes] = field(default_factory=list)
    size: int = 0
    slices: int = 0
    is_random_access: bool = False
    has_recovery_point: bool = False
    predicted_at: int | None = None
    is_passed_on: bool = False


class AccessUnitAssembler:
    """The frames of one video track."""

    def __init__(self, codec: str, time_base: float, counters: CaptureCounters | None = None) -> None:
        """``codec`` is ``h264`` or ``hevc``; ``time_base`` is a tick of the source's time in seconds."""
        self.counters = counters if counters is not None else CaptureCounters()
        """``frames_incomplete`` is counted here."""
        self._syntax = NAL_SYNTAX[codec]
        self._time_base = time_base
        self._frame: _PartialFrame | None = None
        self._has_random_access = False
        self._correct_in_a_row = 0
        self._was_wrong = False
        self._slices: dict[bool, int] = {}
        self._largest_payload = 0
        self._previous_fragment = 0

    @property
    def is_low_latency(self) -> bool:
        """Whether frames are passed on before the next one begins (rules 2 and 3)."""
        return self._correct_in_a_row >= TRIAL_FRAMES and not self._was_wrong

    def push(self, payload: bytes, pts: int | None, arrival: ArrivalTime) -> Iterator[AccessUnit]:
        """Take the next payload: NAL units with start codes, the first fragment of one, or a later one without."""
        if payload.startswith(START_CODE):
            yield from self._push_start(payload, pts, arrival)
        else:
            yield from self._push_continuation(payload, pts, arrival)

    def _push_start(self, payload: bytes, pts: int | None, arrival: ArrivalTime) -> Iterator[AccessUnit]:
        starts = list(nal_offsets(payload))
        frame = self._frame
        if frame is None or self._begins_frame(payload, starts[0], frame, pts):
            if frame is not None:
                yield from self._finish(frame)
            frame = self._frame = _PartialFrame(pts, arrival)
        for start in starts:
            self._note(payload, start, frame)
        # Of several units in one packet none is a fragment (RFC 6184 §5.7.1).
        is_complete = len(starts) > 1 or len(payload) - len(START_CODE) <= self._largest_payload
        fragment = len(payload) - len(START_CODE) - self._syntax.header_bytes
        self._previous_fragment = 0 if is_complete else fragment
        yield from self._add(payload, frame, arrival, is_complete and self._is_slice(payload, starts[-1]))

    def _push_continuation(self, payload: bytes, pts: int | None, arrival: ArrivalTime) -> Iterator[AccessUnit]:
        frame = self._frame
        if frame is None or not self._is_same_time(frame, pts):
            return
        self._largest_payload = max(self._largest_payload, len(payload))
        is_last_fragment = len(payload) < self._previous_fragment
        self._previous_fragment = len(payload)
        yield from self._add(payload, frame, arrival, is_last_fragment and frame.slices > 0)

    def _add(
        self, payload: bytes, frame: _PartialFrame, arrival: ArrivalTime, is_end_of_slice: bool
    ) -> Iterator[AccessUnit]:
        if frame.is_passed_on:
            self._was_wrong = True
            self.counters.frames_incomplete += 1
            self._frame = None
            return
        frame.payloads.append(payload)
        frame.size += len(payload)
        frame.arrival = arrival
        if frame.size > MAX_BYTES:
            self._frame = None
            return
        has_all_slices = frame.slices == self._slices.get(frame.is_random_access)
        if is_end_of_slice and has_all_slices and frame.predicted_at is None:
            frame.predicted_at = len(frame.payloads)
            if self.is_low_latency:
                frame.is_passed_on = True
                yield from self._pass_on(frame)

    def _finish(self, frame: _PartialFrame) -> Iterator[AccessUnit]:
        """The next frame has begun, so this one is complete, and it is known whether the prediction was correct."""
        if frame.slices:
            self._slices[frame.is_random_access] = frame.slices
        if frame.predicted_at == len(frame.payloads):
            self._correct_in_a_row += 1
        elif frame.predicted_at is not None:
            self._correct_in_a_row = 0
        if not frame.is_passed_on:
            yield from self._pass_on(frame)

    def _pass_on(self, frame: _PartialFrame) -> Iterator[AccessUnit]:
        if not frame.slices:
            return
        self._has_random_access |= frame.is_random_access
        is_keyframe = frame.is_random_access or (frame.has_recovery_point and not self._has_random_access)
        yield AccessUnit(b"".join(frame.payloads), frame.pts, frame.arrival, is_keyframe)

    def _begins_frame(self, payload: bytes, start: int, frame: _PartialFrame, pts: int | None) -> bool:
        nal_type = self._syntax.type_of(payload, start)
        if nal_type not in self._syntax.slices:
            return nal_type in self._syntax.delimiters and frame.slices > 0
        header = start + self._syntax.header_bytes
        # first_mb_in_slice is 0, first_slice_segment_in_pic_flag is set: both are a leading 1 bit. The second field of
        # a picture begins at 0 as well, and has the same time.
        is_first = len(payload) > header and payload[header] & 0x80 > 0
        return frame.slices > 0 and is_first and not (frame.pts is not None and frame.pts == pts)

    def _note(self, payload: bytes, start: int, frame: _PartialFrame) -> None:
        nal_type = self._syntax.type_of(payload, start)
        if nal_type in self._syntax.slices:
            frame.slices += 1
            frame.is_random_access |= nal_type in self._syntax.random_access
        elif nal_type == self._syntax.sei and self._syntax is h264.NAL:
            frame.has_recovery_point |= h264.has_sei(payload[start + 1 :], _RECOVERY_POINT)

    def _is_slice(self, payload: bytes, start: int) -> bool:
        return self._syntax.type_of(payload, start) in self._syntax.slices

    def _is_same_time(self, frame: _PartialFrame, pts: int | None) -> bool:
        if frame.pts is None or pts is None:
            return True
        return abs(pts - frame.pts) * self._time_base < SAME_TIME_S
