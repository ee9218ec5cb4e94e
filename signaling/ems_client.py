"""EmsClient: one Socket.IO connection to the EMS, whose begin and end are certain.

It is python-socketio's client without the library's reconnecting, and with three additions: ``joined`` completes when
the server has accepted or refused the connection, ``wait_closed`` returns when the connection has ended for any reason,
and ``end`` leaves no task, no socket and no reference behind, even if the other side does not answer.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Coroutine
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

DISCONNECT_TIMEOUT_S = 0.7
"""How long the EMS may take to receive our disconnect. With what follows, closing takes less than two seconds."""


class EmsClient(HookedClient):
    """One connection's client. ``joined`` completes when the EMS accepts us, and fails when it refuses."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
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
        self._tasks: list[asyncio.Task[None]] = []
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on("connect", self._on_connect)
        self.on("connect_error", self._on_refused)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run the library's code in a task of its own: it swallows cancellation, and must not swallow the caller's."""
        task = asyncio.create_task(work, name="ems-client")
        self._tasks.append(task)
        # Retrieves the exception: the caller may have been cancelled.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def join(self, url: str, path: str, auth: dict[str, str] | None) -> None:
        """Connect and join the namespace. May raise any exception: the library passes on what a bad server causes."""
        await self.connect(url, auth=auth, namespaces=["/"], socketio_path=path, wait=False)
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
        if not self.joined.done():
            said = reason[0] if reason else ""
            text = said.get("message") if isinstance(said, dict) else said
            error = ConnectionRefusedError(f"the EMS refuses the connection: {str(text)[:200]}")
            self.joined.set_exception(error)
            # Retrieves the exception: the caller may have stopped waiting.
            self.joined.exception()
