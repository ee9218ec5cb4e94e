"""SocketServer: python-socketio's server, with what it leaves open closed.

1. Engine.IO waits for no more attachments than there can be, which is none: no command has binary parts.
2. What is no Socket.IO is passed over without a traceback for each packet that a stranger sends.
3. A connection that has not joined after :data:`JOIN_S` ends, and there are :data:`SESSIONS_MAX` of them at most.
4. A connection can be ended at once (:meth:`SocketServer.hang_up`), whether the client reads or not: the library itself
   would wait for its queue.
5. Nothing is compressed on a WebSocket, though browsers offer it (RFC 7692): a JPEG does not get smaller, and deflating
   it cost half as much again as sending it.
"""

import asyncio
import logging
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import engineio
import socketio
from aiohttp import web
from engineio.async_drivers.aiohttp import WebSocket
from engineio.packet import Packet, packet_names

from gateway.errors import UnavailableError, redact
from signaling.log import library_logger

log = logging.getLogger(__name__)

MESSAGE_MAX_BYTES = 256 * 1024
"""The largest honest message is an SDP offer."""


JOIN_S = 20.0
"""From connecting to Socket.IO's own CONNECT, which is the next packet: time for a slow line and a delayed refusal."""

SESSIONS_MAX = 1024
SESSIONS_PER_ADDRESS_MAX = 128
"""Limits as WebRTC's: an office behind one address has this many, an attack more."""


class _WebSocket(WebSocket):
    """Rule 5."""

    async def __call__(self, environ: dict[str, Any]) -> web.WebSocketResponse:
        self._sock = web.WebSocketResponse(max_msg_size=self.server.max_http_buffer_size, compress=False)
        await self._sock.prepare(environ["aiohttp.request"])
        self.environ = environ
        await self.handler(self)
        return self._sock

    async def wait(self) -> Any:
        """The next message; ``None``, which ends the connection, for one that is no Engine.IO packet at all."""
        data = await super().wait()
        try:
            packet_names[Packet(encoded_packet=data).packet_type]
        except Exception as error:
            # The library would let it through to the server's log, with a traceback for each.
            log.debug("a client sent something that is not Engine.IO: %s", redact(f"{type(error).__name__}: {error}"))
            return None
        return data


class _EngineServer(engineio.AsyncServer):
    """Remembers the transports that each Engine.IO session is seen on: polling has two, WebSocket another."""

    _async: dict[str, Any]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._async = {**self._async, "websocket": _WebSocket}
        self.addresses: WeakKeyDictionary[engineio.AsyncSocket, str] = WeakKeyDictionary()
        self.carriers: WeakKeyDictionary[engineio.AsyncSocket, WeakSet[asyncio.Transport]] = WeakKeyDictionary()

    async def handle_request(self, request: web.Request) -> Any:
        session = self.sockets.get(request.query.get("sid"))
        if "sid" not in request.query and self._is_full(request.remote or ""):
            raise UnavailableError("too many Socket.IO connections are open; try again later", retry_after_s=10)
        if session is not None and request.transport is not None:
            self.carriers.setdefault(session, WeakSet()).add(request.transport)
        return await super().handle_request(request)

    def _is_full(self, address: str) -> bool:
        # The library forgets those that are closed only now and then.
        addresses = [self.addresses.get(session) for session in self.sockets.values() if not session.closed]
        return len(addresses) >= SESSIONS_MAX or addresses.count(address) >= SESSIONS_PER_ADDRESS_MAX


class SocketServer(socketio.AsyncServer):
    """See the module. Serves the default namespace to aiohttp."""

    def __init__(self) -> None:
        logger = library_logger()
        super().__init__(
            async_mode="aiohttp",
            logger=logger,
            engineio_logger=logger,
            max_http_buffer_size=MESSAGE_MAX_BYTES,
            # Origins are looked at by the house's own door, for every route alike.
            cors_allowed_origins=[],
        )

        self._joining: dict[str, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Future[None]] = set()

    def waiting_for(self, sid: str) -> int:
        """Packets that wait to be sent to a client."""
        session = self.eio.sockets.get(self.manager.eio_sid_from_sid(sid, "/"))
        return session.queue.qsize() if session is not None else 0

    async def drain(self, sid: str) -> None:
        """Wait until all that waits for a client is sent."""
        session = self.eio.sockets.get(self.manager.eio_sid_from_sid(sid, "/"))
        if session is not None:
            await session.queue.join()

    def is_there(self, environ: dict[str, Any]) -> bool:
        """Whether the connection of an environment is one still."""
        return any(known is environ for known in self.environ.values())

    async def hang_up(self, sid: str) -> None:
        """End a client's connection at once."""
        await self._abort(self.manager.eio_sid_from_sid(sid, "/"))

    async def hang_up_all(self) -> None:
        """End every connection at once, of clients that have not joined as well."""
        for eio_sid in tuple(self.eio.sockets):
            await self._abort(eio_sid)

    async def _abort(self, eio_sid: str | None) -> None:
        session = self.eio.sockets.get(eio_sid)
        carriers = [*self.eio.carriers.get(session, ())] if session is not None else []
        if eio_sid in self.environ:
            carriers.append(self.environ[eio_sid]["aiohttp.request"].transport)
        if session is not None:
            # Else a client that polls would go on with another connection.
            await session.close(wait=False, abort=True)
        for carrier in carriers:
            if carrier is not None:
                carrier.abort()

    def _engineio_server_class(self) -> type[engineio.AsyncServer]:
        return _EngineServer

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> Any:
        self.eio.addresses[self.eio.sockets[eio_sid]] = environ["aiohttp.request"].remote or ""
        timer = asyncio.get_running_loop().call_later(JOIN_S, self._end_unless_joined, eio_sid)
        self._joining[eio_sid] = timer
        return await super()._handle_eio_connect(eio_sid, environ)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        if (timer := self._joining.pop(eio_sid, None)) is not None:
            timer.cancel()
        await super()._handle_eio_disconnect(eio_sid, reason)

    def _end_unless_joined(self, eio_sid: str) -> None:
        del self._joining[eio_sid]
        if self.manager.sid_from_eio_sid(eio_sid, "/") is None:
            task = asyncio.ensure_future(self._abort(eio_sid))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _handle_eio_message(self, eio_sid: str, data: object) -> None:
        if not isinstance(data, str):
            return
        try:
            await super()._handle_eio_message(eio_sid, data)
        except Exception as error:
            log.debug("a client sent something that is not Socket.IO: %s", redact(f"{type(error).__name__}: {error}"))
        self._binary_packet.pop(eio_sid, None)

    async def _handle_event_internal(
        self, server: Any, sid: str, eio_sid: str, data: list[Any], namespace: str, id: int | None
    ) -> None:
        try:
            await super()._handle_event_internal(server, sid, eio_sid, data, namespace, id)
        except Exception as error:
            log.debug("a client sent an event that is none: %s", redact(f"{type(error).__name__}: {error}"))
