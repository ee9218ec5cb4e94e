"""Backlog: what a link carries that has suddenly become much narrower than the stream.

Theory of operation. A packet that has waited in a queue for a tenth of a second tells that the link was busy for all of
that time. So what arrived in this tenth of a second is what the link carries. Nothing else tells as early: a queue that
*stands* (:class:`~gateway.webrtc.bandwidth.delay.DelayDetector`) is known after a second, and by then a main stream has
filled a queue of half a megabyte, which a narrow link takes ten seconds to send.

Rules:

1. It counts only if the newest packets of ``MESSAGES`` messages in a row are ``LATE_S`` late. After a pause of Wi-Fi
   the packets come late, but all at once: that is a high rate.
2. It counts only if it is at most ``SHARE`` of what is expected: the stream's rate, or the estimate if that is less. A
   keyframe fills the queue of a good link for a moment, too, but leaves it faster.
"""

from collections import deque
from collections.abc import Sequence

from gateway.webrtc.bandwidth.sent_packets import ENTRIES_MAX, PacketGroup

LATE_S = 0.12
MESSAGES = 2
SHARE = 0.6


class Backlog:
    """Of one viewer; see the module's rules."""

    def __init__(self) -> None:
        self._arrived: deque[PacketGroup] = deque(maxlen=ENTRIES_MAX)
        """Those of the last ``LATE_S``, by a clock that may stand still: the newest are kept."""
        self._late_in_a_row = 0

    def add(self, groups: Sequence[PacketGroup], least_delay_s: float) -> None:
        """Take what a feedback message says, oldest first. ``least_delay_s`` is the way of a packet without a queue."""
        arrived = [group for group in groups if group.received]
        if not arrived:
            return
        self._arrived += arrived
        newest = arrived[-1]
        while self._arrived[0].last_arrival_s < newest.last_arrival_s - LATE_S:
            self._arrived.popleft()
        late_s = newest.last_arrival_s - newest.sent_s - least_delay_s
        self._late_in_a_row = self._late_in_a_row + 1 if late_s >= LATE_S else 0

    def narrow_bps(self, expected_bps: float) -> float | None:
        """What the link carries, in bits a second on the wire; ``None``: nothing tells that it is narrow."""
        if self._late_in_a_row < MESSAGES:
            return None
        began_s = self._arrived[-1].last_arrival_s - LATE_S
        bps = 8 * sum(_bytes_since(began_s, group) for group in self._arrived) / LATE_S
        return bps if bps <= SHARE * expected_bps else None


def _bytes_since(began_s: float, group: PacketGroup) -> float:
    """Of a group that arrived evenly from its first packet to its last one."""
    if group.first_arrival_s >= began_s:
        return group.received_bytes
    if group.last_arrival_s <= began_s:
        return 0.0
    share = (group.last_arrival_s - began_s) / (group.last_arrival_s - group.first_arrival_s)
    return group.received_bytes * share
