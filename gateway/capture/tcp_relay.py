"""TcpRelay: stands between libav and a camera of a protocol over TCP (RTMP): bytes pass unchanged, bounds are ours.

Rules:

1. Every address of the host is checked before the first is connected to, as for RTSP. TLS ends in the relay.
2. One connection of libav at a time, :data:`CONNECTIONS_MAX` one after the other: libav hangs up and comes again where
   the server asks for credentials. The relay itself adds none.
3. What libav takes in, and the time, are bounded by :class:`~gateway.capture.watch.Watch`. A camera that is faster than
   libav is not read: TCP slows it down.
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
        self._server: asyncio.Server | None = None
        self._connections = 0
        self._pumps: set[asyncio.Task[None]] = set()
        self._is_ended = False

    async def start(self) -> str:
        """Connect to the camera; the host and port that libav connects to."""
        self._waiting = await self._connect()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        port = self._listener.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=self._listener)
        self._tick()
        return f"127.0.0.1:{port}"

    def end(self) -> None:
        """Close all connections at once."""
        self._is_ended = True
        if self._server is not None:
            self._server.close()
        elif self._listener is not None:
            # It was ended while it was started.
            self._listener.close()
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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._is_ended or self._pumps or self._connections >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        self._pumps.add(task)
        self._connections += 1
        camera, self._waiting = self._waiting, None
        try:
            camera = camera or await self._connect()
            await self._join((reader, writer), camera)
        except CaptureError as error:
            self.error = self.error or error
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for each in (writer, *(() if camera is None else (camera[1],))):
                each.transport.abort()
            self._pumps.discard(task)

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
