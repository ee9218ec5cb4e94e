"""PacketHub: hands one camera's packets to all of its consumers.

Rules:

1. The hub lives on the event loop. ``publish`` never blocks and never awaits.
2. It keeps the current GOP: every packet, audio included, from the newest video keyframe on. A GOP that becomes larger
   than ``gop_max_bytes`` is discarded as a whole (half a GOP shows nothing) and counted. The next keyframe begins
   another.
3. A new consumer gets the current GOP, then the live packets, without a gap and without repeats.
4. There are two kinds of consumers. A *sink* is a plain function that is called for each packet. It must be quick and
   must not block (the WebRTC fan-out, the live window). A *subscription* has a bounded queue of its own, for consumers
   that may be slow (a disk, a decoder).
5. For each packet, sinks attached with ``first=True`` are called before all other sinks, and sinks before
   subscriptions. Within these groups the order is that of attaching. The WebRTC fan-out is attached with
   ``first=True``: its latency must not include the muxing of LL-HLS.
6. Drop policy of a subscription: when its queue is full, packets are dropped up to the next video keyframe that fits.
   A GOP is never cut in the middle, and every dropped packet is counted. On the packet after the gap, the reader sees
   the number in ``lost_before``.
7. A fault of one consumer does not affect the others: a sink that raises is logged, counted and called again for the
   next packet.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Self

from gateway.media import Packet, StreamInfo

log = logging.getLogger(__name__)

GOP_MAX_BYTES = 32 * 1024 * 1024
"""Room for 10 s of 20 Mbit/s, and for the 20 MB GOP of a camera with a smart codec. A larger one would
take a new viewer too long to receive."""

QUEUE_MAX_PACKETS = 1024
"""About 20 s of 30 fps video with audio: longer than any pause of a disk that works."""

QUEUE_MAX_BYTES = 64 * 1024 * 1024
"""Two of the largest GOPs."""

Sink = Callable[[Packet], None]


class SubscriptionClosed(Exception):  # noqa: N818  (an end, not an error)
    """No more packets will come."""


class Subscription:
    """One reader's bounded queue; see rule 6. Use it as an async iterator, or call :meth:`get`."""

    def __init__(self, hub: "PacketHub", max_packets: int, max_bytes: int) -> None:
        self._hub = hub
        self._max_packets = max_packets
        self._max_bytes = max_bytes
        self._queue: deque[tuple[Packet, int]] = deque()
        self._bytes = 0
        self._wakeup = asyncio.Event()
        self._closed = False
        self._skipping = 0
        self.dropped = 0
        """Packets dropped since the start."""
        self.lost_before = 0
        """How many packets were dropped just before the packet that :meth:`get` returned last."""

    def offer(self, packet: Packet) -> None:
        """Take a packet or drop it. Called by the hub only."""
        if self._closed:
            return
        full = len(self._queue) >= self._max_packets or self._bytes + len(packet.data) > self._max_bytes
        starts_gop = packet.is_video and packet.is_keyframe
        # A packet larger than the bound is taken into an empty queue: otherwise it could never be read.
        if (full and self._queue) or (self._skipping and not starts_gop):
            self._skipping += 1
            self.dropped += 1
            return
        self._queue.append((packet, self._skipping))
        self._skipping = 0
        self._bytes += len(packet.data)
        self._wakeup.set()

    async def get(self) -> Packet:
        """The next packet. Raises :class:`SubscriptionClosed` once closed and empty."""
        while not self._queue:
            if self._closed:
                raise SubscriptionClosed
            self._wakeup.clear()
            await self._wakeup.wait()
        packet, self.lost_before = self._queue.popleft()
        self._bytes -= len(packet.data)
        return packet

    def get_nowait(self) -> Packet | None:
        """The next packet if one is waiting."""
        if not self._queue:
            return None
        packet, self.lost_before = self._queue.popleft()
        self._bytes -= len(packet.data)
        return packet

    def close(self) -> None:
        """The reader gets the queued packets, then :class:`SubscriptionClosed`. Twice is fine."""
        self._closed = True
        self._hub.forget(self)
        self._wakeup.set()

    def __len__(self) -> int:
        return len(self._queue)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Packet:
        try:
            return await self.get()
        except SubscriptionClosed:
            raise StopAsyncIteration from None


class PacketHub:
    """One camera's packets, its current GOP and its consumers; see the module's rules."""

    def __init__(self, camera_id: str, gop_max_bytes: int = GOP_MAX_BYTES) -> None:
        self.camera_id = camera_id
        self.info: StreamInfo | None = None
        """The stream at present, or the last one while the camera is away."""
        self.newest: Packet | None = None
        """The live edge: the newest video packet, also while the camera is away."""
        self.packets_published = 0
        self.gops_oversized = 0
        """GOPs discarded because they were larger than the bound."""
        self.sink_faults = 0
        """Packets on which a sink raised."""
        self._gop_max_bytes = gop_max_bytes
        self._gop: list[Packet] = []
        self._gop_bytes = 0
        self._first_sinks: list[Sink] = []
        self._sinks: list[Sink] = []
        self._subscriptions: list[Subscription] = []
        self._dropped_before = 0

    @property
    def gop(self) -> Sequence[Packet]:
        """The current GOP, keyframe first; empty before the first keyframe and after the end of a run."""
        return self._gop

    @property
    def packets_dropped(self) -> int:
        """Packets dropped by all subscriptions, closed ones included."""
        return self._dropped_before + sum(subscription.dropped for subscription in self._subscriptions)

    def publish(self, packet: Packet) -> None:
        """Hand the camera's next packet to all consumers."""
        if packet.is_video and packet.is_keyframe:
            self._gop = [packet]
            self._gop_bytes = len(packet.data)
        elif self._gop:
            self._gop.append(packet)
            self._gop_bytes += len(packet.data)
            if self._gop_bytes > self._gop_max_bytes:
                self._gop, self._gop_bytes = [], 0
                self.gops_oversized += 1
                log.warning(
                    "camera %s: a GOP is larger than %d bytes and is not kept for new viewers; set a shorter keyframe"
                    " interval",
                    self.camera_id,
                    self._gop_max_bytes,
                    extra={"camera": self.camera_id},
                )
        self.info = packet.info
        if packet.is_video:
            self.newest = packet
        self.packets_published += 1
        for sink in (*self._first_sinks, *self._sinks):
            self._call(sink, packet)
        for subscription in tuple(self._subscriptions):
            subscription.offer(packet)

    def end_run(self) -> None:
        """The run is over. New consumers wait for the next keyframe: an old GOP is not the live edge."""
        self._gop, self._gop_bytes = [], 0

    def attach(self, sink: Sink, *, first: bool = False, replay: bool = True) -> Callable[[], None]:
        """Call ``sink`` for each packet from now on, and with ``replay`` for the current GOP before.

        ``first`` calls it before the other sinks (rule 5). Returns a function that detaches it.
        """
        if replay:
            for packet in tuple(self._gop):
                self._call(sink, packet)
        sinks = self._first_sinks if first else self._sinks
        sinks.append(sink)

        def detach() -> None:
            if sink in sinks:
                sinks.remove(sink)

        return detach

    def subscribe(
        self, *, replay: bool = True, max_packets: int = QUEUE_MAX_PACKETS, max_bytes: int = QUEUE_MAX_BYTES
    ) -> Subscription:
        """A queue of the current GOP (with ``replay``) and all later packets. Close it when done."""
        room = max_packets + (len(self._gop) if replay else 0)
        subscription = Subscription(self, room, max_bytes + (self._gop_bytes if replay else 0))
        if replay:
            for packet in self._gop:
                subscription.offer(packet)
        self._subscriptions.append(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Remove a closed subscription."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            self._dropped_before += subscription.dropped

    def _call(self, sink: Sink, packet: Packet) -> None:
        try:
            sink(packet)
        except Exception:
            self.sink_faults += 1
            log.exception("camera %s: a consumer failed", self.camera_id, extra={"camera": self.camera_id})
