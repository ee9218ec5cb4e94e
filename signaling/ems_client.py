"""EmsClient: one Socket.IO connection to the EMS, whose begin and end are certain.

It is python-socketio's client without the library's reconnecting, and with three additions: ``joined`` completes when
the server has accepted or refused the connection, ``wait_closed`` returns when the connection has ended for any reason,
and ``end`` leaves no task, no socket and no reference behind, even if the other side does not answer.
"""

import asyncio
import contextlib
import json
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import aiohttp

from signaling.compat import HookedClient
from signaling.log import library_logger

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
"""How long one attempt may take, from resolving the name to joining the namespace. A satellite link needs three."""

HEARTBEAT_S = 15.0
"""Between WebSocket pings: a half-open link is noticed within 23 s. Engine.IO alone would need 45 s."""

CLOSED_CHECK_S = 0.5
"""How often the connection is checked for an end that wakes no task."""

ATTACHMENTS_MAX = 16
"""Binary parts of one event. Commands have none. An event for somebody else may have a few, and is read to its end."""

MAX_PAYLOAD_DEFAULT = 1_000_000
"""The default of Engine.IO servers (``maxHttpBufferSize``). Those before 6.2 do not tell their limit."""

MESSAGE_MARGIN = 64
POLLING_MARGIN = 16 * 1024
"""For the packets that may be sent with a frame in one request: status messages."""

SOCKET_IO_2_CONNECT = re.compile(r"0(/[^,{]*,?)?")
"""The acceptance of Socket.IO 2. Since version 3 it has the session's id (Socket.IO 5 protocol, "Connection")."""

SOCKET_IO_2_POLLING = re.compile(r"\d+:0\{")
"""The handshake of Socket.IO 2: Engine.IO 3 writes the length of each packet before it."""

OLD_VERSION = "the EMS speaks Socket.IO 2, and liveedge needs 3 or later: update the package socket.io of the EMS"

DISCONNECT_TIMEOUT_S = 0.7
"""How long the EMS may take to receive our disconnect. With what follows, closing takes less than two seconds."""


class EmsRefusedError(Exception):
    """The EMS does not accept this gateway. Its text is for the operator."""


class EmsClient(HookedClient):
    """One connection's client. ``joined`` completes when the EMS accepts us, and fails when it refuses."""

    def __init__(self, http: aiohttp.ClientSession, namespace: str = "/") -> None:
        logger = library_logger()
        super().__init__(
            reconnection=False,
            handle_sigint=False,
            logger=logger,
            engineio_logger=logger,
            http_session=http,
            request_timeout=CONNECT_TIMEOUT_S,
            websocket_extra_options={"heartbeat": HEARTBEAT_S},
        )
        self.invalid_packets = 0
        """Packets from the EMS that were not Socket.IO."""
        self._namespace = namespace
        self._tasks: list[asyncio.Task[None]] = []
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on("connect", self._on_connect, namespace=namespace)
        self.on("connect_error", self._on_refused, namespace=namespace)

    @property
    def is_websocket(self) -> bool:
        """Whether the connection is a WebSocket, and not HTTP polling."""
        return self.transport() == "websocket"

    @property
    def jpeg_max_bytes(self) -> int:
        """The largest JPEG that the EMS accepts in an event."""
        # A binary attachment is a message of its own. Polling sends it as base64, together with other packets.
        return self.text_max_bytes if self.is_websocket else self.text_max_bytes * 3 // 4

    @property
    def text_max_bytes(self) -> int:
        """The largest text of an event that the EMS accepts."""
        limit = max_payload(self.handshake_text)
        return max(0, limit - (MESSAGE_MARGIN if self.is_websocket else min(POLLING_MARGIN, limit // 2)))

    def on_any(self, handler: Callable[..., Awaitable[Any]]) -> None:
        """Call ``handler`` with every event and its data. What it returns is the acknowledgement."""
        self.on("*", handler, namespace=self._namespace)

    async def send(self, event: str, data: dict[str, Any], callback: Any = None) -> None:
        """Queue an event. Raises ``socketio.exceptions.BadNamespaceError`` where the connection is not open."""
        await self.emit(event, data, namespace=self._namespace, callback=callback)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run the library's code in a task of its own: it swallows cancellation, and must not swallow the caller's."""
        task = asyncio.create_task(work, name="ems-client")
        self._tasks.append(task)
        # Retrieves the exception: the caller may have been cancelled.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def join(self, url: str, path: str, auth: dict[str, str] | None, transports: Sequence[str]) -> None:
        """Connect and join the namespace. May raise any exception: the library passes on what a bad server causes."""
        try:
            await self.connect(
                url,
                auth=auth,
                transports=list(transports),
                namespaces=[self._namespace],
                socketio_path=path,
                wait=False,
            )
        except Exception:
            if SOCKET_IO_2_POLLING.match(self.handshake_text):
                raise EmsRefusedError(OLD_VERSION) from None
            raise
        await self.joined

    async def wait_closed(self) -> None:
        """Return when this connection has ended."""
        while self.is_open:
            if self.read_task is None or self.read_task.done():
                return
            await asyncio.wait([self.read_task], timeout=CLOSED_CHECK_S)

    async def packet_received(self, data: object) -> None:
        # The library runs this in a task whose exceptions are not handled, and would wait for any number of
        # attachments.
        if isinstance(data, str):
            self.drop_binary_packet()
            if SOCKET_IO_2_CONNECT.fullmatch(data):
                self._refused(OLD_VERSION)
                return
        try:
            await super().packet_received(data)
            if self.attachments_awaited > ATTACHMENTS_MAX:
                self.drop_binary_packet()
                raise ValueError("too many attachments")
        except Exception as error:
            self.invalid_packets += 1
            # Without the text of the error, which the peer controls: the log handler drops equal messages.
            log.warning("the EMS sent a packet that is not Socket.IO: %s", type(error).__name__)

    async def end(self) -> None:
        """Disconnect if that is quick, and release everything in any case."""
        await asyncio.wait([self.spawn(self.disconnect())], timeout=DISCONNECT_TIMEOUT_S)
        if self.transport_socket is not None:
            # Closing alone would wait until queued data is sent, and a peer that hangs never takes it.
            with contextlib.suppress(OSError):
                self.transport_socket.shutdown(socket.SHUT_RDWR)
        tasks = [*self._tasks, self.read_task, self.write_task]
        left = [task for task in tasks if task is not None and not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=DISCONNECT_TIMEOUT_S)
        self.deregister()

    def _on_connect(self, *_: object) -> None:
        if not self.joined.done():
            self.joined.set_result(None)

    def _on_refused(self, *reason: object) -> None:
        said = reason[0] if reason else ""
        text = said.get("message") if isinstance(said, dict) else said
        self._refused(f"the EMS refuses the connection: {str(text)[:200]}")

    def _refused(self, why: str) -> None:
        if not self.joined.done():
            self.joined.set_exception(EmsRefusedError(why))
            # Retrieves the exception: the caller may have stopped waiting.
            self.joined.exception()


def max_payload(handshake: str) -> int:
    """The largest message that a server accepts, by its handshake (Engine.IO 4: ``maxPayload``, bytes)."""
    with contextlib.suppress(ValueError, AttributeError):
        said = json.loads(handshake.split("\x1e", 1)[0].removeprefix("0")).get("maxPayload")
        if isinstance(said, int) and said > 0:
            return said
    return MAX_PAYLOAD_DEFAULT
