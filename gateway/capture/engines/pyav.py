"""PyAVCaptureEngine: cameras through libav, whose packets are passed on unchanged and never decoded.

Theory of operation. libav does RTSP (RFC 2326), RTP and its payload formats, HLS, and the containers that cameras send
over HTTP.
:class:`~gateway.capture.libav_packets.PacketConverter` makes liveedge's packets of libav's. This module notices a
silent camera, returns after an interrupt, and turns errors into messages.

Rules:

1. ``timeout_s`` bounds the opening, each read, and the time without a frame of video: audio alone does not keep a run
   alive. libav's waits end by :class:`~gateway.capture.libav_open.LibavInput`.
2. A packet that is marked corrupt or cannot be read is skipped and counted. Too many in a row end the run.
"""

import logging
import threading
from collections.abc import Iterator

import av
from av.container import InputContainer

from gateway.capture import camera_errors
from gateway.capture.camera_errors import host_and_port, silent
from gateway.capture.counters import CaptureCounters
from gateway.capture.engine import NO_SOURCE, CaptureEngine, CaptureSource
from gateway.capture.libav_open import LibavInput
from gateway.capture.libav_packets import PacketConverter, RawPacket
from gateway.capture.libav_rtmp import SCHEMES as RTMP_SCHEMES
from gateway.capture.libav_rtmp import RtmpInput
from gateway.capture.libav_rtsp import RtspInput
from gateway.capture.libav_url import UrlInput
from gateway.capture.packets import KEYFRAME_TIMEOUT_S
from gateway.capture.rtsp_connect import SCHEMES as RTSP_SCHEMES
from gateway.capture.url import file_path, parse
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import NoVideoError, redact
from gateway.media import Packet

log = logging.getLogger(__name__)

MAX_UNREADABLE_IN_A_ROW = 50
"""Packets in a row that cannot be read end a run: 2 s of a stream of which nothing can be used any more."""


class PyAVCaptureEngine(CaptureEngine):
    """One connection to a camera; see the module's rules."""

    def __init__(self, source: CaptureSource = NO_SOURCE, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(source, clock)
        self._lock = threading.Lock()
        self._is_stopped = False
        self._input: LibavInput | None = None
        self._converter: PacketConverter | None = None

    @property
    def is_low_latency(self) -> bool:
        """Whether frames are passed on with their last RTP packet; see :mod:`gateway.capture.access_units`."""
        return self._converter is not None and self._converter.is_low_latency

    def interrupt(self) -> None:
        with self._lock:
            self._is_stopped = True
            if self._input is not None:
                self._input.interrupt()

    def packets(self) -> Iterator[Packet]:
        opening = open_input(self.source, self.counters)
        with self._lock:
            if self._is_stopped:
                return
            self._input = opening
        try:
            container = opening.open()
            if container is None:
                return
            try:
                yield from self._pull(container, opening)
            finally:
                container.close()
        finally:
            with self._lock:
                self._input = None
            opening.close()

    def _pull(self, container: InputContainer, opened: LibavInput) -> Iterator[Packet]:
        url = opened.url
        self._converter = converter = PacketConverter(
            container, self.source.run, url, self.counters, has_whole_frames=not isinstance(opened, RtspInput)
        )
        opened_at = frame_at = self.clock.monotonic()
        for raw in self._demux(container, converter, opened):
            if isinstance(opened, UrlInput) and opened.is_file:
                opened.pace(raw)
            now = self.clock.monotonic()
            if converter.info is None and raw.stream is converter.video:
                # Before the first keyframe, every packet of video shows that the camera works.
                frame_at = now
                opened.watch.frame()
            if now - frame_at > self.source.timeout_s:
                raise silent(url, self.source.timeout_s)
            if raw.is_corrupt:
                self._skip("it is marked corrupt")
                continue
            for packet in converter.convert(raw, self.clock.wall_90k(), now):
                if packet.is_video:
                    frame_at = now
                    opened.watch.frame()
                yield packet
                if self._is_stopped:
                    return
            if converter.info is None and now - opened_at > KEYFRAME_TIMEOUT_S:
                raise camera_errors.no_keyframe(url, KEYFRAME_TIMEOUT_S)

    def _demux(self, container: InputContainer, converter: PacketConverter, opened: LibavInput) -> Iterator[RawPacket]:
        """libav's packets until the end, without those that cannot be read."""
        in_a_row = 0
        while not self._is_stopped:
            try:
                for raw in container.demux(*converter.streams):
                    if self._is_stopped:
                        return
                    opened.watch.packet()
                    if raw.size:
                        in_a_row = 0
                        yield raw
                if self._is_stopped:
                    return
                raise opened.known_error or camera_errors.ended(opened.url)
            except av.FFmpegError as error:
                if self._is_stopped:
                    return
                in_a_row += 1
                if opened.known_error is not None or not isinstance(error, av.error.InvalidDataError):
                    raise opened.read_error(error) from None
                if in_a_row >= MAX_UNREADABLE_IN_A_ROW:
                    raise NoVideoError(
                        f"{in_a_row} packets in a row from the camera at {host_and_port(opened.url)} could not be read;"
                        " restart it"
                    ) from None
                self._skip(error.strerror or "it is not valid")

    def _skip(self, why: str) -> None:
        self.counters.packets_unreadable += 1
        camera_id = self.source.camera_id
        log.warning("camera %s: skipped a packet: %s", camera_id, redact(why), extra={"camera": camera_id})


def open_input(source: CaptureSource, counters: CaptureCounters) -> LibavInput:
    """How this source is opened. Raises a :class:`~gateway.errors.CaptureError` for one that is not."""
    scheme = "file" if file_path(source.url) is not None else parse(source.url).scheme
    if scheme in RTSP_SCHEMES:
        return RtspInput(source)
    return RtmpInput(source) if scheme in RTMP_SCHEMES else UrlInput(source, counters)
