"""TcpServer: accepts TCP connections, and goes on quietly when the process has no descriptors left.

It takes the place of ``loop.create_server``. When ``accept`` fails for want of a descriptor, asyncio's server tries it
again for each place of the backlog, logs a traceback for each, and doubles its retries: megabytes of log a minute.

Rules:

1. The protocol of a connection is made before its transport, so that a connection that is refused costs one ``close``.
2. At most :data:`ACCEPTS_PER_TICK` connections are accepted at a time, so that a flood does not hold up the event loop.
3. When ``accept`` fails, the socket rests for :data:`RETRY_S`. The first failure is logged, then one in
   :data:`LOG_INTERVAL_S`, each in one line.
4. The kernel ends a connection whose peer has not acknowledged for :data:`UNACKNOWLEDGED_MAX_S`: one that is gone, or
   that does not read (a window of zero counts too, tcp(7), ``TCP_USER_TIMEOUT``). An idle one is probed.
"""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

ACCEPTS_PER_TICK = 8
"""An HTTP connection costs some 150 µs until it waits for a request. Viewers' frames take several turns of the loop."""

BACKLOG = 1024
"""Connections that the kernel holds until they are accepted; net.core.somaxconn may be lower."""

RETRY_S = 0.5
LOG_INTERVAL_S = 60.0

UNACKNOWLEDGED_MAX_S = 60
"""nginx's ``send_timeout``. A player that is paused for longer asks for the rest with another request."""

KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES = 30, 10, 3
"""An idle connection whose peer is gone ends after a minute."""

NO_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

MakeProtocol = Callable[[str], asyncio.BaseProtocol | None]
"""Makes the protocol of a connection from its peer's address; ``None`` refuses it."""


class TcpServer:
    """See the module. Lives on the event loop. ``name`` is for the log: what the connections are for."""

    def __init__(self, name: str, make_protocol: MakeProtocol) -> None:
        self.accept_failures = 0
        """How often ``accept`` failed because the process or the system had no resources."""
        self._name = name
        self._make_protocol = make_protocol
        self._sockets: list[socket.socket] = []
        self._resting: dict[socket.socket, asyncio.TimerHandle] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._logged_at_s = float("-inf")

    @property
    def address(self) -> tuple[str, int]:
        """The first address and port that it listens on."""
        name = self._sockets[0].getsockname()
        return name[0], name[1]

    async def start(self, host: str, port: int) -> None:
        """Listen on every address of ``host``. May be called for several hosts. Raises ``OSError``."""
        self._accept_from(await asyncio.to_thread(listening_sockets, host, port))

    def adopt(self, listening: Sequence[socket.socket]) -> None:
        """Accept connections of sockets that listen already, and own them."""
        for each in listening:
            each.setblocking(False)
            _set_options(each)
        self._accept_from(listening)

    def _accept_from(self, listening: Sequence[socket.socket]) -> None:
        for each in listening:
            self._sockets.append(each)
            asyncio.get_running_loop().add_reader(each, self._on_readable, each)

    def close(self) -> None:
        """Accept no more connections. Open ones stay open. May be called twice."""
        loop = asyncio.get_running_loop()
        for timer in self._resting.values():
            timer.cancel()
        self._resting.clear()
        while self._sockets:
            listening = self._sockets.pop()
            loop.remove_reader(listening)
            listening.close()

    def _on_readable(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_PER_TICK):
            try:
                connection, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in NO_RESOURCES:
                    self._rest(listening, error)
                return
            self._open(connection, str(address[0]))

    def _rest(self, listening: socket.socket, error: OSError) -> None:
        """Rule 3."""
        loop = asyncio.get_running_loop()
        self.accept_failures += 1
        if loop.time() - self._logged_at_s >= LOG_INTERVAL_S:
            self._logged_at_s = loop.time()
            log.error("%s: new connections wait: %s; raise the limit of open files", self._name, error.strerror)
        loop.remove_reader(listening)
        self._resting[listening] = loop.call_later(RETRY_S, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        del self._resting[listening]
        asyncio.get_running_loop().add_reader(listening, self._on_readable, listening)

    def _open(self, connection: socket.socket, peer: str) -> None:
        protocol = self._make_protocol(peer)
        if protocol is None:
            connection.close()
            return
        connection.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._connect(connection, protocol))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self, connection: socket.socket, protocol: asyncio.BaseProtocol) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, connection)
        except OSError as error:
            # The peer has closed it already. The protocol is counted already.
            connection.close()
            protocol.connection_lost(error)


def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address of ``host``. Blocking. Raises ``OSError``."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            opened.append(_listening(family, address))
    except OSError:
        for each in opened:
            each.close()
        raise
    return opened


def _listening(family: int, address: tuple[object, ...]) -> socket.socket:
    """A listening socket."""
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _set_options(listening)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _set_options(listening: socket.socket) -> None:
    """Rule 4. The options are inherited by the connections (Linux)."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MAX_S * 1000),
    ):
        with contextlib.suppress(AttributeError, OSError):
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
