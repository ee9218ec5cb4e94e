"""TcpRelay: stands between libav and a camera of a protocol over TCP (RTMP): bytes pass unchanged, bounds are ours.

Rules:

1. Every address of the host is checked before the first is connected to, as for RTSP. TLS ends in the relay.
2. One connection of libav at a time, :data:`CONNECTIONS_MAX` one after the other: libav hangs up and comes again where
   the server asks for credentials. The relay itself adds none.
3. What libav takes in, and the time, are bounded by :class:`~gateway.capture.watch.Watch`. A camera that is faster than
   libav is not read: TCP slows it down.
4. What is accepted is closed at the end, too. An ``asyncio.Server`` that is closed in the turn of the loop in which it
   accepts a connection leaves that one open (``Server._attach`` raises, Python 3.11): libav waited for it.
"""

import asyncio
import contextlib
import socket

from gateway.capture import camera_errors, resolver
from gateway.capture.engine import CaptureSource
from gateway.capture.rtsp_connect import tls_context
from gateway.capture.url import CameraUrl
from gateway.capture.watch import Watch
from gateway.errors import CaptureError

CONNECTIONS_MAX = 3

HANG_UP_S = 1.0
"""How long a connection waits for the end of the one before; the relay closes it then."""

TICK_S = 0.1
"""How often the watch is asked, in seconds."""

READ_BYTES = 64 * 1024

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class TcpRelay:
    """See the module. All methods are called on the loop; :class:`~gateway.capture.libav_relayed.Relay` says what they
    do."""

    def __init__(self, url: CameraUrl, source: CaptureSource, watch: Watch, tls_schemes: frozenset[str]) -> None:
        self.error: CaptureError | None = None
        self.refusal: CaptureError | None = None
        self._url = url
        self._source = source
        self._watch = watch
        self._has_tls = url.scheme in tls_schemes
        self._waiting: Stream | None = None
        """The connection that :meth:`start` has made, for libav's first."""
        self._listener: socket.socket | None = None
        self._connections = 0
        self._pumps: set[asyncio.Task[None]] = set()
        self._is_ended = False

    async def start(self) -> str:
        """Connect to the camera; the host and port that libav connects to."""
        self._waiting = await self._connect()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)
        port = self._listener.getsockname()[1]
        self._tick()
        return f"127.0.0.1:{port}"

    def end(self) -> None:
        """Close all connections at once."""
        self._is_ended = True
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        if self._waiting is not None:
            self._waiting[1].transport.abort()
        for task in self._pumps:
            task.cancel()

    async def close(self) -> None:
        """End, and wait until everything is closed."""
        self.end()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _connect(self) -> Stream:
        found = await resolver.addresses(self._url, self._source)
        context = tls_context(self._source) if self._has_tls else None
        for number, address in enumerate(found, start=1):
            try:
                async with asyncio.timeout(self._source.timeout_s * number / len(found)):
                    return await asyncio.open_connection(
                        str(address),
                        self._url.connect_port,
                        ssl=context,
                        server_hostname=self._url.host if context is not None else None,
                        limit=READ_BYTES,
                    )
            except (OSError, TimeoutError) as error:
                if number == len(found):
                    raise camera_errors.connect_failed(error, self._url, self._source.timeout_s) from None
        raise camera_errors.not_opened(self._url, "its name has no address")

    def _accept(self) -> None:
        """Rule 4."""
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if self._connections >= CONNECTIONS_MAX:
            connection.close()
            return
        connection.setblocking(False)
        self._connections += 1
        task = asyncio.create_task(self._serve(connection, {*self._pumps}))
        self._pumps.add(task)
        # Also where it was cancelled before it began.
        task.add_done_callback(lambda _: connection.close())
        task.add_done_callback(self._pumps.discard)

    async def _serve(self, connection: socket.socket, before: set[asyncio.Task[None]]) -> None:
        libav: Stream | None = None
        camera: Stream | None = None
        try:
            # libav has hung up: the end of that connection may be read later than this one was accepted.
            if before and (await asyncio.wait(before, timeout=HANG_UP_S))[1]:
                return
            camera, self._waiting = self._waiting, None
            libav = await asyncio.open_connection(sock=connection, limit=READ_BYTES)
            camera = camera or await self._connect()
            await self._join(libav, camera)
        except CaptureError as error:
            self.error = self.error or error
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for _, writer in filter(None, (libav, camera)):
                writer.transport.abort()

    async def _join(self, libav: Stream, camera: Stream) -> None:
        """Move bytes until one side ends; libav has what came before the camera's end."""
        up = asyncio.create_task(self._pump(libav[0], camera[1], is_counted=False))
        down = asyncio.create_task(self._pump(camera[0], libav[1], is_counted=True))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if down.done():
                libav[1].close()
                with contextlib.suppress(OSError):
                    await libav[1].wait_closed()
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, is_counted: bool) -> None:
        while data := await source.read(READ_BYTES):
            if is_counted:
                self._watch.count(len(data))
                if self._watch.fault is not None:
                    return
            target.write(data)
            await target.drain()

    def _tick(self) -> None:
        if self._is_ended:
            return
        fault = self._watch.fault
        if fault is not None:
            self.error = self.error or fault
            self.end()
        else:
            asyncio.get_running_loop().call_later(TICK_S, self._tick)
