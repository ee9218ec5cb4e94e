"""RtspInput: an RTSP camera that libav reads, through a relay that bounds what it gets.

Rules:

1. TCP first: it crosses NAT and loses nothing. libav tries UDP itself where the camera refuses TCP (461).
2. Nothing is probed: the session description and the first keyframe say everything. What libav reads while opening is
   kept (``fflags=nobuffer`` would throw the first keyframe away, and cost a whole GOP).
3. RTP payloads are taken as they are: :mod:`gateway.capture.access_units` says why.
4. Connections, TLS, credentials and redirects are those of our own client (:mod:`gateway.capture.rtsp_connect`,
   :mod:`gateway.capture.rtsp_relay`).
"""

import asyncio
import threading
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack

from av.container import InputContainer

from gateway.capture import camera_errors
from gateway.capture.background_loop import background_loop
from gateway.capture.camera_errors import host_and_port
from gateway.capture.engine import CaptureSource
from gateway.capture.libav_open import LIBAV_ERRORS, LibavInput, av_open
from gateway.capture.rtsp_connect import Redirects
from gateway.capture.rtsp_relay import RtspRelay
from gateway.capture.watch import Watch
from gateway.errors import CaptureError

OPTIONS = {
    "rtsp_transport": "tcp+udp",
    "rtsp_flags": "prefer_tcp",
    "analyzeduration": "0",
    "probesize": "32",
    "fflags": "noparse",
    # Bytes; room for two keyframes of 4K over UDP, where the system's default loses packets at the first.
    "buffer_size": str(2 * 1024 * 1024),
}

CLOSE_S = 1.0
"""How long closing waits for the relay, in seconds; it takes milliseconds."""


class RtspInput(LibavInput):
    """See the module."""

    def __init__(self, source: CaptureSource) -> None:
        """Raises a :class:`~gateway.errors.CaptureError` for a URL that is not of RTSP."""
        self._place = Redirects(source)
        url = self._place.url
        watch = Watch(
            source.timeout_s,
            host_and_port(url),
            camera_errors.timed_out(url, source.timeout_s),
            lambda: camera_errors.silent(url, source.timeout_s),
        )
        super().__init__(source, url, watch)
        self._resources = ExitStack()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._relay: RtspRelay | None = None
        self._starting: Future[str] | None = None

    def open(self) -> InputContainer | None:
        self._loop = self._resources.enter_context(background_loop())
        while True:
            name = self._start_relay(self._loop)
            if name is None:
                return None
            failure: Exception | None = None
            try:
                container = av_open(name, options=dict(OPTIONS))
            except LIBAV_ERRORS as error:
                failure = error
            relay = self._relay
            assert relay is not None
            if failure is None and relay.redirect is None and relay.error is None and not self.is_interrupted:
                self.watch.opened()
                return container
            if failure is None:
                # libav reports success where it was cut off while it read stream information.
                container.close()
            if self.is_interrupted:
                return None
            if relay.redirect is None:
                raise self.open_error(failure or TimeoutError()) from None
            self._close_relay()
            self._place.follow(relay.redirect)
            self.url = self._place.url

    def interrupt(self) -> None:
        with self._lock:
            self._stop.set()
            if self._starting is not None:
                self._starting.cancel()
            relay, loop = self._relay, self._loop
            if relay is not None and loop is not None:
                loop.call_soon_threadsafe(relay.end)

    @property
    def is_interrupted(self) -> bool:
        return self._stop.is_set()

    @property
    def known_error(self) -> CaptureError | None:
        return None if self._relay is None else self._relay.error or self._relay.refusal

    def close(self) -> None:
        self._close_relay()
        with self._lock:
            self._loop = None
        self._resources.close()

    def _start_relay(self, loop: asyncio.AbstractEventLoop) -> str | None:
        """The URL of a new relay; ``None`` after an interrupt."""
        with self._lock:
            if self.is_interrupted:
                return None
            self._relay = relay = RtspRelay(self._place.url, self._place.source, self.watch)
            self._starting = starting = asyncio.run_coroutine_threadsafe(relay.start(), loop)
        try:
            return starting.result(max(0.0, self.watch.remaining_s))
        except CancelledError:
            return None
        except TimeoutError:
            starting.cancel()
            raise camera_errors.timed_out(self.url, self.source.timeout_s) from None
        finally:
            with self._lock:
                self._starting = None

    def _close_relay(self) -> None:
        with self._lock:
            relay, loop = self._relay, self._loop
        if relay is not None and loop is not None:
            closing = asyncio.run_coroutine_threadsafe(relay.close(), loop)
            try:
                closing.result(CLOSE_S)
            except TimeoutError:
                closing.cancel()
