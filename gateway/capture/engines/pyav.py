"""PyAVCaptureEngine: cameras through libav, packets untouched and never decoded.

Theory of operation. libav does RTSP (RFC 2326), RTP and its payload formats;
:class:`~gateway.capture.assembler.Assembler` makes our packets of libav's. What is left here is to notice when a
camera falls silent, to come back when told to, and to say what went wrong.

Rules:

1. ``timeout_s`` bounds the opening, each read, and the time without a picture: audio alone does not keep a camera
   alive.
2. A packet that is marked corrupt or cannot be read is passed over and counted; too many in a row end the run.
"""

import logging
import threading
import time
from collections.abc import Iterator

import av
from av.container import InputContainer

from gateway.capture.assembler import Assembler, RawPacket
from gateway.capture.engine import CaptureEngine, CaptureSource
from gateway.capture.interrupt import interruptible
from gateway.capture.libav_errors import place, reading_fault, silent
from gateway.capture.libav_open import open_camera
from gateway.capture.url import CameraUrl, parse
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import CameraEndedError, NoVideoError, redact
from gateway.media import Packet

log = logging.getLogger(__name__)

MAX_ERRORS_IN_A_ROW = 50
"""Unreadable packets, one after the other, that end a run: 2 s of a stream in which nothing can be used any more."""

KEYFRAME_PATIENCE_S = 60.0
"""How long packets may come without a keyframe, in seconds. Cameras with a smart codec send one every 20 s or so;
after a minute, none will come."""


class PyAVCaptureEngine(CaptureEngine):
    """One pull of an RTSP camera; see the module's rules."""

    def __init__(self, source: CaptureSource, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(source, clock)
        self.passed_over = 0
        """Packets that could not be used."""
        self._stop = threading.Event()
        self._assembler: Assembler | None = None

    @property
    def is_prompt(self) -> bool:
        """Whether pictures are let go with their last RTP packet; see :mod:`gateway.capture.access_units`."""
        return self._assembler is not None and self._assembler.is_prompt

    def interrupt(self) -> None:
        self._stop.set()

    def packets(self) -> Iterator[Packet]:
        url = parse(self.source.url)
        with interruptible(self._stop) as reins:
            container = open_camera(url, self.source, reins)
            if container is None:
                return
            try:
                yield from self._pull(container, url)
            finally:
                container.close()

    def _pull(self, container: InputContainer, url: CameraUrl) -> Iterator[Packet]:
        self._assembler = assembler = Assembler(container, self.source.run, place(url))
        opened_at = picture_at = self.clock.monotonic()
        for raw in self._demux(container, assembler, url):
            now = self.clock.monotonic()
            if assembler.info is None and raw.stream is assembler.video:
                # Before the first keyframe, anything of the video is a sign of life.
                picture_at = now
            if now - picture_at > self.source.timeout_s:
                raise silent(url, self.source.timeout_s)
            if raw.is_corrupt:
                self._pass_over("it is marked corrupt")
                continue
            for packet in assembler.assemble(raw, self.clock.wall_90k(), now):
                if packet.is_video:
                    picture_at = now
                yield packet
                if self._stop.is_set():
                    return
            if assembler.info is None and now - opened_at > KEYFRAME_PATIENCE_S:
                raise NoVideoError(
                    f"the camera at {place(url)} has sent no keyframe with its parameter sets for"
                    f" {KEYFRAME_PATIENCE_S:g} s; set its keyframe interval to 1 or 2 seconds"
                )

    def _demux(self, container: InputContainer, assembler: Assembler, url: CameraUrl) -> Iterator[RawPacket]:
        """libav's packets until the end, over what cannot be read."""
        in_a_row = 0
        reading_since = time.monotonic()
        while not self._stop.is_set():
            try:
                for raw in container.demux(*assembler.streams):
                    if self._stop.is_set():
                        return
                    if raw.size:
                        in_a_row = 0
                        yield raw
                    reading_since = time.monotonic()
                raise CameraEndedError(f"the camera at {place(url)} ended the stream")
            except av.FFmpegError as error:
                if self._stop.is_set():
                    return
                in_a_row += 1
                elapsed_s = time.monotonic() - reading_since
                if not isinstance(error, av.error.InvalidDataError) or elapsed_s >= self.source.timeout_s:
                    raise reading_fault(error, url, self.source.timeout_s, elapsed_s) from None
                if in_a_row >= MAX_ERRORS_IN_A_ROW:
                    raise NoVideoError(
                        f"{in_a_row} packets in a row from the camera at {place(url)} could not be read; restart it"
                    ) from None
                self._pass_over(error.strerror or "it is not valid")

    def _pass_over(self, why: str) -> None:
        self.passed_over += 1
        # The first tells the story, and then each power of two: a bad link would drown the log.
        if self.passed_over & (self.passed_over - 1) == 0:
            log.warning(
                "camera %s: a packet was passed over (%d so far): %s",
                self.source.camera_id,
                self.passed_over,
                redact(why),
            )
