"""FirstArrivals: what the first packets to a new viewer tell of its network.

Theory of operation. A viewer is sent a GOP when it joins, faster than the camera sends: a narrow link then is busy
without a pause, so the rate at which these packets arrive is the link's. Nothing else tells as early. Later the same
signs mean less: pauses of Wi-Fi look alike, and the camera's pictures have pauses between them.

Rules:

1. The network is narrow if the newest packet of ``LATE_MESSAGES`` messages in a row is ``LATE_S`` later than the
   fastest one was. Unlike in :class:`~gateway.webrtc.bandwidth.delay.DelayDetector` this has the time in it that the
   packets themselves take on the link.
2. The rate counts from the end of the first message on: a shaper lets its first packets through at once.
3. There is a rate only if the link has spread the packets (``SPREAD_S``). Otherwise it is the sender's.
"""

from collections.abc import Sequence

from gateway.webrtc.bandwidth.sent_packets import PacketGroup

LATE_S = 0.15
LATE_MESSAGES = 2
"""On a narrow link all of the GOP comes late, and what is noticed a tenth of a second earlier is a tenth less of a
standing picture."""

SPREAD_S = 0.05
"""The first 80 KB that arrive within this came at 13 Mbit/s or more."""


class FirstArrivals:
    """Of one viewer, from its first feedback on; see the module."""

    def __init__(self) -> None:
        self._least_delay_s = float("inf")
        """The shortest way of a packet so far, between two clocks."""
        self._late_in_a_row = 0
        self._messages = 0
        self._began_sent_s = self._began_arrival_s = 0.0
        """Of the last packet before the rate counts."""
        self._bytes = 0.0
        self._rate_bps: float | None = None

    @property
    def is_late(self) -> bool:
        """Rule 1."""
        return self._late_in_a_row >= LATE_MESSAGES

    @property
    def rate_bps(self) -> float | None:
        """What the link carries, in bits a second on the wire; ``None``: not known, or much."""
        return self._rate_bps

    def add(self, groups: Sequence[PacketGroup]) -> None:
        """Take what a feedback message says, oldest first."""
        arrived = [group for group in groups if group.received]
        if not arrived:
            return
        for group in arrived:
            self._least_delay_s = min(self._least_delay_s, group.first_arrival_s - group.sent_s)
        newest = arrived[-1]
        late_s = newest.last_arrival_s - newest.sent_s - self._least_delay_s
        self._late_in_a_row = self._late_in_a_row + 1 if late_s >= LATE_S else 0
        self._messages += 1
        if self._messages == 1:
            self._began_sent_s, self._began_arrival_s = newest.sent_s, newest.last_arrival_s
            first = arrived[0]
            span_s = newest.last_arrival_s - first.first_arrival_s
            size = sum(group.received_bytes for group in arrived) - first.received_bytes / first.received
            self._note(size, span_s, newest.sent_s - first.sent_s)
            return
        self._bytes += sum(group.received_bytes for group in arrived)
        self._note(self._bytes, newest.last_arrival_s - self._began_arrival_s, newest.sent_s - self._began_sent_s)

    def _note(self, size: float, arrival_s: float, sent_s: float) -> None:
        """Rule 3."""
        spread_s = arrival_s - sent_s
        if arrival_s > 0 and spread_s >= SPREAD_S and spread_s >= arrival_s / 2:
            self._rate_bps = 8 * size / arrival_s
