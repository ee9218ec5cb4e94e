"""SentPackets: what was sent to one viewer and when, by transport-wide sequence number, and what became of it.

Theory of operation. All streams to a viewer share one sequence of numbers, so that one feedback message covers audio,
video and retransmissions. Packets that are sent at one moment are one entry, whatever their number: a batch of the
fan-out costs one entry, not one for each packet. :meth:`SentPackets.take` matches a feedback message with the entries,
and gives one :class:`PacketGroup` for each entry that it touches.

Rules:

1. At most ``ENTRIES_MAX`` entries are kept, the newest ones. What feedback says about older packets is not used.
2. A packet that a message leaves out or reports as missing is lost; if a later message says that it has arrived, it is
   subtracted. Packets between two messages of which neither says anything (a message was lost) count as neither.
3. Arrival times are the receiver's clock, unwrapped: only differences mean anything.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

ENTRIES_MAX = 4096
"""A second of single packets at 40 Mbit/s. With batches, many seconds."""

_TRIM = 512
"""Entries are dropped in groups of so many."""

WIRE_BYTES = 28
"""Headers of UDP and IPv4, which a link carries, too."""

TICK_S = 0.000_25
REFERENCE_S = 0.064
_REFERENCE_BITS = 24


@dataclass(slots=True)
class PacketGroup:
    """Packets that were sent at one moment, and what one feedback message says about them."""

    sent_s: float
    first_arrival_s: float
    """By the receiver's clock; meaningless if nothing arrived."""
    last_arrival_s: float
    received: int
    lost: int
    """Below zero where packets have arrived that were reported as lost before."""
    received_bytes: float


class SentPackets:
    """See the module. ``now`` is monotonic seconds."""

    def __init__(self, first_sequence: int = 0) -> None:
        self.next_sequence = first_sequence
        """Not reduced to 16 bits."""
        self.bytes_sent = 0
        """On the wire: RTP, with SRTP's tag and the headers of UDP and IP."""
        self.entries_dropped = 0
        """Entries that were dropped before feedback covered them."""
        self._firsts: list[int] = []
        self._entries: list[tuple[float, float]] = []
        """When, and how many bytes a packet."""
        self._missing: list[int] = []
        """Of each entry, which packets were reported as lost, and not as arrived since: a bit for each."""
        self.reported_sequence = first_sequence
        """The first sequence number that no message has covered yet."""
        self._reference: int | None = None
        """The last message's reference time, unwrapped."""

    def __len__(self) -> int:
        return len(self._firsts)

    def add(self, now: float, count: int, size_bytes: int) -> int:
        """Note packets that were sent now; ``size_bytes`` is all of their UDP payload. Returns the first number."""
        first = self.next_sequence
        self.next_sequence = first + count
        size_bytes += count * WIRE_BYTES
        self.bytes_sent += size_bytes
        if len(self._firsts) >= ENTRIES_MAX:
            self.entries_dropped += sum(item >= self.reported_sequence for item in self._firsts[:_TRIM])
            del self._firsts[:_TRIM], self._entries[:_TRIM], self._missing[:_TRIM]
        self._firsts.append(first)
        self._entries.append((now, size_bytes / count))
        self._missing.append(0)
        return first

    def take(self, base_sequence: int, reference: int, arrivals: Sequence[int | None]) -> list[PacketGroup]:
        """What a message says (see :class:`~gateway.webrtc.rtp.transport_cc.TransportFeedback`), oldest first.

        A message about packets that were never sent gives nothing.
        """
        newest = self.next_sequence - 1
        base = newest - ((newest - base_sequence) & 0xFFFF)
        if not self._firsts or base + len(arrivals) > self.next_sequence or base < 0:
            return []
        time_s = self._unwrap(reference) * REFERENCE_S
        groups = []
        place = bisect_right(self._firsts, base) - 1
        at = 0
        if place < 0:
            place, at = 0, self._firsts[0] - base
        while at < len(arrivals):
            end = self._firsts[place + 1] if place + 1 < len(self._firsts) else self.next_sequence
            end = min(end - base, len(arrivals))
            group = self._group(place, base + at, arrivals[at:end], time_s)
            if group is not None:
                groups.append(group)
            at = end
            place += 1
        self.reported_sequence = max(self.reported_sequence, base + len(arrivals))
        return groups

    def _group(self, place: int, first: int, arrivals: Sequence[int | None], time_s: float) -> PacketGroup | None:
        """``None`` if the message says nothing new."""
        sent_s, packet_bytes = self._entries[place]
        came = [arrival for arrival in arrivals if arrival is not None]
        known = min(max(0, self.reported_sequence - first), len(arrivals))
        before = missing = self._missing[place]
        for number, arrival in enumerate(arrivals):
            bit = 1 << first + number - self._firsts[place]
            if arrival is not None:
                missing &= ~bit
            elif number >= known:
                missing |= bit
        self._missing[place] = missing
        lost = missing.bit_count() - before.bit_count()
        if not came and not lost:
            return None
        return PacketGroup(
            sent_s=sent_s,
            first_arrival_s=time_s + min(came) * TICK_S if came else 0.0,
            last_arrival_s=time_s + max(came) * TICK_S if came else 0.0,
            received=len(came),
            lost=lost,
            received_bytes=len(came) * packet_bytes,
        )

    def _unwrap(self, reference: int) -> int:
        """The reference time as a number that does not wrap after 12 days."""
        if self._reference is None:
            self._reference = reference
            return reference
        half = 1 << _REFERENCE_BITS - 1
        step = (reference - self._reference + half) % (2 * half) - half
        self._reference += step
        return self._reference
