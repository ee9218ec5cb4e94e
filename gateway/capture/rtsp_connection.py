"""RtspConnection: the asyncio side of one RTSP session over TCP, TLS or an HTTP tunnel. It moves bytes and times.

Theory of operation. The socket reads straight into the parser's buffer (:class:`asyncio.BufferedProtocol`); complete
interleaved frames go to ``on_frame`` in the same call, without a task or a queue between. Requests are awaited one at a
time. What ends the connection is raised once, to the caller that waits for it.

A stream that nobody watches needs no promptness. With :attr:`RtspConnection.reads_in_batches` the socket is read with
those of all such streams, eleven times a second (:mod:`gateway.capture.batch_reads`), and what comes in between waits
in the kernel. That saves two thirds of the wakeups and of the calls into the kernel. The transport stays paused and the
socket is read past it: to resume and pause it would cost three more calls into the kernel, and as much time again.

Rules:

1. Writing is bounded: requests, receiver reports and answers are small, and a peer that leaves
   :data:`WRITE_MAX_BYTES` of them unread is disconnected.
2. A peer that sends more than :data:`WORK_PER_S` frames a second, or a hundredth of it messages, is disconnected: it
   would take the time of all other cameras and of the viewers.
3. The body of a message whose rest does not come for :data:`BODY_WAIT_S` ends there: some cameras count it wrongly, or
   not at all.
4. An error of the parser, of a callback or of the socket ends the connection; :meth:`wait_ended` raises it.
"""

import asyncio
import os
import ssl
from collections.abc import Callable
from typing import cast

from gateway.capture.batch_reads import batch_reads
from gateway.rtsp.errors import RtspProtocolError
from gateway.rtsp.messages import Message, Request, Response, StreamParser
from gateway.tcp_backlog import unacknowledged_bytes

WRITE_MAX_BYTES = 1024 * 1024
"""What may wait to be sent. All requests and reports of an hour are less."""

WORK_PER_S = 20_000
"""Frames a second (:attr:`~gateway.rtsp.messages.StreamParser.work_left`): 190 Mbit/s in packets of 1,200 bytes."""

WORK_MAX = 2 * WORK_PER_S
"""What a peer may send at once, after a pause."""

BATCH_MIN_BYTES = 16 * 1024
"""A read of more is followed by another one at once: the rest may still be with the camera, where the receive window of
TCP has kept it."""


BODY_WAIT_S = 2.0
"""Longer than the network takes to send a lost packet again."""

TEARDOWN_S = 0.2
"""How long a TEARDOWN may take to be sent before the connection is closed anyway, in seconds."""


def unsent_bytes(transport: asyncio.WriteTransport | None) -> int:
    """What was written and is not acknowledged, in the process and in the kernel."""
    if transport is None or transport.is_closing():
        return 0
    return transport.get_write_buffer_size() + unacknowledged_bytes(transport.get_extra_info("socket"))


class RtspConnection(asyncio.BufferedProtocol):
    """One connection; see the module."""

    def __init__(self, on_frame: Callable[[int, memoryview], None], on_message: Callable[[Message], None]) -> None:
        """``on_frame`` gets channel and payload of each interleaved frame, a view that is valid during the call."""
        self.parser = StreamParser(on_frame, on_message)
        self.parser.work_left = WORK_MAX
        self._refilled_s = asyncio.get_running_loop().time()
        self.on_write_paused: Callable[[bool], None] = lambda is_paused: None
        """Called when the peer reads too slowly, and when it has caught up."""
        self.reads_in_batches: Callable[[], bool] = lambda: False
        """Asked after each read; see the module."""
        self._batches = batch_reads()
        self._is_in_batch = False
        """Whether it waits for the next one."""
        self._body_end: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._descriptor: int | None = None
        """The socket's, where its bytes are the stream; ``None`` for TLS."""
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # It is read at once: a connection may end with nobody waiting.
        self._ended.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        on_frame: Callable[[int, memoryview], None],
        on_message: Callable[[Message], None],
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> "RtspConnection":
        """Connect to an address. Raises ``OSError`` (``ssl.SSLError`` among them)."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(
            lambda: cls(on_frame, on_message),
            host,
            port,
            ssl=tls,
            server_hostname=server_name if tls is not None else None,
        )
        return protocol

    @property
    def peer(self) -> str:
        """The address at the other end."""
        assert self._transport is not None
        return str(self._transport.get_extra_info("peername")[0])

    @property
    def local(self) -> str:
        """Our own address on this connection."""
        assert self._transport is not None
        return str(self._transport.get_extra_info("sockname")[0])

    @property
    def is_reading(self) -> bool:
        """Whether the socket is read as soon as something comes."""
        return self._transport is not None and self._transport.is_reading()

    @property
    def unsent_bytes(self) -> int:
        """What was written and the peer has not acknowledged."""
        return unsent_bytes(self._transport)

    def send(self, message: Request | Response) -> None:
        """Write a message. A closed connection swallows it: :meth:`wait_ended` tells."""
        self.write(message.encode())

    def write(self, data: bytes) -> None:
        """Write bytes as they are: an interleaved frame."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > WRITE_MAX_BYTES:
            self.fail(RtspProtocolError("it sends requests and reads no answers"))
            return
        self._transport.write(data)

    def pause_reading(self, is_paused: bool) -> None:
        """Leave what comes in the socket, or read on."""
        if self._transport is not None and not self._transport.is_closing():
            (self._transport.pause_reading if is_paused else self._transport.resume_reading)()

    async def wait_ended(self) -> None:
        """Wait for the end. Returns when the peer closed the connection, raises what broke it."""
        await asyncio.shield(self._ended)

    def fail(self, error: BaseException) -> None:
        """End the connection with an error."""
        if not self._ended.done():
            self._ended.set_exception(error)
        self.abort()

    def close(self) -> None:
        """Close after what was written has been sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    async def hang_up(self, teardown: Request | None) -> None:
        """Say goodbye and close. A peer that does not read is waited for :data:`TEARDOWN_S`."""
        if teardown is not None:
            self.send(teardown)
        self.close()
        try:
            async with asyncio.timeout(TEARDOWN_S):
                await self.wait_ended()
        except Exception:
            self.abort()
        except asyncio.CancelledError:
            self.abort()
            raise

    # --- asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if transport.get_extra_info("sslcontext") is None:
            self._descriptor = transport.get_extra_info("socket").fileno()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.parser.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        if not self._take(nbytes) or self._is_in_batch:
            return
        if not self.reads_in_batches():
            self._batches.prompt_at = self._refilled_s
        elif nbytes < BATCH_MIN_BYTES:
            self.pause_reading(True)
            self._wait_for_batch()

    def _take(self, nbytes: int) -> bool:
        """Parse what was read; whether that succeeded."""
        now = asyncio.get_running_loop().time()
        work = self.parser.work_left + (now - self._refilled_s) * WORK_PER_S
        self.parser.work_left, self._refilled_s = min(WORK_MAX, work), now
        try:
            self.parser.received(nbytes)
        except Exception as error:
            self.fail(error)
            return False
        if self._body_end is not None or self.parser.is_in_body:
            self._await_body()
        return True

    def _await_body(self) -> None:
        """Rule 3."""
        if self._body_end is not None:
            self._body_end.cancel()
        loop = asyncio.get_running_loop()
        self._body_end = loop.call_later(BODY_WAIT_S, self._end_body) if self.parser.is_in_body else None

    def _end_body(self) -> None:
        self._body_end = None
        try:
            self.parser.end_body()
        except Exception as error:
            self.fail(error)

    def _wait_for_batch(self) -> None:
        self._is_in_batch = True
        self._batches.add(self._read_batch)

    def _read_batch(self) -> None:
        """Read the socket, which is not polled. Where there is nothing, or more than a batch, poll it again."""
        self._is_in_batch = False
        if self._transport is None or self._transport.is_closing():
            return
        size = 0
        if self._descriptor is not None and self.reads_in_batches():
            try:
                size = os.readv(self._descriptor, [self.parser.get_buffer()])
            except OSError:
                size = 0  # nothing there, or an error, which the transport finds too
        if size > 0 and not self._take(size):
            return
        if 0 < size < BATCH_MIN_BYTES:
            self._wait_for_batch()
        else:
            self.pause_reading(False)

    def pause_writing(self) -> None:
        self.on_write_paused(True)

    def resume_writing(self) -> None:
        self.on_write_paused(False)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._batches.discard(self._read_batch)
        if self._body_end is not None:
            self._body_end.cancel()
        if not self._ended.done():
            if exc is None:
                self._ended.set_result(None)
            else:
                self._ended.set_exception(exc)
