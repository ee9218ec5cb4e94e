"""RelaySender: one stream of a camera that this node captures, to another node.

Rules:

1. It begins with the current GOP, and goes on at the live edge. Where the other node reads too slowly, packets are
   dropped up to the next keyframe, and counted: :data:`QUEUE_MAX_PACKETS` wait here, :data:`SEND_BUFFER_BYTES` in the
   kernel.
2. It ends with the run. When this node does not capture the camera any more, it goes on for :data:`HANDED_OVER_S`, with
   packets of the new owner: by then the other node knows that too, and has changed over without a gap.
3. It counts as a viewer of the camera.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable

from gateway.camera import Camera
from gateway.capture.relay_protocol import RelayEncoder
from gateway.errors import redact
from gateway.hub import Subscription, SubscriptionClosed
from gateway.media import Packet
from gateway.rendition import Rendition
from gateway.session import SessionState

KIND = "relay"
"""The transport, among the viewers of a camera."""

QUEUE_MAX_PACKETS = 256
"""About 4 s of video and audio. A relay that is further behind goes on at the live edge."""

QUEUE_MAX_BYTES = 32 * 1024 * 1024
"""The largest GOP that a new viewer gets."""

CHECK_S = 0.5
"""How often the state of the camera is checked while it sends nothing."""

HANDED_OVER_S = 5.0
"""A node learns of a new owner within a second or two, and needs as long to have its packets."""

BATCH_MAX_BYTES = 256 * 1024

SEND_BUFFER_BYTES = 512 * 1024
"""Half a second of 8 Mbit/s. With what the kernel takes by itself, a slow network would delay the stream by seconds."""

USER_TIMEOUT_MS = 10_000
"""A node that has acknowledged nothing for so long is gone (TCP_USER_TIMEOUT, RFC 5482)."""

Write = Callable[[bytes], Awaitable[None]]


class RelayCounters:
    """Of all streams to other nodes."""

    def __init__(self) -> None:
        self.streams = 0
        """Open at present."""
        self.dropped = 0
        """Packets that other nodes did not get because they were slower."""
        self._left = asyncio.Event()

    def began(self) -> None:
        self.streams += 1

    def ended(self) -> None:
        self.streams -= 1
        self._left.set()

    async def all_left(self, limit_s: float) -> None:
        """Wait until there is no stream, but not longer than that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while self.streams:
                    self._left.clear()
                    await self._left.wait()


class RelaySender:
    """See the module. ``is_own`` tells whether this node captures the camera."""

    def __init__(
        self, camera: Camera, rendition: Rendition, is_own: Callable[[], bool], counters: RelayCounters
    ) -> None:
        self._camera = camera
        self._rendition = rendition
        self._is_own = is_own
        self._counters = counters
        self._run: int | None = None
        """That of the stream, once a packet was sent."""
        self._encoder = RelayEncoder()
        self._not_own_since_s: float | None = None
        self._left: Packet | None = None
        """Taken from the queue, and not written yet."""

    async def send(self, node: str, epoch: int, write: Write, is_closing: Callable[[], bool]) -> None:
        """Send until the stream ends or ``is_closing``. Raises what ``write`` raises."""
        await write(self._encoder.hello(node, epoch))
        hold = self._rendition.hold(KIND)
        queue = self._rendition.hub.subscribe(max_packets=QUEUE_MAX_PACKETS, max_bytes=QUEUE_MAX_BYTES)
        self._counters.began()
        dropped = 0
        told: str | None = None
        stop_listening = self._camera.listen(lambda: queue.close() if self._ends(None) is not None else None)
        try:
            while not is_closing():
                packet = await self._next(queue)
                self._counters.dropped += queue.dropped - dropped
                dropped = queue.dropped
                ends = self._ends(packet)
                if ends is not None:
                    await write(self._encoder.end(redact(ends)))
                    return
                if packet is not None:
                    await self._write(queue, packet, write)
                elif self._run is None and (why := self._rendition.error_message) not in (None, told):
                    told = why
                    await write(self._encoder.state(redact(why)))
        except SubscriptionClosed:
            await write(self._encoder.end(redact(self._ends(None) or "the camera was removed")))
        finally:
            stop_listening()
            self._counters.ended()
            queue.close()
            hold.release()

    def _ends(self, packet: Packet | None) -> str | None:
        """Why the stream ends (rule 2)."""
        if self._is_own():
            self._not_own_since_s = None
        else:
            now_s = time.monotonic()
            self._not_own_since_s = self._not_own_since_s or now_s
            if now_s - self._not_own_since_s >= HANDED_OVER_S:
                return "another node of the cluster captures the camera now"
        if self._rendition.is_closed:
            return "the camera was removed"
        if self._run is None:
            return None
        is_over = packet.run != self._run if packet is not None else self._is_lost
        return (self._rendition.error_message or "the camera was connected again") if is_over else None

    @property
    def _is_lost(self) -> bool:
        return self._rendition.session.state is not SessionState.LIVE

    async def _write(self, queue: Subscription, packet: Packet, write: Write) -> None:
        """Write a packet, and those of its run that wait behind it."""
        if self._run is None and not (packet.is_video and packet.is_keyframe):
            return
        self._run = packet.run
        pieces = self._encoder.packet(packet)
        size = len(packet.data)
        while size < BATCH_MAX_BYTES and (more := queue.get_nowait()) is not None:
            if more.run != self._run:
                self._left = more
                break
            pieces += self._encoder.packet(more)
            size += len(more.data)
        await write(b"".join(pieces))

    async def _next(self, queue: Subscription) -> Packet | None:
        """The next packet; ``None`` where none comes for a while. Raises ``SubscriptionClosed``."""
        packet, self._left = self._left or queue.get_nowait(), None
        if packet is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    return await queue.get()
        return packet


def tune(connection: socket.socket | None) -> None:
    """Set the options of a stream's socket (rule 1)."""
    if connection is None:
        return
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
