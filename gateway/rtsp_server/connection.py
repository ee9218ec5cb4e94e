"""RtspConnection: the bytes of one client of the RTSP server: requests in, answers and frames out.

Rules:

1. Requests are answered one after the other, in their order. At most :data:`REQUESTS_MAX` wait. A client with more, or
   one that sends anything but RTSP, is disconnected.
2. A connection that neither plays, publishes nor asks anything for :data:`IDLE_S` is closed. So is one that plays over
   UDP and shows no sign of life for :data:`~gateway.rtsp.session.TIMEOUT_S`: over TCP the kernel knows
   (:mod:`gateway.tcp_server`, rule 4).
3. A client that is disconnected gives back what it holds at once. What waits in the connection is sent, for
   :data:`CLOSE_S` at most: it may read a byte a second.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from gateway.rendition import Rendition
from gateway.rtsp.errors import RtspProtocolError
from gateway.rtsp.messages import Headers, Message, Request, Response, StreamParser
from gateway.rtsp.session import REASONS, TIMEOUT_S, Delivery, Interleaved
from gateway.rtsp_server.access import Access
from gateway.rtsp_server.authentication import ClientAuthentication
from gateway.rtsp_server.client import RtspClient
from gateway.rtsp_server.reader import Outlet
from gateway.rtsp_server.stream import RtpFrame, RtspStream
from gateway.rtsp_server.target import Elsewhere
from gateway.rtsp_server.udp import UdpOutlet, UdpPair
from gateway.service import CaptureService

log = logging.getLogger(__name__)

REQUESTS_MAX = 32

WORK_MAX = 20_000
"""What one reading of a connection may bring, in the parser's units: 200 requests, or 20,000 RTCP packets."""

IDLE_S = 60.0

CLOSE_S = 2.0

BUFFER_MAX_BYTES = 256 * 1024
"""What may wait in the connection, before frames wait in the reader's queue, which can drop them."""


class Server(Protocol):
    """What a connection needs of its server."""

    service: CaptureService
    elsewhere: Callable[[str], Elsewhere | None]

    def stream(self, rendition: Rendition) -> RtspStream:
        """The stream of a rendition."""
        ...

    def udp(self, host: str) -> UdpPair:
        """The UDP ports on one of this machine's addresses. Raises ``OSError``."""
        ...

    def closed(self, connection: "RtspConnection") -> None:
        """A connection has ended."""
        ...


class RtspConnection(asyncio.BufferedProtocol):
    """See the module. ``now`` is monotonic seconds."""

    def __init__(self, server: Server, access: Access, peer: str, now: Callable[[], float]) -> None:
        self.peer = peer
        self.service = server.service
        self.client = RtspClient(self, ClientAuthentication(access, peer))
        self._server = server
        self.now = now
        self._parser = StreamParser(self._on_frame, self._on_message)
        self._requests: deque[Request] = deque()
        self._has_request = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._udp: UdpOutlet | None = None
        self._heard_at_s = now()
        self._is_paused = False
        self._closing: asyncio.TimerHandle | None = None

    @property
    def is_full(self) -> bool:
        """Whether the connection takes nothing at the moment."""
        return self._is_paused or self._transport is None or self._transport.is_closing()

    # --- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve from now on."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(BUFFER_MAX_BYTES)
        self._transport = transport
        self._task = asyncio.get_running_loop().create_task(self._serve(), name="rtsp-client")

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._parser.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came. Whatever they are, they are a sign of life."""
        self._heard_at_s = self.now()
        self._parser.work_left = WORK_MAX
        try:
            self._parser.received(nbytes)
        except RtspProtocolError as error:
            self._write(Response(400, REASONS[400], Headers()))
            self.disconnect(f"it sent {error}")

    def pause_writing(self) -> None:
        """The connection takes no more at the moment."""
        self._is_paused = True
        self._has_room.clear()

    def resume_writing(self) -> None:
        """The connection takes more."""
        self._is_paused = False
        self._has_room.set()
        self._on_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._transport = None
        if self._closing is not None:
            self._closing.cancel()
        if self._task is not None:
            self._task.cancel()
        self._parser.close()
        if self._udp is not None:
            self._udp.close()
        self.client.close()
        self._server.closed(self)

    # --- the client's links

    def stream(self, rendition: Rendition) -> RtspStream:
        """The stream of a rendition."""
        return self._server.stream(rendition)

    def server_ports(self) -> tuple[int, int]:
        """The ports that RTP over UDP comes from. Raises ``OSError``."""
        return self._server.udp(self._local_host()).ports

    def outlet(self, tracks: Mapping[int, object]) -> Outlet:
        """Where the packets of a session go."""
        if all(isinstance(each, Interleaved) for each in tracks.values()):
            return self
        if self._udp is not None:
            self._udp.close()
        self._udp = UdpOutlet(self._server.udp(self._local_host()), self.peer, self._on_room)
        return self._udp

    def elsewhere(self, camera_id: str) -> Elsewhere | None:
        """Where a camera is captured, if not here."""
        return self._server.elsewhere(camera_id)

    def disconnect(self, reason: str) -> None:
        """End the connection (rule 3)."""
        if self._transport is not None and not self._transport.is_closing():
            log.info("RTSP client at %s is disconnected: %s", self.peer, reason)
            self._transport.close()
            self._closing = asyncio.get_running_loop().call_later(CLOSE_S, self.abort)
            self.client.close()

    # --- frames over TCP

    def send(self, delivery: Delivery, frame: RtpFrame) -> None:
        """Send all packets of a frame."""
        assert isinstance(delivery, Interleaved)
        if self._transport is not None:
            self._transport.write(frame.interleaved(delivery.rtp))

    def send_report(self, delivery: Delivery, report: bytes) -> None:
        """Send an RTCP packet."""
        assert isinstance(delivery, Interleaved)
        if self._transport is not None:
            head = b"$" + bytes((delivery.rtcp,)) + len(report).to_bytes(2, "big")
            self._transport.write(head + report)

    # --- requests

    def heard(self) -> None:
        """A sign of life came over UDP."""
        self._heard_at_s = self.now()

    def check(self, now: float) -> None:
        """Rule 2."""
        silent_s = now - self._heard_at_s
        if self.client.is_active:
            if self.client.is_over_udp and silent_s > TIMEOUT_S:
                self.disconnect(f"no sign of life for {silent_s:.0f} s")
        elif silent_s > IDLE_S:
            self.disconnect(f"no request for {silent_s:.0f} s")

    def abort(self) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abort()

    def _on_room(self) -> None:
        if self.client.reader is not None:
            self.client.reader.pump()

    def _on_frame(self, channel: int, frame: memoryview) -> None:
        """Media of a client that publishes; of others receiver reports, which are a sign of life."""
        if self.client.publisher is not None:
            self.client.publisher.receive(channel, frame)

    def _on_message(self, message: Message) -> None:
        if isinstance(message, Response):
            return
        if len(self._requests) >= REQUESTS_MAX:
            raise RtspProtocolError(f"more than {REQUESTS_MAX} requests without waiting for an answer")
        self._requests.append(message)
        self._has_request.set()

    async def _serve(self) -> None:
        while True:
            while not self._requests:
                self._has_request.clear()
                await self._has_request.wait()
            # A client that does not read its answers gets no more of them.
            await self._has_room.wait()
            request = self._requests.popleft()
            try:
                response = await self.client.answer(request)
            except Exception:
                log.exception("RTSP: a request of %s could not be answered", self.peer)
                response = Response(500, REASONS[500], Headers())
            cseq = request.headers.get("CSeq")
            headers = [("CSeq", cseq)] if cseq is not None else []
            self._write(
                Response(response.status, response.reason, Headers([*headers, *response.headers]), response.body)
            )
            self.client.answered()

    def _write(self, response: Response) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(response.encode())

    def _local_host(self) -> str:
        if self._transport is None:
            raise OSError("the connection has ended")
        return str(self._transport.get_extra_info("sockname")[0])
