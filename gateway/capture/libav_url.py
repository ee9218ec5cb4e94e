"""UrlInput: what libav reads besides RTSP and RTMP: HTTP (MPEG-TS, FLV, HLS and more), MPEG-TS over UDP, and files.

Theory of operation. libav parses; everything that it wants to open comes to :meth:`UrlInput.open_resource`, which is
the only place that connects or opens. So no demuxer, playlist or redirect can reach anything else.

Rules:

1. An HTTP camera opens ``http://`` and ``https://`` (:mod:`gateway.capture.http_stream`), a file opens itself, UDP a
   port of this host (:mod:`gateway.capture.udp_stream`). Everything else that a playlist names (files, ``data:``,
   encrypted segments, other protocols) is refused.
2. Only the formats of :data:`FORMATS` are recognised: some of libav's others open further addresses on their own.
3. A file is read at the speed of its timestamps, and ends as a camera ends.
"""

import time
from dataclasses import replace
from typing import BinaryIO, TypeVar

import av.error
from av.container import InputContainer

from gateway.capture import camera_errors
from gateway.capture.camera_errors import host_and_port
from gateway.capture.counters import CaptureCounters
from gateway.capture.engine import CaptureSource
from gateway.capture.http_stream import SCHEMES as HTTP_SCHEMES
from gateway.capture.http_stream import HttpContext, HttpStream
from gateway.capture.libav_open import LIBAV_ERRORS, LibavInput, av_open
from gateway.capture.libav_packets import RawPacket
from gateway.capture.udp_stream import SCHEMES as UDP_SCHEMES
from gateway.capture.udp_stream import UdpStream
from gateway.capture.url import CameraUrl, file_path, parse
from gateway.capture.watch import Watch
from gateway.errors import CameraRefusedError, CameraUnreachableError, CaptureError, NoVideoError

FORMATS = (
    "hls", "mpegts", "flv", "live_flv", "mov", "matroska", "mpeg", "h264", "hevc", "mpjpeg", "mjpeg", "aac", "mp3"
)  # fmt: skip

OPTIONS = {
    "format_whitelist": ",".join(FORMATS),
    # libav opens nothing itself: rule 1.
    "protocol_whitelist": "none",
    "analyzeduration": "1000000",
    # Persistent connections would bypass the opening of resources.
    "http_persistent": "0",
    "http_multiple": "0",
}

PACE_MAX_S = 10.0
"""A longer step of a file's timestamps is a jump, and is not waited for."""

STREAMS_MAX = 16
"""Resources that libav has open at once, at most: a playlist, and a segment of each rendition."""

SCHEMES = frozenset({*HTTP_SCHEMES, *UDP_SCHEMES, "file"})

NOT_IN_LIBAV = frozenset({"srt", "rist"})
"""Protocols that FFmpeg can have, and the libav in PyAV's packages has not."""


StreamT = TypeVar("StreamT", HttpStream, UdpStream)


class UrlInput(LibavInput):
    """See the module."""

    def __init__(self, source: CaptureSource, counters: CaptureCounters | None = None) -> None:
        """Raises a :class:`~gateway.errors.CaptureError` for a URL of another scheme."""
        self._path = file_path(source.url)
        url = parse(source.url) if self._path is None else CameraUrl("file", "", self._path.name, None, "")
        if url.scheme in NOT_IN_LIBAV:
            raise CaptureError(
                f"{url.scheme}:// cannot be read: PyAV's libav is built without it; let a media server pull it, and use"
                " its RTSP or RTMP URL"
            )
        if url.scheme not in SCHEMES:
            raise CaptureError(
                f"{url.scheme}:// is not how cameras are pulled; write rtsp://, rtmp://, http://, https:// or udp://"
            )
        where = self._path.name if self._path is not None else host_and_port(url)
        self._where = where
        watch = Watch(
            source.timeout_s,
            where,
            camera_errors.timed_out(url, source.timeout_s),
            lambda: camera_errors.silent(url, source.timeout_s),
        )
        super().__init__(source, url, watch)
        self._name = ""
        self._context = HttpContext(url, source, watch)
        self._counters = counters if counters is not None else CaptureCounters()
        self._streams: list[HttpStream | UdpStream] = []
        """The newest, to be closed at the end: libav does not close the first."""
        self._first: HttpStream | UdpStream | None = None
        self._file: BinaryIO | None = None
        self._error: CaptureError | None = None
        self._began: float | None = None
        self._last_s = 0.0

    @property
    def is_file(self) -> bool:
        """Whether rule 3 applies."""
        return self._path is not None

    def open(self) -> InputContainer | None:
        try:
            name = self._open_first()
            container = av_open(name, options=dict(OPTIONS), io_open=self.open_resource)
        except CaptureError as error:
            if self.is_interrupted:
                return None
            raise self.known_error or error from None
        except LIBAV_ERRORS as error:
            if self.is_interrupted:
                return None
            raise self.open_error(error) from None
        if self.is_interrupted or self._error is not None:
            container.close()
            if self.is_interrupted:
                return None
            assert self._error is not None
            raise self._error
        self.watch.opened()
        return container

    def open_resource(self, url: str, flags: int, options: dict[str, str]) -> HttpStream | UdpStream | BinaryIO:
        """What libav wants to read. Raises a :class:`~gateway.errors.CaptureError` by rule 1."""
        del flags, options
        try:
            if self._path is not None:
                if url != self._name:
                    raise CameraRefusedError("the file refers to another address, which is not allowed")
                self._file = self._path.open("rb")
                return self._file
            if self._first is not None and url == self._name:
                first, self._first = self._first, None
                return first
            scheme = url.partition(":")[0].lower()
            if scheme not in HTTP_SCHEMES:
                raise CameraRefusedError(
                    f"the playlist of {host_and_port(self.url)} refers to {scheme[:20]}:, which is not allowed"
                )
            return self._opened(HttpStream(parse(url), self._context))
        except OSError as error:
            self._error = CameraUnreachableError(f"the file cannot be opened ({error.strerror})")
            raise self._error from None
        except CaptureError as error:
            self._error = error
            raise

    def interrupt(self) -> None:
        self._context.interrupt()

    def pace(self, raw: RawPacket) -> None:
        """Rule 3: wait until the packet is due, unless it is interrupted."""
        if raw.dts is None or raw.time_base is None:
            return
        at_s = float(raw.dts * raw.time_base)
        now = time.monotonic()
        if self._began is None or not -1 < at_s - self._last_s < PACE_MAX_S:
            self._began = now - at_s
        self._last_s = at_s
        self._context.stop.wait(max(0.0, self._began + at_s - now))
        self.watch.frame()

    @property
    def is_interrupted(self) -> bool:
        return self._context.stop.is_set()

    @property
    def known_error(self) -> CaptureError | None:
        return self.watch.fault or self._error

    def close(self) -> None:
        self.interrupt()
        if self._file is not None:
            self._file.close()
        for stream in self._streams:
            stream.close()

    def open_error(self, error: Exception) -> CaptureError:
        is_unknown = isinstance(error, av.error.InvalidDataError | av.error.ArgumentError | av.error.EOFError)
        if self.known_error is None and is_unknown:
            return NoVideoError(
                f"what {self._where} sends is no stream that liveedge knows (HLS, MPEG-TS, FLV, MP4); check the path,"
                " or use the camera's RTSP URL"
            )
        return super().open_error(error)

    def _open_first(self) -> str:
        """Open the camera's own URL, and return it as it is after redirects: a playlist is relative to that."""
        if self._path is not None:
            if not self._path.is_file():
                raise CameraUnreachableError(f"there is no file {self._path.name}; check the path in its URL")
            self._name = str(self._path)
            return self._name
        if self.url.scheme in UDP_SCHEMES:
            self._first = self._opened(UdpStream(self.url, self.watch, self._context.stop, self._counters))
            # Under the name rtp: libav would take it for RTP, which the stream has taken off.
            self._name = str(replace(self.url, scheme="udp", userinfo=""))
            return self._name
        stream = self._opened(HttpStream(self.url, self._context))
        self._first = stream
        self._name = str(replace(stream.url, userinfo=""))
        return self._name

    def _opened(self, stream: StreamT) -> StreamT:
        self._streams = [stream, *self._streams[: STREAMS_MAX - 1]]
        return stream
