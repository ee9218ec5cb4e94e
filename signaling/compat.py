"""What this package uses of python-socketio and python-engineio beyond their documented interface, in one place.

Both libraries leave things open that a server on the open internet needs: a limit of connections, a certain end of a
connection, and no traceback for every malformed packet. The classes here give the private hooks public names, and
:mod:`signaling.socket_server` and :mod:`signaling.ems_client` use those. tests/signaling/test_compat.py names each
attribute that is used here, so that a new version of a library that has changed one fails there, with its name.
"""

import asyncio
import asyncio.trsock
import contextlib
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
import engineio
import socketio
from aiohttp import web
from engineio.async_drivers.aiohttp import WebSocket
from engineio.async_socket import AsyncSocket
from engineio.packet import Packet, packet_names

HANDSHAKE_MAX = 4096
"""A handshake is some 150 characters."""

UPGRADE_S = 10.0
"""From polling to WebSocket: two round trips."""


class HandshakeWebSocket(aiohttp.ClientWebSocketResponse):
    """A WebSocket that keeps its first message, the handshake of Engine.IO."""

    first_message: object = None

    async def receive(self, timeout: float | None = None) -> aiohttp.WSMessage:
        message = await super().receive(timeout)
        if self.first_message is None:
            self.first_message = message.data
        return message


class HandshakeEngineClient(engineio.AsyncClient):
    """engineio's client. It keeps the text of the server's handshake, of which the library forgets most."""

    _polled: str = ""

    @property
    def handshake_text(self) -> str:
        """The server's first packet as it came; empty before."""
        first = self.ws.first_message if isinstance(self.ws, HandshakeWebSocket) else None
        return self._polled or (first if isinstance(first, str) else "")

    async def _send_request(self, method: str, url: str, **options: Any) -> Any:
        response = await super()._send_request(method, url, **options)
        if not self._polled and isinstance(response, aiohttp.ClientResponse):
            # aiohttp keeps the body for the library, which reads it next.
            self._polled = (await response.read())[:HANDSHAKE_MAX].decode(errors="replace")
        return response


class HookedClient(socketio.AsyncClient):
    """python-socketio's client. :meth:`packet_received` is called for each packet."""

    _binary_packet: Any

    @property
    def handshake_text(self) -> str:
        """The server's handshake of Engine.IO as it came."""
        text: str = self.eio.handshake_text
        return text

    def _engineio_client_class(self) -> type[engineio.AsyncClient]:
        return HandshakeEngineClient

    async def packet_received(self, data: object) -> None:
        """Handle an Engine.IO message. A subclass may catch what this raises for a malformed packet."""
        await super()._handle_eio_message(data)

    @property
    def attachments_awaited(self) -> int:
        """How many attachments (binary parts) an event that is being received announced; 0 without one."""
        return self._binary_packet.attachment_count if self._binary_packet is not None else 0

    def drop_binary_packet(self) -> None:
        """Drop an event whose attachments have not all arrived."""
        self._binary_packet = None

    @property
    def transport_socket(self) -> asyncio.trsock.TransportSocket | None:
        """The WebSocket's socket, while there is one."""
        return self.eio.ws.get_extra_info("socket") if self.eio.ws is not None else None

    @property
    def is_open(self) -> bool:
        """Whether the connection is open at every layer: Socket.IO, Engine.IO and WebSocket."""
        return self.connected and self.eio.state == "connected" and not (self.eio.ws and self.eio.ws.closed)

    @property
    def read_task(self) -> "asyncio.Task[None] | None":
        """The task that reads from the connection."""
        return self.eio.read_loop_task

    @property
    def write_task(self) -> "asyncio.Task[None] | None":
        """The task that writes to the connection."""
        return self.eio.write_loop_task

    async def drain(self) -> None:
        """Wait until all queued packets are written to the socket."""
        await self.eio.queue.join()

    def deregister(self) -> None:
        """Remove it from the module-wide list that the library keeps to handle Ctrl-C.

        The library does so itself only if the disconnect succeeds.
        """
        with contextlib.suppress(ValueError):
            engineio.base_client.connected_clients.remove(self.eio)

    async def _handle_eio_message(self, data: object) -> None:
        await self.packet_received(data)


def environ_address(environ: dict[str, Any]) -> str:
    """The client's address, from the environment that the libraries pass on."""
    return environ["aiohttp.request"].remote or ""


class UncompressedWebSocket(WebSocket):
    """engineio's WebSocket for aiohttp, without compression, and with no traceback for malformed packets."""

    async def __call__(self, environ: dict[str, Any]) -> web.WebSocketResponse:
        self._sock = web.WebSocketResponse(max_msg_size=self.server.max_http_buffer_size, compress=False)
        # An upgrade from polling takes two messages. The library would wait for them without end.
        self._upgrade_messages = 2 if "sid" in environ["aiohttp.request"].query else 0
        await self._sock.prepare(environ["aiohttp.request"])
        self.environ = environ
        await self.handler(self)
        return self._sock

    async def wait(self) -> Any:
        """The next message; ``None``, which ends the connection, if it is not an Engine.IO packet."""
        is_upgrade = self._upgrade_messages > 0
        self._upgrade_messages -= is_upgrade
        async with asyncio.timeout(UPGRADE_S if is_upgrade else None):
            data = await super().wait()
        try:
            packet_names[Packet(encoded_packet=data).packet_type]
        except Exception as error:
            # The library would raise it into the server's log, with a traceback for each.
            self.server.invalid_message(error, environ_address(self.environ))
            return None
        return data


class HookedEngine(engineio.AsyncServer):
    """engineio's server with :class:`UncompressedWebSocket`."""

    _async: dict[str, Any]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._async = {**self._async, "websocket": UncompressedWebSocket}
        self._pings: WeakKeyDictionary[AsyncSocket, asyncio.Task[Any]] = WeakKeyDictionary()

    def invalid_message(self, error: Exception, client: str) -> None:
        """A client sent a message that is not an Engine.IO packet; its connection ends. For a subclass to override."""

    def invalid_request(self, why: str) -> None:
        """A client sent a request that is refused, such as one for a session that is over. For a subclass."""

    def _log_error_once(self, message: str, message_key: str) -> None:
        # The library logs a client's first fault of each kind as an error of the server.
        if message_key == "no-websocket":
            super()._log_error_once(message, message_key)
        else:
            self.invalid_request(message_key)

    def forget(self, session: AsyncSocket) -> None:
        """Release a closed session at once. The library would keep it for up to a minute."""
        self.sockets.pop(session.sid, None)
        self.end_pings(session)

    def end_pings(self, session: AsyncSocket) -> None:
        """End the task that waits to send the next ping. The library would keep it, and the session, for 25 s."""
        ping = self._pings.pop(session, None)
        if ping is not None and ping is not asyncio.current_task():
            ping.cancel()

    def start_background_task(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        """As in the library. Remembers the task that waits to send the next ping of a session."""
        task = super().start_background_task(target, *args, **kwargs)
        session = getattr(target, "__self__", None)
        if isinstance(session, AsyncSocket):
            self._pings[session] = task
        return task


class HookedServer(socketio.AsyncServer):
    """python-socketio's server whose private hooks are public methods, for a subclass to override."""

    engine_class: type[HookedEngine] = HookedEngine
    """The class of :attr:`eio`."""

    def engine_connected(self, eio_sid: str, environ: dict[str, Any]) -> None:
        """An Engine.IO session was opened."""

    def engine_disconnected(self, eio_sid: str) -> None:
        """An Engine.IO session was closed."""

    def invalid_packet(self, error: Exception, eio_sid: str) -> None:
        """A client sent a packet that is not Socket.IO, or an event that is malformed."""

    def engine_session(self, sid: str) -> Any:
        """The Engine.IO session of a client, or ``None``."""
        return self.eio.sockets.get(self.engine_sid(sid))

    def engine_sid(self, sid: str) -> str | None:
        """The Engine.IO session id of a client, or ``None``."""
        eio_sid: str | None = self.manager.eio_sid_from_sid(sid, "/")
        return eio_sid

    def has_joined(self, eio_sid: str) -> bool:
        """Whether an Engine.IO session has a Socket.IO connection."""
        return self.manager.sid_from_eio_sid(eio_sid, "/") is not None

    def is_connected(self, sid: str) -> bool:
        """Whether a client is connected."""
        connected: bool = self.manager.is_connected(sid, "/")
        return connected

    def _engineio_server_class(self) -> type[engineio.AsyncServer]:
        return self.engine_class

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> Any:
        self.engine_connected(eio_sid, environ)
        return await super()._handle_eio_connect(eio_sid, environ)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        self.engine_disconnected(eio_sid)
        if (session := self.eio.sockets.get(eio_sid)) is not None:
            self.eio.end_pings(session)
        await super()._handle_eio_disconnect(eio_sid, reason)

    async def _handle_eio_message(self, eio_sid: str, data: object) -> None:
        # No command has binary parts, so none are accepted or awaited.
        if not isinstance(data, str):
            return
        try:
            await super()._handle_eio_message(eio_sid, data)
        except Exception as error:
            self.invalid_packet(error, eio_sid)
        self._binary_packet.pop(eio_sid, None)

    async def _handle_event_internal(
        self, server: Any, sid: str, eio_sid: str, data: list[Any], namespace: str, id: int | None
    ) -> None:
        try:
            await super()._handle_event_internal(server, sid, eio_sid, data, namespace, id)
        except Exception as error:
            self.invalid_packet(error, eio_sid)
