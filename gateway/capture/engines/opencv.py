"""OpenCVCaptureEngine: cameras through ``cv2.VideoCapture``, decoded, and made H.264 again.

Theory of operation. This engine is for cameras that send neither H.264 nor H.265, and for programs that change the
frames. A thread reads frames as fast as they come and keeps the newest; the generator encodes them. That costs decoding
and encoding, and there is no audio. Use engine ``pyav`` where libav can pass a camera's packets on.

Rules:

1. ``buffer_size`` decoded frames may wait (``CAPTURE_BUFFER_SIZE``; OpenCV's FFmpeg backend has no such setting). When
   the encoder is slower than the camera, the oldest is dropped and counted.
2. A frame that cannot be read is logged, counted and skipped. ``MAX_UNREADABLE_IN_A_ROW`` of them end the run.
3. OpenCV connects to a relay of ours (:class:`~gateway.capture.libav_rtsp.RtspInput`), which connects to the camera as
   every other engine does: addresses, certificates, redirects, credentials and bounds are checked there. It also knows
   what went wrong, which OpenCV does not say, and ends a wait of OpenCV, which cannot be interrupted.
4. ``timeout_s`` bounds the opening and each time without a frame (:class:`~gateway.capture.watch.Watch`).
5. Settings of OpenCV that hold for the whole process are made when the first engine runs, not at import.
6. Only the video of an RTSP camera is set up. libav would otherwise wait for sound that its small probe does not see.
7. At the end of the process the reading threads are joined first. One that is inside OpenCV when the interpreter ends
   would abort the process.
"""

import atexit
import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from weakref import WeakSet

import cv2
import numpy as np
from numpy.typing import NDArray

from gateway.capture.camera_errors import host_and_port
from gateway.capture.counters import CaptureCounters
from gateway.capture.engine import NO_SOURCE, CaptureEngine, CaptureSource
from gateway.capture.engines.h264_encoder import H264Encoder
from gateway.capture.libav_rtsp import RtspInput
from gateway.capture.timeline import ArrivalTime, SourceTime, Timeline
from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock
from gateway.codec.sps import MAX_FRAME_RATE
from gateway.errors import CameraEndedError, CaptureError, NoVideoError
from gateway.media import MediaKind, Packet

log = logging.getLogger(__name__)

MAX_UNREADABLE_IN_A_ROW = 10
"""Frames in a row that cannot be read end a run. OpenCV itself tries many times for each."""

GOP_S = 2.0
"""Seconds from keyframe to keyframe: new viewers see a picture soon, and it costs little."""

JOIN_S = 5.0
"""OpenCV needs some time for the end of a stream, on a busy machine."""

NO_TIMEOUT_MS = 24 * 3600 * 1000
"""In place of OpenCV's own time-outs (rule 4)."""

DEFAULT_RATE = Fraction(25)
"""Frames a second where the camera declares none."""

Image = NDArray[np.uint8]


@cache
def _set_up_opencv() -> None:
    """Rule 5. libav inside OpenCV takes its options from the environment only, and logs URLs with passwords."""
    os.environ.setdefault(
        "OPENCV_FFMPEG_CAPTURE_OPTIONS",
        "rtsp_transport;udp+tcp|rtsp_flags;prefer_tcp|allowed_media_types;video|analyzeduration;0|probesize;32",
    )
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    atexit.register(_join_readers)


_readers: "WeakSet[_Reader]" = WeakSet()
"""Those whose threads may run (rule 7)."""


def _join_readers() -> None:
    readers = tuple(_readers)
    for reader in readers:
        reader.stop()
    for reader in readers:
        reader.join()


@dataclass(frozen=True, slots=True)
class _DecodedFrame:
    """An image (BGR), its time in ms as OpenCV gives it, and its arrival."""

    image: Image
    position_ms: float
    arrival: ArrivalTime


class _Reader:
    """The thread that reads from OpenCV, and the newest frames that it has read."""

    def __init__(
        self, source: CaptureSource, opening: RtspInput, clock: Clock, stop: threading.Event, counters: CaptureCounters
    ) -> None:
        self.rate = DEFAULT_RATE
        self._source, self._input, self._clock, self._stop, self._counters = source, opening, clock, stop, counters
        self._waiting: deque[_DecodedFrame] = deque(maxlen=source.buffer_size)
        self._changed = threading.Condition()
        self._ended: CaptureError | None = None
        self._thread = threading.Thread(target=self._run, name=f"opencv-{source.camera_id}", daemon=True)

    def start(self) -> None:
        _readers.add(self)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end (rule 3)."""
        self._stop.set()
        self._input.interrupt()
        with self._changed:
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join(JOIN_S)

    def take(self) -> _DecodedFrame | None:
        """The oldest waiting frame, or the next one; ``None`` after a stop. Raises the error that ended the reading."""
        with self._changed:
            while not self._waiting and not self._stop.is_set():
                if self._ended is not None:
                    raise self._ended
                self._changed.wait()
            return None if self._stop.is_set() else self._waiting.popleft()

    def _run(self) -> None:
        try:
            ended = self._read()
        except CaptureError as error:
            ended = error
        except cv2.error as error:
            ended = CaptureError(f"OpenCV failed: {error.err or 'it gives no reason'}")
        finally:
            self._input.close()
        with self._changed:
            self._ended = ended
            self._changed.notify_all()

    def _read(self) -> CaptureError:
        capture = self._input.open_by(self._open, cv2.VideoCapture.release)
        if capture is None:
            return _stopped()
        try:
            rate = Fraction(capture.get(cv2.CAP_PROP_FPS)).limit_denominator(1001)
            self.rate = rate if 1 <= rate <= MAX_FRAME_RATE else DEFAULT_RATE
            return self._read_on(capture)
        finally:
            capture.release()

    def _open(self, url: str) -> cv2.VideoCapture:
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, NO_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, NO_TIMEOUT_MS]
        capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)
        if not capture.isOpened():
            capture.release()
            raise NoVideoError(
                f"the camera at {host_and_port(self._input.url)} answers, but OpenCV finds no video in its stream; use"
                " the URL of another of its streams"
            )
        return capture

    def _read_on(self, capture: cv2.VideoCapture) -> CaptureError:
        unreadable_in_a_row = 0
        while not self._stop.is_set():
            is_read, image = capture.read()
            if not is_read or image is None or image.ndim != 3:
                if (known := self._input.known_error) is not None:
                    return known
                self._counters.packets_unreadable += 1
                unreadable_in_a_row += 1
                if unreadable_in_a_row >= MAX_UNREADABLE_IN_A_ROW:
                    return CameraEndedError(
                        f"{unreadable_in_a_row} frames in a row from the camera at {host_and_port(self._input.url)}"
                        " could not be read; it has ended the stream, or sends a format that OpenCV cannot decode"
                    )
                log.warning(
                    "camera %s: a frame could not be read and is skipped",
                    self._source.camera_id,
                    extra={"camera": self._source.camera_id},
                )
                continue
            unreadable_in_a_row = 0
            self._input.watch.packet()
            self._input.watch.frame()
            arrival = ArrivalTime(self._clock.wall_90k(), self._clock.monotonic())
            frame = _DecodedFrame(image.astype(np.uint8, copy=False), capture.get(cv2.CAP_PROP_POS_MSEC), arrival)
            with self._changed:
                self._counters.frames_dropped += len(self._waiting) == self._waiting.maxlen
                self._waiting.append(frame)
                self._changed.notify_all()
        return _stopped()


def _stopped() -> CaptureError:
    return CameraEndedError("it was stopped")


class OpenCVCaptureEngine(CaptureEngine):
    """One pull of a camera through OpenCV; see the module's rules."""

    def __init__(self, source: CaptureSource = NO_SOURCE, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(source, clock)
        self._stop = threading.Event()
        self._reader: _Reader | None = None

    def interrupt(self) -> None:
        self._stop.set()
        if self._reader is not None:
            self._reader.stop()

    def packets(self) -> Iterator[Packet]:
        opening = RtspInput(self.source)
        _set_up_opencv()
        self._reader = reader = _Reader(self.source, opening, self.clock, self._stop, self.counters)
        reader.start()
        try:
            yield from self._encode(reader)
        finally:
            reader.stop()

    def _encode(self, reader: _Reader) -> Iterator[Packet]:
        encoder: H264Encoder | None = None
        shape: tuple[int, ...] = ()
        timeline = Timeline(self.counters)
        while (frame := reader.take()) is not None:
            if encoder is None or frame.image.shape != shape:
                shape = frame.image.shape
                encoder = H264Encoder(shape[1] & ~1, shape[0] & ~1, reader.rate, GOP_S, self.source.run)
                timeline.expect(MediaKind.VIDEO, round(CLOCK_RATE / reader.rate))
            # I420 halves both sides: an odd last row or column is left out.
            even = frame.image[: shape[0] & ~1, : shape[1] & ~1]
            planes = np.asarray(cv2.cvtColor(even, cv2.COLOR_BGR2YUV_I420), np.uint8)
            position_us = round(frame.position_ms * 1000) if frame.position_ms > 0 else None
            source_time = SourceTime(position_us, position_us, Fraction(1, 1_000_000))
            times = timeline.timestamp(MediaKind.VIDEO, source_time, frame.arrival)
            yield from encoder.encode(planes, times.dts_90k, times.captured_at_90k)
