"""HttpStream: one resource of an HTTP camera (a stream, a playlist, a segment), as a file that libav reads.

Rules:

1. The address of every request is checked before the connection, also after a redirect (3 at most) and for what a
   playlist refers to.
2. Each read ends by the :class:`~gateway.capture.watch.Watch`, so a server that sends a byte now and then ends with the
   time-out of a silent one.
3. A playlist has at most :data:`PLAYLIST_MAX_BYTES`: libav keeps all of it.
4. Credentials are those of the camera's URL, and go only to its own scheme, host and port (Basic or Digest).
"""

import contextlib
import http.client
import io
import os
import select
import socket
import ssl
import threading
import time
from dataclasses import replace
from urllib.parse import urljoin

from gateway.capture import camera_errors
from gateway.capture.camera_errors import host_and_port
from gateway.capture.engine import CaptureSource
from gateway.capture.resolver import POLL_S, checked_addresses
from gateway.capture.rtsp_connect import credentials, redirected, tls_context
from gateway.capture.url import CameraUrl
from gateway.capture.watch import Watch
from gateway.errors import CameraEndedError, CameraRefusedError, CameraUnreachableError, CaptureError, NoVideoError
from gateway.rtsp.auth import Authenticator, Credentials, parse_challenges
from gateway.rtsp.client import USER_AGENT

SCHEMES = frozenset({"http", "https"})

REDIRECTS_MAX = 3

PLAYLIST_MAX_BYTES = 1024 * 1024
"""A day of segments of six seconds is as much."""

_PLAYLIST = b"#EXTM3U"


class HttpContext:
    """What all requests of one camera share. ``url`` is the camera's own."""

    def __init__(self, url: CameraUrl, source: CaptureSource, watch: Watch) -> None:
        self.url = url
        self.source = source
        self.watch = watch
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()

    def interrupt(self) -> None:
        """End whatever waits for a server. Any thread may call it."""
        with self._lock:
            self.stop.set()
            for each in self._sockets:
                # It may not be connected yet.
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def opened(self, each: socket.socket) -> None:
        """Note a socket that :meth:`interrupt` has to end."""
        with self._lock:
            self._sockets.add(each)

    def close(self, each: socket.socket) -> None:
        """Close a socket."""
        with self._lock:
            self._sockets.discard(each)
            each.close()


class HttpStream:
    """See the module. ``url`` is where it is, after redirects."""

    def __init__(self, url: CameraUrl, context: HttpContext) -> None:
        """Send the request. Raises a :class:`~gateway.errors.CaptureError`."""
        self.url = url
        self._context = context
        self._socket: _WatchedSocket | None = None
        self._response: http.client.HTTPResponse | None = None
        self._size = 0
        self._is_playlist = False
        try:
            self._open(url)
        except BaseException:
            self.close()
            raise

    def _open(self, url: CameraUrl) -> None:
        for _ in range(REDIRECTS_MAX + 1):
            location = self._request()
            if location is None:
                return
            self.close()
            self.url = redirected(self.url, urljoin(str(replace(self.url, userinfo="")), location))
            if self.url.scheme not in SCHEMES:
                raise CameraRefusedError(
                    f"the camera at {host_and_port(url)} redirects to {self.url.scheme}://, which is not allowed"
                )
        raise CameraRefusedError(
            f"the camera at {host_and_port(url)} redirects again and again; write the address of the stream itself"
        )

    def read(self, size: int) -> bytes:
        """The next bytes, at most ``size``; none at the end and after an interrupt."""
        response = self._response
        if response is None or self._context.stop.is_set():
            return b""
        try:
            data = response.read1(size)
        except (OSError, http.client.HTTPException) as error:
            raise self._fault(error) from None
        if self._size == 0:
            self._is_playlist = data.lstrip(b"\xef\xbb\xbf").startswith(_PLAYLIST)
        self._size += len(data)
        if self._is_playlist and self._size > PLAYLIST_MAX_BYTES:
            raise NoVideoError(
                f"the playlist of the camera at {host_and_port(self.url)} is larger than {PLAYLIST_MAX_BYTES >> 20}"
                " MiB; use one that has the newest segments alone"
            )
        return data

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.shut()

    def _request(self) -> str | None:
        """Send the request, again with credentials where they are asked for; the target of a redirect, or ``None``."""
        authenticator = Authenticator(self._credentials())
        while True:
            try:
                response = self._send(authenticator)
            except (OSError, http.client.HTTPException) as error:
                raise self._fault(error) from None
            if 300 <= response.status < 400 and response.getheader("Location"):
                return response.getheader("Location")
            if response.status == 401 and authenticator.accept(
                parse_challenges(response.headers.get_all("WWW-Authenticate") or [])
            ):
                self.close()
                continue
            if response.status != 200:
                raise camera_errors.refused(self.url, response.status, "GET")
            self._response = response
            return None

    def _send(self, authenticator: Authenticator) -> http.client.HTTPResponse:
        self._socket = watched = self._connect()
        connection = http.client.HTTPConnection(self.url.host, self.url.connect_port)
        connection.sock = watched
        target = self.url.target.partition("#")[0]
        target = target if target.startswith("/") else f"/{target}"
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
        authorization = authenticator.authorization("GET", target)
        if authorization is not None:
            headers["Authorization"] = authorization
        connection.request("GET", target, headers=headers)
        return connection.getresponse()

    def _credentials(self) -> Credentials | None:
        own = self._context.url
        is_own = (self.url.scheme, self.url.host, self.url.connect_port) == (own.scheme, own.host, own.connect_port)
        return credentials(own) if is_own else None

    def _connect(self) -> "_WatchedSocket":
        context, url = self._context, self.url
        source = context.source
        if url.host != context.url.host:
            source = replace(source, check_address=source.check_referred or source.check_address)
        found = checked_addresses(url, source, context.stop)
        failure: OSError | None = None
        for number, address in enumerate(found, start=1):
            share_s = max(0.01, context.watch.remaining_s * number / len(found))
            try:
                return _WatchedSocket(_dial(str(address), url, source, context, share_s), context)
            except OSError as error:
                failure = error
            if context.stop.is_set():
                break
        if failure is None:
            raise CameraEndedError("it was stopped")
        raise camera_errors.connect_failed(failure, url, source.timeout_s)

    def _fault(self, error: Exception) -> CaptureError:
        watch_fault = self._context.watch.fault
        if watch_fault is not None:
            return watch_fault
        if isinstance(error, CaptureError):
            return error
        if isinstance(error, ssl.SSLError | ConnectionError):
            return camera_errors.connect_failed(error, self.url)
        if isinstance(error, OSError):
            return CameraUnreachableError(f"the connection to {host_and_port(self.url)} broke ({type(error).__name__})")
        return NoVideoError(f"the answer of {host_and_port(self.url)} is not HTTP; check the port and the path")


def _dial(address: str, url: CameraUrl, source: CaptureSource, context: HttpContext, timeout_s: float) -> socket.socket:
    """A connection within this time; a stop ends it. Raises ``OSError``."""
    until = time.monotonic() + timeout_s
    raw = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        raw.setblocking(False)
        raw.connect_ex((address, url.connect_port))
        poll = select.poll()
        poll.register(raw, select.POLLOUT)
        while not poll.poll(POLL_S * 1000):
            if context.stop.is_set() or time.monotonic() >= until:
                raise TimeoutError
        fault = raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if fault:
            raise OSError(fault, os.strerror(fault))
        if url.scheme == "https":
            # The new object takes the descriptor over.
            raw = tls_context(source).wrap_socket(raw, server_hostname=url.host, do_handshake_on_connect=False)
        context.opened(raw)
        raw.settimeout(max(0.01, until - time.monotonic()))
        if isinstance(raw, ssl.SSLSocket):
            raw.do_handshake()
    except BaseException:
        context.close(raw)
        raise
    return raw


class _WatchedSocket:
    """A socket for :mod:`http.client`, whose every read is bounded by the watch."""

    def __init__(self, raw: socket.socket, context: HttpContext) -> None:
        self._raw = raw
        self._context = context

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._raw, self._context), 65_536)

    def sendall(self, data: bytes) -> None:
        self._raw.sendall(data)

    def shut(self) -> None:
        self._context.close(self._raw)

    def close(self) -> None:
        """The response goes on reading; see :meth:`shut`."""


class _Reader(io.RawIOBase):
    def __init__(self, raw: socket.socket, context: HttpContext) -> None:
        self._raw = raw
        self._context = context

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        watch = self._context.watch
        if self._context.stop.is_set():
            return 0
        fault = watch.fault
        if fault is not None:
            raise fault
        self._raw.settimeout(max(0.01, watch.remaining_s))
        size = self._raw.recv_into(buffer)
        watch.count(size)
        return size
