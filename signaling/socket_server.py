"""SocketServer: python-socketio's server, with limits and with connections that can be closed at once.

1. Binary parts of a message are not accepted: no command has any.
2. A packet that is not Socket.IO is ignored and counted, without a traceback for each.
3. A connection that has not joined after :data:`JOIN_S` is closed. There are at most :data:`SESSIONS_MAX` connections.
4. A connection can be closed at once (:meth:`SocketServer.abort`), even if the client does not read. The library itself
   would wait until its queue is sent.
5. WebSocket messages are not compressed, though browsers offer it (RFC 7692): a JPEG does not get smaller, and
   deflating it cost half as much CPU again as sending it.
"""

import asyncio
import logging
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import engineio
from aiohttp import web

from gateway.errors import UnavailableError, redact
from signaling.compat import HookedEngine, HookedServer
from signaling.log import library_logger

log = logging.getLogger(__name__)

MESSAGE_MAX_BYTES = 256 * 1024
"""The largest valid message is an SDP offer."""

JOIN_S = 20.0
"""From connecting to Socket.IO's CONNECT, which is the next packet: enough for a slow line and a delayed refusal."""

SESSIONS_MAX = 1024
SESSIONS_PER_ADDRESS_MAX = 128
"""Limits as for WebRTC: an office behind one address has this many, an attack more."""


class _Engine(HookedEngine):
    """Knows the address and the TCP transports of each session: polling has two, WebSocket another."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.invalid_packets = 0
        self.connections_refused = 0
        self.addresses: WeakKeyDictionary[engineio.AsyncSocket, str] = WeakKeyDictionary()
        self.tcp_transports: WeakKeyDictionary[engineio.AsyncSocket, WeakSet[asyncio.Transport]] = WeakKeyDictionary()

    async def handle_request(self, request: web.Request) -> Any:
        session = self.sockets.get(request.query.get("sid"))
        if "sid" not in request.query and self._is_full(request.remote or ""):
            self.connections_refused += 1
            raise UnavailableError("too many Socket.IO connections are open; try again later", retry_after_s=10)
        if session is not None and request.transport is not None:
            self.tcp_transports.setdefault(session, WeakSet()).add(request.transport)
        return await super().handle_request(request)

    def invalid_message(self, error: Exception, client: str) -> None:
        self.invalid_packets += 1
        why = redact(f"{type(error).__name__}: {error}")
        log.debug("a client sent a message that is not Engine.IO: %s", why, extra={"client": client})

    def _is_full(self, address: str) -> bool:
        # The library removes closed sessions only now and then.
        addresses = [self.addresses.get(session) for session in self.sockets.values() if not session.closed]
        return len(addresses) >= SESSIONS_MAX or addresses.count(address) >= SESSIONS_PER_ADDRESS_MAX


class SocketServer(HookedServer):
    """See the module. Serves the default namespace to aiohttp."""

    engine_class = _Engine

    def __init__(self) -> None:
        logger = library_logger()
        super().__init__(
            async_mode="aiohttp",
            logger=logger,
            engineio_logger=logger,
            max_http_buffer_size=MESSAGE_MAX_BYTES,
            # The application's middleware checks origins, for every route alike.
            cors_allowed_origins=[],
        )
        self._invalid_packets = 0
        self._join_timers: dict[str, asyncio.TimerHandle] = {}
        self._aborts: set[asyncio.Future[None]] = set()

    @property
    def invalid_packets(self) -> int:
        """Packets from clients that were not Engine.IO or not Socket.IO, since the start."""
        return self._invalid_packets + int(self.eio.invalid_packets)

    @property
    def connections_refused(self) -> int:
        """Connections refused by rule 3, since the start."""
        return int(self.eio.connections_refused)

    def queue_size(self, sid: str) -> int:
        """Packets that wait to be sent to a client."""
        session = self.engine_session(sid)
        return session.queue.qsize() if session is not None else 0

    async def drain(self, sid: str) -> None:
        """Wait until all queued packets of a client are sent."""
        session = self.engine_session(sid)
        if session is not None:
            await session.queue.join()

    def is_open(self, environ: dict[str, Any]) -> bool:
        """Whether the connection of an environment is still open."""
        return any(known is environ for known in self.environ.values())

    async def abort(self, sid: str) -> None:
        """Close a client's connection at once."""
        await self._abort_session(self.engine_sid(sid))

    async def abort_all(self) -> None:
        """Close every connection at once, also of clients that have not joined."""
        for eio_sid in tuple(self.eio.sockets):
            await self._abort_session(eio_sid)

    async def _abort_session(self, eio_sid: str | None) -> None:
        session = self.eio.sockets.get(eio_sid)
        transports = [*self.eio.tcp_transports.get(session, ())] if session is not None else []
        if eio_sid in self.environ:
            transports.append(self.environ[eio_sid]["aiohttp.request"].transport)
        if session is not None:
            # Otherwise a client that polls would continue on another connection.
            await session.close(wait=False, abort=True)
        for transport in transports:
            if transport is not None:
                transport.abort()

    def engine_connected(self, eio_sid: str, environ: dict[str, Any]) -> None:
        self.eio.addresses[self.eio.sockets[eio_sid]] = environ["aiohttp.request"].remote or ""
        timer = asyncio.get_running_loop().call_later(JOIN_S, self._abort_unless_joined, eio_sid)
        self._join_timers[eio_sid] = timer

    def engine_disconnected(self, eio_sid: str) -> None:
        if (timer := self._join_timers.pop(eio_sid, None)) is not None:
            timer.cancel()

    def invalid_packet(self, error: Exception, eio_sid: str) -> None:
        self._invalid_packets += 1
        client = self.eio.addresses.get(self.eio.sockets.get(eio_sid), "")
        why = redact(f"{type(error).__name__}: {error}")
        log.debug("a client sent a packet that is not Socket.IO: %s", why, extra={"client": client})

    def _abort_unless_joined(self, eio_sid: str) -> None:
        del self._join_timers[eio_sid]
        if not self.has_joined(eio_sid):
            task = asyncio.ensure_future(self._abort_session(eio_sid))
            self._aborts.add(task)
            task.add_done_callback(self._aborts.discard)
