"""PyAVCaptureEngine: cameras through libav, whose packets are passed on unchanged and never decoded.

Theory of operation. libav does RTSP (RFC 2326), RTP and its payload formats.
:class:`~gateway.capture.libav_packets.PacketConverter` makes liveedge's packets of libav's. This module notices a
silent camera, returns after an interrupt, and turns errors into messages.

Rules:

1. ``timeout_s`` bounds the opening, each read, and the time without a frame of video: audio alone does not keep a run
   alive.
2. A packet that is marked corrupt or cannot be read is skipped and counted. Too many in a row end the run.
"""

import logging
import threading
from collections.abc import Iterator

import av
from av.container import InputContainer

from gateway.capture import camera_errors
from gateway.capture.camera_errors import host_and_port, silent
from gateway.capture.engine import CaptureEngine, CaptureSource
from gateway.capture.interrupt import interruptible
from gateway.capture.libav_errors import read_error
from gateway.capture.libav_open import open_camera
from gateway.capture.libav_packets import PacketConverter, RawPacket
from gateway.capture.packets import KEYFRAME_TIMEOUT_S
from gateway.capture.url import CameraUrl, parse
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import NoVideoError, redact
from gateway.media import Packet

log = logging.getLogger(__name__)

MAX_UNREADABLE_IN_A_ROW = 50
"""Packets in a row that cannot be read end a run: 2 s of a stream of which nothing can be used any more."""


class PyAVCaptureEngine(CaptureEngine):
    """One connection to an RTSP camera; see the module's rules."""

    def __init__(self, source: CaptureSource, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(source, clock)
        self._stop = threading.Event()
        self._converter: PacketConverter | None = None

    @property
    def is_low_latency(self) -> bool:
        """Whether frames are passed on with their last RTP packet; see :mod:`gateway.capture.access_units`."""
        return self._converter is not None and self._converter.is_low_latency

    def interrupt(self) -> None:
        self._stop.set()

    def packets(self) -> Iterator[Packet]:
        url = parse(self.source.url)
        with interruptible(self._stop) as interrupt:
            container = open_camera(url, self.source, interrupt)
            if container is None:
                return
            try:
                yield from self._pull(container, url)
            finally:
                container.close()

    def _pull(self, container: InputContainer, url: CameraUrl) -> Iterator[Packet]:
        self._converter = converter = PacketConverter(container, self.source.run, url, self.counters)
        opened_at = frame_at = self.clock.monotonic()
        for raw in self._demux(container, converter, url):
            now = self.clock.monotonic()
            if converter.info is None and raw.stream is converter.video:
                # Before the first keyframe, every packet of video shows that the camera works.
                frame_at = now
            if now - frame_at > self.source.timeout_s:
                raise silent(url, self.source.timeout_s)
            if raw.is_corrupt:
                self._skip("it is marked corrupt")
                continue
            for packet in converter.convert(raw, self.clock.wall_90k(), now):
                if packet.is_video:
                    frame_at = now
                yield packet
                if self._stop.is_set():
                    return
            if converter.info is None and now - opened_at > KEYFRAME_TIMEOUT_S:
                raise camera_errors.no_keyframe(url, KEYFRAME_TIMEOUT_S)

    def _demux(self, container: InputContainer, converter: PacketConverter, url: CameraUrl) -> Iterator[RawPacket]:
        """libav's packets until the end, without those that cannot be read."""
        in_a_row = 0
        reading_since = self.clock.monotonic()
        while not self._stop.is_set():
            try:
                for raw in container.demux(*converter.streams):
                    if self._stop.is_set():
                        return
                    if raw.size:
                        in_a_row = 0
                        yield raw
                    reading_since = self.clock.monotonic()
                raise camera_errors.ended(url)
            except av.FFmpegError as error:
                if self._stop.is_set():
                    return
                in_a_row += 1
                elapsed_s = self.clock.monotonic() - reading_since
                if not isinstance(error, av.error.InvalidDataError) or elapsed_s >= self.source.timeout_s:
                    raise read_error(error, url, self.source.timeout_s, elapsed_s) from None
                if in_a_row >= MAX_UNREADABLE_IN_A_ROW:
                    raise NoVideoError(
                        f"{in_a_row} packets in a row from the camera at {host_and_port(url)} could not be read;"
                        " restart it"
                    ) from None
                self._skip(error.strerror or "it is not valid")

    def _skip(self, why: str) -> None:
        self.counters.packets_unreadable += 1
        camera_id = self.source.camera_id
        log.warning("camera %s: skipped a packet: %s", camera_id, redact(why), extra={"camera": camera_id})
