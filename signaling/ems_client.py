"""EmsClient: one Socket.IO connection to the EMS, from its beginning to a certain end.

It is python-socketio's client with the library's own reconnecting off, and with the three things that it leaves open:
an event when the server has let us in or refused (``joined``), an end that is noticed whatever its cause (``over``),
and a farewell that leaves no task, no socket and no reference behind even if the other side hangs (``end``).
"""

import asyncio
import asyncio.trsock
import contextlib
import logging
import socket
from collections.abc import Coroutine
from typing import Any

import aiohttp
import engineio
import socketio

from signaling.log import library_logger

log = logging.getLogger(__name__)

CONNECT_S = 10.0
"""How long one attempt may take, from the name to the namespace. A satellite link needs three."""

HEARTBEAT_S = 15.0
"""Between WebSocket pings: a half-open link is noticed within 23 s, where Engine.IO's own 45 s would be long."""

WATCH_S = 0.5
"""How often it is looked whether a connection has ended in a way that wakes nobody."""

ATTACHMENTS_MAX = 16
"""Binary parts of one event. Ours have none; an event for somebody else may have a few, and is read to its end."""

FAREWELL_S = 0.7
"""How long the EMS may take to hear that the gateway leaves. With what follows, closing stays under two seconds."""


class EmsClient(socketio.AsyncClient):
    """One connection's client. ``joined`` becomes done when the EMS has let us in, or failed when it refuses."""

    _binary_packet: Any

    def __init__(self, http: aiohttp.ClientSession) -> None:
        logger = library_logger()
        super().__init__(
            reconnection=False,
            handle_sigint=False,
            logger=logger,
            engineio_logger=logger,
            http_session=http,
            request_timeout=CONNECT_S,
            websocket_extra_options={"heartbeat": HEARTBEAT_S},
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on("connect", self._on_connect)
        self.on("connect_error", self._on_refused)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run the library's code in a task of its own: it swallows cancellation, and must not swallow ours."""
        task = asyncio.create_task(work, name="ems-client")
        self._tasks.append(task)
        # Nobody may be left to ask for it.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def join(self, url: str, path: str, auth: dict[str, str] | None) -> None:
        """Connect and be let in. Raises whatever the other side can provoke."""
        await self.connect(url, auth=auth, namespaces=["/"], socketio_path=path, wait=False)
        await self.joined

    @property
    def socket(self) -> asyncio.trsock.TransportSocket | None:
        """The WebSocket's socket, while there is one."""
        return self.eio.ws.get_extra_info("socket") if self.eio.ws is not None else None

    async def over(self) -> None:
        """Return when this connection is over (rule 2)."""
        while self.connected and self.eio.state == "connected" and not (self.eio.ws and self.eio.ws.closed):
            if self.eio.read_loop_task is None or self.eio.read_loop_task.done():
                return
            await asyncio.wait([self.eio.read_loop_task], timeout=WATCH_S)

    def _on_connect(self, *_: object) -> None:
        if not self.joined.done():
            self.joined.set_result(None)

    def _on_refused(self, *reason: object) -> None:
        if not self.joined.done():
            said = reason[0] if reason else ""
            text = said.get("message") if isinstance(said, dict) else said
            error = ConnectionRefusedError(f"the EMS refuses the connection: {str(text)[:200]}")
            self.joined.set_exception(error)
            # It may be that nobody waits any more.
            self.joined.exception()

    async def _handle_eio_message(self, data: object) -> None:
        # The library runs this in a task that nobody looks at, and would wait for any number of attachments.
        if isinstance(data, str):
            self._binary_packet = None
        try:
            await super()._handle_eio_message(data)
            if self._binary_packet is not None and self._binary_packet.attachment_count > ATTACHMENTS_MAX:
                self._binary_packet = None
                raise ValueError("too many attachments")
        except Exception as error:
            # Without the text of the error, which the peer controls: the log drops messages that are equal.
            log.warning("the EMS sent something that is not Socket.IO: %s", type(error).__name__)

    async def end(self) -> None:
        """Say goodbye if that is quick, and leave nothing of the connection behind in any case."""
        await asyncio.wait([self.spawn(self.disconnect())], timeout=FAREWELL_S)
        if self.socket is not None:
            # Closing alone would wait for what is still to be sent, which a peer that hangs never takes.
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
        tasks = [*self._tasks, self.eio.read_loop_task, self.eio.write_loop_task]
        left = [task for task in tasks if task is not None and not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=FAREWELL_S)
        with contextlib.suppress(ValueError):
            # A module-wide list for the library's own handling of Ctrl-C; only a farewell that succeeds leaves it.
            engineio.base_client.connected_clients.remove(self.eio)
