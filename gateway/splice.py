"""Splice: two runs of one stream side by side, joined without a gap. Sans-IO.

Theory of operation. When another node of a cluster captures a camera from now on, its packets come another way, but
they are the same packets: a camera sends one coded picture to all of its connections. So the run that ends and the one
that follows are aligned by a picture that both have, byte for byte. From it on, the packets of the next run follow
those of the present one, with the same number and on the same media time: consumers see one run.

Rules:

1. Two pictures are the same if their data and their kinds are, and their capture times differ by less than
   :data:`SAME_MAX_90K`: pictures of a scene that stands still may be alike in two GOPs.
2. After the join no picture lacks or comes twice, as long as the next run has what the present one had not published.
3. Times stay in order: none is at or before the last one of its kind. What is, is what was published before the join.
4. Two runs whose descriptions differ are not joined: the next one is then a run of its own, from its newest keyframe
   on.
5. Of each run, :data:`KEPT_MAX` packets are kept. Beyond that the oldest are forgotten.
"""

from collections import deque
from collections.abc import Iterable

from gateway.media import MediaKind, Packet

SAME_MAX_90K = 36_000
"""0.4 s, less than half of the shortest usual GOP. The clocks of two nodes may be so far apart, and what they take for
the time of one picture."""

STEP_90K = 450
"""5 ms. Two nodes have the time of one packet to some ticks."""

KNOWN_STEP_90K = 9000
"""0.1 s: a picture with the data of one that was published is the same, even if its time is less exact."""

KEPT_MAX = 2048
"""A GOP of 10 s at 60 fps, with sound."""


class Splice:
    """See the module. ``recent``: the packets of the present run that were published last, ``run`` is its number."""

    def __init__(self, recent: Iterable[Packet], run: int) -> None:
        self.is_joined = False
        """Whether the next run has taken over."""
        self._run = run
        self._published: dict[bytes, Packet] = {}
        """Pictures by their data, oldest first."""
        self._waiting: deque[Packet] = deque(maxlen=KEPT_MAX)
        """Of the next run, from its newest keyframe on."""
        self._last_dts_90k: dict[MediaKind, int] = {}
        self._offset_90k = 0
        for packet in recent:
            self._note(packet)

    @property
    def has_keyframe(self) -> bool:
        """Whether the next run can be shown."""
        return bool(self._waiting)

    def published(self, packet: Packet) -> list[Packet]:
        """The present run has published a packet. Returns those of the next run that follow, if it takes over now."""
        self._note(packet)
        if packet.is_video:
            for place, waiting in enumerate(self._waiting):
                if waiting.data == packet.data and self._is_same(packet, waiting):
                    return self._join(packet, waiting, list(self._waiting)[place + 1 :])
        return []

    def arrived(self, packet: Packet) -> list[Packet]:
        """A packet of the next run. Returns those to publish: none, unless it has taken over, or does now."""
        if self.is_joined:
            return self._follow([packet])
        if packet.is_video and packet.is_keyframe:
            self._waiting.clear()
        elif not self._waiting:
            return []
        self._waiting.append(packet)
        known = self._published.get(packet.data) if packet.is_video else None
        if known is not None and self._is_same(known, packet):
            return self._join(known, packet, [])
        return []

    def separate(self) -> list[Packet]:
        """Take over without a join (rule 4): the packets of the next run from its newest keyframe on."""
        waiting, self._waiting = list(self._waiting), deque()
        return waiting

    # --- the join

    def _note(self, packet: Packet) -> None:
        if packet.is_video:
            self._published[packet.data] = packet
            if len(self._published) > KEPT_MAX:
                del self._published[next(iter(self._published))]
        self._last_dts_90k[packet.kind] = packet.dts_90k

    @staticmethod
    def _is_same(published: Packet, arrived: Packet) -> bool:
        """Rules 1 and 4, for two pictures with the same data."""
        return (
            abs(published.captured_at_90k - arrived.captured_at_90k) < SAME_MAX_90K
            and published.is_keyframe == arrived.is_keyframe
            and (published.info is arrived.info or published.info == arrived.info)
        )

    def _join(self, published: Packet, arrived: Packet, following: list[Packet]) -> list[Packet]:
        self.is_joined = True
        self._waiting.clear()
        self._offset_90k = published.dts_90k - arrived.dts_90k
        return self._follow(following)

    def _is_known(self, packet: Packet, dts_90k: int) -> bool:
        """Whether a picture after the join was published before it."""
        known = self._published.get(packet.data) if packet.is_video else None
        return known is not None and abs(known.dts_90k - dts_90k) <= KNOWN_STEP_90K

    def _follow(self, packets: Iterable[Packet]) -> list[Packet]:
        found = []
        for packet in packets:
            dts_90k = packet.dts_90k + self._offset_90k
            last_90k = self._last_dts_90k.get(packet.kind)
            if last_90k is not None and (dts_90k - last_90k <= STEP_90K or self._is_known(packet, dts_90k)):
                continue
            if packet.is_video and self._published:
                self._published.clear()
            self._last_dts_90k[packet.kind] = dts_90k
            found.append(
                Packet(
                    packet.kind,
                    packet.data,
                    max(dts_90k, packet.pts_90k + self._offset_90k),
                    dts_90k,
                    packet.duration_90k,
                    packet.is_keyframe,
                    packet.captured_at_90k,
                    packet.info,
                    self._run,
                )
            )
        return found
