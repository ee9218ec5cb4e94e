"""SocketServer: python-socketio's server, with limits and with connections that can be closed at once.

1. Binary parts of a message are not accepted: no command has any.
2. A packet that is not Socket.IO is ignored and counted, without a traceback for each.
3. A connection that has not joined after :data:`JOIN_S` is closed. There are at most :data:`UNJOINED_MAX` of them: for
   one more, the oldest of the network with the most is closed. So connections that do nothing keep nobody out.
   :mod:`signaling.browser` limits those that have joined.
4. A connection can be closed at once (:meth:`SocketServer.abort`), even if the client does not read. The library itself
   would wait until its queue is sent.
5. WebSocket messages are not compressed, though browsers offer it (RFC 7692): a JPEG does not get smaller, and
   deflating it cost half as much CPU again as sending it.
"""

import asyncio
import logging
from collections import Counter
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import engineio
from aiohttp import web

from gateway.client_address import client_network
from gateway.errors import ConflictError, redact
from signaling.compat import HookedEngine, HookedServer
from signaling.log import library_logger

log = logging.getLogger(__name__)

MESSAGE_MAX_BYTES = 256 * 1024
"""The largest valid message is an SDP offer."""

JOIN_S = 10.0
"""From connecting to Socket.IO's CONNECT, which is the next packet: enough for a slow line and a delayed refusal."""

PROCESS_END = "."
"""In an id, ends the name of the process that gave it: a worker's number, or a node's name. What follows has none."""

UNJOINED_MAX = 512
"""A client has joined after two round trips. After a restart, this many may do so at a time."""


class _Engine(HookedEngine):
    """Knows the address of each session, and the TCP transports of its open requests: up to two polls, a WebSocket."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sid_prefix = ""
        """Of the ids of all sessions."""
        self.invalid_packets = 0
        self.addresses: WeakKeyDictionary[engineio.AsyncSocket, str] = WeakKeyDictionary()
        self.tcp_transports: WeakKeyDictionary[engineio.AsyncSocket, WeakSet[asyncio.Transport]] = WeakKeyDictionary()

    def generate_id(self) -> str:
        return f"{self.sid_prefix}{super().generate_id()}"

    async def handle_request(self, request: web.Request) -> Any:
        session = self.sockets.get(request.query.get("sid"))
        if session is not None and session.upgrading and "Upgrade" in request.headers:
            raise ConflictError("this Socket.IO connection is being upgraded already")
        transport = request.transport
        if session is None or transport is None:
            return await super().handle_request(request)
        # Only while the request is open: a proxy then uses the connection for other clients.
        transports = self.tcp_transports.setdefault(session, WeakSet())
        transports.add(transport)
        try:
            return await super().handle_request(request)
        finally:
            transports.discard(transport)

    def invalid_message(self, error: Exception, client: str) -> None:
        self.invalid_packets += 1
        why = redact(f"{type(error).__name__}: {error}")
        log.debug("a client sent a message that is not Engine.IO: %s", why, extra={"client": client})

    def invalid_request(self, why: str) -> None:
        self.invalid_packets += 1
        log.debug("a client sent an Engine.IO request that is refused: %s", why)


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
        self._unjoined: dict[str, tuple[str, asyncio.TimerHandle]] = {}
        """By Engine.IO session, the oldest first: its client's network, and the timer of rule 3."""
        self.unjoined_evicted = 0
        """Connections that had not joined and were closed for another (rule 3)."""
        self._aborts: set[asyncio.Future[None]] = set()

    @property
    def invalid_packets(self) -> int:
        """Packets from clients that were not Engine.IO or not Socket.IO, since the start."""
        return self._invalid_packets + int(self.eio.invalid_packets)

    @property
    def unjoined(self) -> int:
        """Connections that have not joined."""
        return len(self._unjoined)

    def joined(self, sid: str) -> str | None:
        """A client has joined, so that rule 3 does not apply any more. Returns its Engine.IO session id."""
        eio_sid = self.engine_sid(sid)
        if eio_sid is not None:
            self.engine_disconnected(eio_sid)
        return eio_sid

    def left(self, eio_sid: str | None) -> None:
        """A client has left. If its connection is open, rule 3 applies again."""
        session = self.eio.sockets.get(eio_sid)
        if eio_sid is not None and session is not None and not (session.closing or session.closed):
            self._add_unjoined(eio_sid, client_network(self.eio.addresses.get(session, "")))

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
            opened_by = self.environ[eio_sid]["aiohttp.request"]
            if "Upgrade" in opened_by.headers:  # a WebSocket, which is this request
                transports.append(opened_by.transport)
        if session is not None:
            # Otherwise a client that polls would continue on another connection.
            await session.close(wait=False, abort=True)
            self.eio.forget(session)
        for transport in transports:
            if transport is not None:
                transport.abort()

    def engine_connected(self, eio_sid: str, environ: dict[str, Any]) -> None:
        address = environ["aiohttp.request"].remote or ""
        self.eio.addresses[self.eio.sockets[eio_sid]] = address
        if len(self._unjoined) >= UNJOINED_MAX:
            self._evict_unjoined()
        self._add_unjoined(eio_sid, client_network(address))

    def engine_disconnected(self, eio_sid: str) -> None:
        if (unjoined := self._unjoined.pop(eio_sid, None)) is not None:
            unjoined[1].cancel()

    def invalid_packet(self, error: Exception, eio_sid: str) -> None:
        self._invalid_packets += 1
        client = self.eio.addresses.get(self.eio.sockets.get(eio_sid), "")
        why = redact(f"{type(error).__name__}: {error}")
        log.debug("a client sent a packet that is not Socket.IO: %s", why, extra={"client": client})

    def _add_unjoined(self, eio_sid: str, network: str) -> None:
        timer = asyncio.get_running_loop().call_later(JOIN_S, self._abort_soon, eio_sid)
        self._unjoined[eio_sid] = network, timer

    def _evict_unjoined(self) -> None:
        """Rule 3."""
        network = Counter(network for network, _ in self._unjoined.values()).most_common(1)[0][0]
        self._abort_soon(next(eio_sid for eio_sid, (each, _) in self._unjoined.items() if each == network))
        self.unjoined_evicted += 1

    def _abort_soon(self, eio_sid: str) -> None:
        self.engine_disconnected(eio_sid)
        task = asyncio.ensure_future(self._abort_session(eio_sid))
        self._aborts.add(task)
        task.add_done_callback(self._aborts.discard)
