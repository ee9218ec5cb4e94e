"""OpenCVCaptureEngine: cameras through ``cv2.VideoCapture``, decoded, and made H.264 again.

Theory of operation. For cameras that send no H.264 or H.265, and for those who have to touch the pictures on their
way. A thread reads pictures as fast as they come and keeps the newest; the generator encodes them. It costs what
decoding and encoding cost, and carries no audio: where libav can pass a camera's packets on, ``pyav`` is the engine to
take.

Rules:

1. ``buffer_size`` decoded pictures may wait (``CAPTURE_BUFFER_SIZE``; OpenCV's FFmpeg backend has no such setting).
   When the encoder is slower than the camera, the oldest is dropped and counted.
2. A picture that cannot be read is logged and passed over; ``MAX_BAD_IN_A_ROW`` of them end the run.
3. OpenCV cannot be interrupted. The generator returns at once, and the reading thread by itself, ``timeout_s`` later at
   most.
4. OpenCV does not tell why it could not open a camera, so libav is asked.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from gateway.capture.engine import CaptureEngine, CaptureSource
from gateway.capture.engines.h264_encoder import H264Encoder
from gateway.capture.interrupt import interruptible
from gateway.capture.libav_errors import place, silent
from gateway.capture.libav_open import open_camera
from gateway.capture.resolver import destinations
from gateway.capture.timeline import Arrival, SourceTime, Timeline
from gateway.capture.url import CameraUrl, parse
from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock
from gateway.codec.sps import MAX_FRAME_RATE
from gateway.errors import CameraEndedError, CaptureError, NoVideoError
from gateway.media import MediaKind, Packet

log = logging.getLogger(__name__)

MAX_BAD_IN_A_ROW = 10
"""Pictures that cannot be read, one after the other, that end a run: OpenCV has tried many times for each by itself."""

GOP_S = 2.0
"""Seconds from keyframe to keyframe: newcomers see a picture soon, and pay little for it."""

DEFAULT_RATE = Fraction(25)
"""Frames a second where the camera tells none."""

# OpenCV's libav reads its options from here alone, and writes URLs with passwords to stderr unless told not to.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp|analyzeduration;0|probesize;32")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Taken:
    """A picture (BGR), its time in ms as OpenCV tells it, and its arrival."""

    picture: Picture
    position_ms: float
    arrival: Arrival


class _Reader:
    """The thread in OpenCV, and the newest of what it has read."""

    def __init__(self, source: CaptureSource, url: CameraUrl, clock: Clock, stop: threading.Event) -> None:
        self.dropped = 0
        """Pictures that were too old before anybody took them."""
        self.rate = DEFAULT_RATE
        self._source, self._url, self._clock, self._stop = source, url, clock, stop
        self._waiting: deque[_Taken] = deque(maxlen=source.buffer_size)
        self._changed = threading.Condition()
        self._opened = False
        self._ended: CaptureError | None = None
        self._thread = threading.Thread(target=self._run, name=f"opencv-{source.camera_id}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Have :meth:`take` look at the stop again."""
        with self._changed:
            self._changed.notify_all()

    def take(self) -> _Taken | None:
        """The oldest picture that waits, or the next one; ``None`` after a stop. Raises what ended the reading."""
        with self._changed:
            while not self._waiting and not self._stop.is_set():
                if self._ended is not None:
                    raise self._ended
                self._changed.wait()
            return None if self._stop.is_set() else self._waiting.popleft()

    @property
    def has_opened(self) -> bool:
        return self._opened

    def _run(self) -> None:
        try:
            ended = self._read()
        except cv2.error as error:
            ended = CaptureError(f"OpenCV failed: {error.err or 'it does not tell why'}")
        with self._changed:
            self._ended = ended
            self._changed.notify_all()

    def _read(self) -> CaptureError:
        timeout_ms = round(self._source.timeout_s * 1000)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
        capture = cv2.VideoCapture(str(self._url), cv2.CAP_FFMPEG, limits)
        try:
            if not capture.isOpened():
                return NoVideoError(
                    f"the camera at {place(self._url)} answers, but OpenCV finds no video in what it sends; take the"
                    " URL of another of its streams"
                )
            self._opened = True
            rate = Fraction(capture.get(cv2.CAP_PROP_FPS)).limit_denominator(1001)
            self.rate = rate if 1 <= rate <= MAX_FRAME_RATE else DEFAULT_RATE
            return self._read_on(capture)
        finally:
            capture.release()

    def _read_on(self, capture: cv2.VideoCapture) -> CaptureError:
        bad_in_a_row = 0
        read_at = time.monotonic()
        while not self._stop.is_set():
            good, picture = capture.read()
            if time.monotonic() - read_at >= self._source.timeout_s:
                return silent(self._url, self._source.timeout_s)
            if not good or picture is None or picture.ndim != 3:
                bad_in_a_row += 1
                if bad_in_a_row >= MAX_BAD_IN_A_ROW:
                    return CameraEndedError(
                        f"{bad_in_a_row} pictures in a row from the camera at {place(self._url)} could not be read; it"
                        " has ended the stream, or sends what OpenCV cannot decode"
                    )
                log.warning("camera %s: a picture could not be read and is passed over", self._source.camera_id)
                continue
            bad_in_a_row = 0
            read_at = time.monotonic()
            arrival = Arrival(self._clock.wall_90k(), self._clock.monotonic())
            taken = _Taken(picture.astype(np.uint8, copy=False), capture.get(cv2.CAP_PROP_POS_MSEC), arrival)
            with self._changed:
                self.dropped += len(self._waiting) == self._waiting.maxlen
                self._waiting.append(taken)
                self._changed.notify_all()
        return CameraEndedError("it was stopped")


class OpenCVCaptureEngine(CaptureEngine):
    """One pull of a camera through OpenCV; see the module's rules."""

    def __init__(self, source: CaptureSource, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(source, clock)
        self._stop = threading.Event()
        self._reader: _Reader | None = None

    @property
    def dropped(self) -> int:
        """Pictures that rule 1 dropped."""
        return self._reader.dropped if self._reader is not None else 0

    def interrupt(self) -> None:
        self._stop.set()
        if self._reader is not None:
            self._reader.wake()

    def packets(self) -> Iterator[Packet]:
        url = parse(self.source.url)
        found = destinations(url, self.source, self._stop)
        if not found:
            return
        # Which of several addresses answers, OpenCV would not tell: the first has to.
        self._reader = reader = _Reader(self.source, found[0], self.clock, self._stop)
        reader.start()
        try:
            yield from self._encode(reader)
        except NoVideoError as error:
            if not reader.has_opened:
                self._explain(url)
            raise error from None
        finally:
            self._stop.set()

    def _encode(self, reader: _Reader) -> Iterator[Packet]:
        encoder: H264Encoder | None = None
        shape: tuple[int, ...] = ()
        timeline = Timeline()
        while (taken := reader.take()) is not None:
            if encoder is None or taken.picture.shape != shape:
                shape = taken.picture.shape
                encoder = H264Encoder(shape[1] & ~1, shape[0] & ~1, reader.rate, GOP_S, self.source.run)
                timeline.expect(MediaKind.VIDEO, round(CLOCK_RATE / reader.rate))
            # I420 halves both sides: an odd last row or column is left out.
            even = taken.picture[: shape[0] & ~1, : shape[1] & ~1]
            planes = np.asarray(cv2.cvtColor(even, cv2.COLOR_BGR2YUV_I420), np.uint8)
            position_us = round(taken.position_ms * 1000) if taken.position_ms > 0 else None
            time_ = SourceTime(position_us, position_us, Fraction(1, 1_000_000))
            stamp = timeline.stamp(MediaKind.VIDEO, time_, taken.arrival)
            yield from encoder.encode(planes, stamp.dts_90k, stamp.captured_at_90k)

    def _explain(self, url: CameraUrl) -> None:
        """Raise what libav says of a camera that OpenCV could not open, if it says anything."""
        with interruptible(self._stop) as reins:
            container = open_camera(url, self.source, reins)
            if container is not None:
                container.close()
