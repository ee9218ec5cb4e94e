"""Servers on real sockets that behave as no camera should."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import BinaryIO, Self

Handler = Callable[[socket.socket, threading.Event], None]
"""Handles a connection in its own thread, until it returns or the event is set."""

SDP = "\r\n".join(
    [
        "v=0",
        "o=- 0 0 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "m=video 0 RTP/AVP 96",
        "a=rtpmap:96 H264/90000",
        "a=fmtp:96 packetization-mode=1{sprop}",
        "a=control:stream=0",
        "",
    ]
)
"""A session with one H.264 track; ``sprop`` is ``;sprop-parameter-sets=…`` or empty."""


class HostileServer:
    """A TCP server on a free port of 127.0.0.1. A context manager."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ending = threading.Event()
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.port: int = self._listener.getsockname()[1]
        self.connected = threading.Event()
        """Set when a client has connected."""

    @property
    def url(self) -> str:
        return f"rtsp://viewer:hunter2@127.0.0.1:{self.port}/stream"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()
                self.connected.set()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._handler(connection, self._ending)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)


def say_nothing(_: socket.socket, ending: threading.Event) -> None:
    """Accept, and never answer."""
    ending.wait()


def hang_up(connection: socket.socket, _: threading.Event) -> None:
    """Read the request and close."""
    connection.recv(4096)


def talk_garbage(connection: socket.socket, ending: threading.Event) -> None:
    """Send random bytes until the client closes."""
    garbage = bytes(range(256)) * 64
    while not ending.is_set():
        connection.sendall(garbage)


def drip(connection: socket.socket, ending: threading.Event) -> None:
    """Answer so slowly that no single read ever times out."""
    connection.recv(4096)
    for byte in b"RTSP/1.0 200 OK\r\nX-Filling: " + b"x" * 4000:
        if ending.wait(0.05):
            return
        connection.sendall(bytes([byte]))


def speak_http(connection: socket.socket, _: threading.Event) -> None:
    """Answer as a web server."""
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def rtsp(
    statuses: Mapping[str, int] | None = None,
    sprop: str = "",
    play: Callable[[], Iterator[bytes]] | None = None,
    name: bytes = b"-",
) -> Handler:
    """An RTSP server that answers each method with its status (200 if none is given).

    After PLAY it sends the bytes that ``play`` yields, and then nothing. ``name`` is the session name of the SDP.
    """

    def handle(connection: socket.socket, ending: threading.Event) -> None:
        reader = connection.makefile("rb")
        while not ending.is_set():
            request = _read_request(reader)
            if request is None:
                return
            method, sequence, transport = request
            status = (statuses or {}).get(method, 200)
            described = method == "DESCRIBE" and status == 200
            body = SDP.format(sprop=sprop).encode().replace(b"s=-", b"s=" + name) if described else b""
            headers = [f"RTSP/1.0 {status} As Told", f"CSeq: {sequence}"]
            if status == 401:
                headers.append('WWW-Authenticate: Digest realm="camera", nonce="1"')
            if method == "OPTIONS":
                headers.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
            if method == "SETUP":
                headers += [f"Transport: {transport}", "Session: 1"]
            if body:
                headers += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
            connection.sendall(("\r\n".join(headers) + "\r\n\r\n").encode() + body)
            if method == "PLAY" and status == 200:
                for chunk in play() if play is not None else ():
                    if ending.is_set():
                        return
                    connection.sendall(chunk)
                ending.wait()

    return handle


def redirect(location: str) -> Handler:
    """An RTSP server that redirects every request (RFC 2326 §11.3)."""

    def handle(connection: socket.socket, _: threading.Event) -> None:
        reader = connection.makefile("rb")
        while (request := _read_request(reader)) is not None:
            head = f"RTSP/1.0 302 Found\r\nCSeq: {request[1]}\r\nLocation: {location}\r\n\r\n"
            connection.sendall(head.encode())

    return handle


def _read_request(reader: BinaryIO) -> tuple[str, str, str] | None:
    method, sequence, transport = "", "0", ""
    while True:
        line = reader.readline().decode("latin-1")
        if not line:
            return None
        if not line.strip():
            if method:
                return method, sequence, transport
            continue
        if not method:
            method = line.split(" ")[0]
        name, _, value = line.partition(":")
        if name.lower() == "cseq":
            sequence = value.strip()
        elif name.lower() == "transport":
            transport = value.strip()


def interleaved(units: Iterator[tuple[bytes, int]], pause_s: float = 0.01) -> Iterator[bytes]:
    """NAL units with their RTP times as single-NAL-unit RTP packets (RFC 6184 §5.6) in RTSP's TCP channel 0."""
    for sequence, (unit, timestamp) in enumerate(units):
        header = struct.pack(">BBHII", 0x80, 0x80 | 96, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 7)
        yield struct.pack(">cBH", b"$", 0, len(header) + len(unit)) + header + unit
        time.sleep(pause_s)
