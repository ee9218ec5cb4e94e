"""RtspServer: the RTSP port, its connections, and the streams that they read.

Rules:

1. At most ``connections_max`` connections are open, and :data:`CONNECTIONS_PER_NETWORK` of one client network
   (:func:`~gateway.client_address.client_network`). Further ones are closed at once, and counted. A quarter of them is
   for clients of networks that have none.
2. There is one stream of a rendition for all of its readers. It costs nothing while nobody reads it.
3. Every :data:`TICK_S` connections are checked for signs of life, and readers get sender reports.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Sequence

from gateway.client_address import client_network
from gateway.clock import Clock
from gateway.errors import SettingsError
from gateway.rendition import Rendition
from gateway.rtsp.rtcp import REPORT_INTERVAL_S
from gateway.rtsp_server.access import Access
from gateway.rtsp_server.connection import RtspConnection
from gateway.rtsp_server.stream import RtspStream
from gateway.rtsp_server.target import Elsewhere
from gateway.rtsp_server.udp import Address, UdpPair
from gateway.service import CaptureService
from gateway.tcp_server import TcpServer

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 1024
CONNECTIONS_PER_NETWORK = 256

TICK_S = REPORT_INTERVAL_S


class RtspServer:
    """See the module. Lives on the event loop. ``connections_max`` returns the limit of rule 1."""

    def __init__(
        self, service: CaptureService, clock: Clock, connections_max: Callable[[], int] = lambda: CONNECTIONS_MAX
    ) -> None:
        self.service = service
        self._connections_max = connections_max
        self.elsewhere: Callable[[str], Elsewhere | None] = lambda _: None
        """Which node of a cluster captures a camera, if not this one. Publishers are sent there, to the same port."""
        self.connections_refused = 0
        self._clock = clock
        self._access: Access | None = None
        self._tcp = TcpServer("RTSP", self._make_connection)
        self._connections: dict[RtspConnection, None] = {}
        self._streams: dict[Rendition, RtspStream] = {}
        self._udp: dict[str, UdpPair] = {}
        self._frames_dropped: Counter[str] = Counter()
        """Of streams that are gone."""
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int | None:
        """The port that it listens on; ``None`` while it does not."""
        return None if self._task is None else self._tcp.address[1]

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def frames_dropped(self) -> dict[str, int]:
        """Frames of video that readers did not get because they were slower, by camera. Never decreases."""
        found = Counter(self._frames_dropped)
        for rendition, stream in self._streams.items():
            found[rendition.camera_id] += stream.frames_dropped
        return dict(found)

    @property
    def udp_packets_dropped(self) -> int:
        """RTP packets over UDP that the kernel did not take."""
        return sum(pair.packets_dropped for pair in self._udp.values())

    async def start(self, host: str, port: int, access: Access, inherited: Sequence[socket.socket] = ()) -> None:
        """Listen, or on sockets that another process opened.

        Raises :class:`~gateway.errors.SettingsError` if the port cannot be used.
        """
        self._access = access
        if inherited:
            self._tcp.adopt(inherited)
            self._task = asyncio.create_task(self._tick(), name="rtsp-server")
            return
        try:
            await self._tcp.start(host, port)
        except OSError as error:
            raise SettingsError(
                f"port {port} on {host} cannot be used for RTSP ({error.strerror or error}); set RTSP_PORT to another,"
                " or RTSP_SERVER=false"
            ) from None
        self._task = asyncio.create_task(self._tick(), name="rtsp-server")

    async def close(self) -> None:
        """Close the port and all connections. May be called twice."""
        self._tcp.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        for connection in tuple(self._connections):
            connection.disconnect("the gateway is stopping")
        await asyncio.sleep(0)
        for connection in tuple(self._connections):
            connection.abort()
        for pair in self._udp.values():
            pair.close()
        self._udp.clear()

    def close_camera(self, camera_id: str, reason: str) -> None:
        """Disconnect the readers of a camera."""
        for connection in tuple(self._connections):
            rendition = connection.client.rendition
            if rendition is not None and rendition.camera_id == camera_id:
                connection.disconnect(reason)

    def close_publishers(self, camera_id: str, reason: str) -> None:
        """Disconnect those who publish a camera. Its readers stay."""
        for connection in tuple(self._connections):
            rendition = connection.client.published
            if rendition is not None and rendition.camera_id == camera_id:
                connection.disconnect(reason)

    # --- for connections

    def stream(self, rendition: Rendition) -> RtspStream:
        """The stream of a rendition; rule 2."""
        for gone in [each for each in self._streams if each.is_closed]:
            self._frames_dropped[gone.camera_id] += self._streams.pop(gone).frames_dropped
        return self._streams.setdefault(rendition, RtspStream(rendition, self._clock))

    def udp(self, host: str) -> UdpPair:
        """The UDP ports on one of this machine's addresses. Raises ``OSError``."""
        if host not in self._udp:
            self._udp[host] = UdpPair(host, self._on_report)
        return self._udp[host]

    def closed(self, connection: RtspConnection) -> None:
        """A connection has ended."""
        self._connections.pop(connection, None)

    def _make_connection(self, peer: str) -> RtspConnection | None:
        network = client_network(peer)
        of_network = sum(client_network(each.peer) == network for each in self._connections)
        most = min(CONNECTIONS_MAX, self._connections_max())
        room = most if of_network == 0 else most - most // 4
        if len(self._connections) >= room or of_network >= CONNECTIONS_PER_NETWORK or self._access is None:
            self.connections_refused += 1
            return None
        connection = RtspConnection(self, self._access, peer, self._clock.monotonic)
        self._connections[connection] = None
        return connection

    def _on_report(self, address: Address) -> None:
        host, port = address
        for connection in self._connections:
            if connection.peer == host and port in connection.client.udp_ports:
                connection.heard()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = self._clock.monotonic()
            for connection in tuple(self._connections):
                connection.check(now)
                rendition = connection.client.rendition
                if rendition is not None and rendition.is_closed:
                    connection.disconnect("this stream of the camera was removed")
                elif connection.client.reader is not None:
                    connection.client.reader.send_reports()
