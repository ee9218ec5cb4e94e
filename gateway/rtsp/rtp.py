"""RTP packets as they are received: headers, sequence numbers, timestamps and order (RFC 3550).

Theory of operation. Over TCP, packets come in order: :class:`SequenceCounter` counts, and :class:`RecentPackets`
finds those that the sender sent twice. Over UDP they may be
lost, doubled and swapped: :class:`ReorderBuffer` holds back what came too early, for a bounded time and number of
packets, and gives up on what does not come. Both tell a depacketizer about a loss, by the ``lost`` argument, so that it
can drop the frame that the packet belonged to.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

HEADER_BYTES = 12
HEADER = Struct("!BBHII")
"""The fixed header (RFC 3550 §5.1): version and flags, marker and payload type, sequence, timestamp, SSRC."""

PLAIN = 0x80
"""The first octet of a packet without padding, extension and contributing sources: nearly every one."""

SEQUENCE_MODULUS = 1 << 16
TIMESTAMP_MODULUS = 1 << 32

REORDER_MAX_PACKETS = 256
"""Packets that wait for an earlier one: a keyframe of 300 KiB at once. Beyond, the missing one is given up."""

REORDER_MAX_S = 0.2
"""How long a packet waits for an earlier one, in seconds: longer than any local network swaps packets, shorter than a
viewer notices."""

LATE_PACKETS = 32
"""So many late packets in a row are no late ones: the sequence began anew, a little earlier."""

JUMP_PACKETS = 3000
"""A step of the sequence number beyond this is a new sequence and no loss (MAX_DROPOUT, RFC 3550 §A.1)."""


FIRST_PACKETS = 16
"""The first packet that comes is one of the first so many, where RTP-Info is right; cameras write any number there."""

GOES_ON_S = 0.5
"""A step of the timestamp up to this, in seconds, with which a new sequence goes on where the old one ended."""


class RtpHeader(NamedTuple):
    """The fixed header (RFC 3550 §5.1), and where the payload lies: ``[start, end)`` in octets of the packet.

    ``is_padded`` is the padding bit, which some cameras set without padding: then ``end`` is the packet's."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    start: int
    end: int
    is_padded: bool = False


def parse_header(packet: memoryview | bytes) -> RtpHeader | None:
    """The header of an RTP packet, or ``None`` where these bytes are none."""
    size = len(packet)
    if size < HEADER_BYTES:
        return None
    first, second, sequence, timestamp, ssrc = HEADER.unpack_from(packet)
    if first >> 6 != 2:
        return None
    start = HEADER_BYTES + 4 * (first & 0x0F)
    if first & 0x10:
        if size < start + 4:
            return None
        start += 4 + 4 * (packet[start + 2] << 8 | packet[start + 3])
    if start > size:
        return None
    is_padded = bool(first & 0x20)
    end = size - _padding(packet, start) if is_padded else size
    return RtpHeader(second & 0x7F, bool(second & 0x80), sequence, timestamp, ssrc, start, end, is_padded)


def _padding(packet: memoryview | bytes, start: int) -> int:
    """The octets of padding (RFC 3550 §5.1) of a packet that has its bit set; 0 where they are no padding.

    Their content may be anything; what senders write there is zeros, or their number in each.
    """
    count = packet[-1]
    if not 0 < count <= len(packet) - start:
        return 0
    filler = bytes(packet[len(packet) - count : -1])
    return count if filler in (bytes(count - 1), bytes((count,)) * (count - 1)) else 0


class TimestampUnwrapper:
    """32-bit RTP timestamps as integers that do not wrap; the first one is itself."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: int | None = None

    def unwrap(self, timestamp: int) -> int:
        """The timestamp next to the previous one: a step of less than half the range, forwards or backwards."""
        if self._last is None:
            self._last = timestamp
            return timestamp
        step = (timestamp - self._last) % TIMESTAMP_MODULUS
        if step >= TIMESTAMP_MODULUS // 2:
            step -= TIMESTAMP_MODULUS
        self._last += step
        return self._last


RECENT_PACKETS = 64
"""Packets among which a packet is found that was sent twice."""

_MARK_HEAD_BYTES = 64
_MARK_TAIL_BYTES = 8
"""How much of a packet tells it from others: its header, with extensions, and some of the payload."""


class RecentPackets:
    """Tells packets of one source that came twice, where none is reordered.

    By more than the sequence number: some cameras send the same one for ever. Neither size nor the ends of two
    different packets of a timestamp are likely to agree.
    """

    __slots__ = ("_marks",)

    def __init__(self) -> None:
        self._marks: deque[tuple[int, bytes, bytes]] = deque(maxlen=RECENT_PACKETS)

    def is_new(self, packet: memoryview, *, is_ahead: bool) -> bool:
        """Note a packet; whether it has not come before. One with a sequence number ``is_ahead`` of all has not."""
        if not is_ahead and _mark(packet) in self._marks:
            return False
        self.note(packet)
        return True

    def note(self, packet: memoryview) -> None:
        """Note a packet that has not come before."""
        self._marks.append(_mark(packet))


def _mark(packet: memoryview) -> tuple[int, bytes, bytes]:
    return len(packet), packet[:_MARK_HEAD_BYTES].tobytes(), packet[-_MARK_TAIL_BYTES:].tobytes()


class SequenceCounter:
    """What receiver reports say of one source (RFC 3550 §A.1, §A.3, §A.8)."""

    def __init__(self, clock_rate: int, before: int = 0) -> None:
        """``before`` is the :attr:`total` of the source before this one."""
        self._clock_rate = clock_rate
        self._before = before
        self._base = 0
        self._highest: int | None = None
        self._expected_before = 0
        self._received_before = 0
        self._transit: float | None = None
        self._timestamp: int | None = None
        self.next: int | None = None
        """The sequence number of the packet that follows; ``None`` before the first."""
        self.received = 0
        """Packets that came."""
        self.is_ahead = False
        """Whether the newest packet has a higher sequence number than all before."""
        self.jitter = 0.0
        """Interarrival jitter, in units of the RTP clock."""

    @property
    def extended_highest(self) -> int:
        """The highest sequence number, with the number of wraps in the upper 16 bits; 0 before the first packet."""
        return self._highest or 0

    @property
    def total(self) -> int:
        """Packets that came, those of earlier sequences and sources included."""
        return self._before + self.received

    @property
    def expected(self) -> int:
        """Packets that should have come."""
        return 0 if self._highest is None else self._highest - self._base + 1

    @property
    def lost(self) -> int:
        """Packets that did not come; negative where some came twice."""
        return self.expected - self.received

    def count(self, sequence: int, timestamp: int, now: float) -> int:
        """Note a packet; how many are missing right before it. ``now`` is monotonic, in seconds."""
        missing = 0
        self.is_ahead = True
        if self._highest is None:
            self._base = self._highest = sequence
            self.next = (sequence + 1) % SEQUENCE_MODULUS
        else:
            step = (sequence - self._highest) % SEQUENCE_MODULUS
            if 0 < step < JUMP_PACKETS:
                missing = step - 1
                self._highest += step
            elif JUMP_PACKETS <= step < SEQUENCE_MODULUS - JUMP_PACKETS:
                # The sender began anew: what was counted before is another sequence. Where its clock goes on, so does
                # what it sends.
                since = (timestamp - (self._timestamp or 0)) % TIMESTAMP_MODULUS
                missing = 0 if since < GOES_ON_S * self._clock_rate else 1
                self._base = self._highest = sequence
                self._before += self.received
                self.received = self._expected_before = self._received_before = 0
                self.is_ahead = False
            else:
                self.is_ahead = False
            self.next = (self._highest + 1) % SEQUENCE_MODULUS
        self.received += 1
        if timestamp != self._timestamp:
            self._note_transit(timestamp, now)
        return missing

    def follow(self, timestamp: int, now: float) -> None:
        """:meth:`count` for a packet that has the sequence number :attr:`next`, at a tenth of the cost."""
        assert self._highest is not None
        self._highest = highest = self._highest + 1
        self.next = (highest + 1) & 0xFFFF
        self.received += 1
        self.is_ahead = True
        if timestamp != self._timestamp:
            self._note_transit(timestamp, now)

    def _note_transit(self, timestamp: int, now: float) -> None:
        """Jitter, of the first packet of each timestamp: how fast a camera sends the rest of a picture is no jitter."""
        self._timestamp = timestamp
        # The timestamp wraps once in 13 hours at 90 kHz; that one step is not jitter.
        transit = now * self._clock_rate - timestamp
        if self._transit is not None:
            difference = abs(transit - self._transit)
            if difference < self._clock_rate:
                self.jitter += (difference - self.jitter) / 16
        self._transit = transit

    def take_fraction_lost(self) -> int:
        """The share of packets lost since the last call, in 256ths (RFC 3550 §A.3)."""
        expected = self.expected - self._expected_before
        received = self.received - self._received_before
        self._expected_before, self._received_before = self.expected, self.received
        lost = expected - received
        return 0 if expected <= 0 or lost <= 0 else min(255, lost * 256 // expected)


@dataclass(frozen=True, slots=True)
class _Waiting:
    packet: bytes
    arrived_at: float


class ReorderBuffer:
    """Puts the packets of one source into the order of their sequence numbers; see the module.

    Bounded by :data:`REORDER_MAX_PACKETS` and :data:`REORDER_MAX_S`: when either is exceeded, the missing packets are
    given up and counted in :attr:`lost`.
    """

    def __init__(self, first: int | None = None) -> None:
        """``first`` is the sequence number with which the source says that it begins (RTP-Info)."""
        self._first = first
        self._next: int | None = None
        self._waiting: dict[int, _Waiting] = {}
        self._order: deque[int] = deque()
        self._late_in_a_row = 0
        self.lost = 0
        """Packets that were given up."""
        self.late = 0
        """Packets that came after they were given up, or twice; they are dropped."""

    def push(self, sequence: int, packet: bytes, now: float) -> Iterator[tuple[bytes, int]]:
        """Take a packet; yields those that are due, each with how many were lost right before it."""
        if self._next is None:
            is_near = self._first is not None and (sequence - self._first) % SEQUENCE_MODULUS < FIRST_PACKETS
            self._next = self._first if is_near and self._first is not None else sequence
        ahead = (sequence - self._next) % SEQUENCE_MODULUS
        if ahead >= SEQUENCE_MODULUS - JUMP_PACKETS:
            self.late += 1
            self._late_in_a_row += 1
            if self._late_in_a_row < LATE_PACKETS:
                return
            ahead = JUMP_PACKETS
        self._late_in_a_row = 0
        if ahead >= JUMP_PACKETS:
            # A new sequence: what waits belongs to the old one.
            yield from self.flush()
            self.lost += 1
            self._next = (sequence + 1) % SEQUENCE_MODULUS
            yield packet, 1
            return
        if ahead == 0:
            self._next = (sequence + 1) % SEQUENCE_MODULUS
            yield packet, 0
            yield from self._take_ready()
        elif sequence in self._waiting:
            self.late += 1
        else:
            self._waiting[sequence] = _Waiting(packet, now)
            self._order.append(sequence)
        yield from self.expire(now)

    def expire(self, now: float) -> Iterator[tuple[bytes, int]]:
        """Give up on packets that others have waited for too long; yields as :meth:`push`."""
        while self._waiting and (
            len(self._waiting) > REORDER_MAX_PACKETS or now - self._oldest().arrived_at >= REORDER_MAX_S
        ):
            yield from self._skip_gap()

    def flush(self) -> Iterator[tuple[bytes, int]]:
        """Everything that waits, in order; yields as :meth:`push`."""
        while self._waiting:
            yield from self._skip_gap()

    def _oldest(self) -> _Waiting:
        while self._order[0] not in self._waiting:
            self._order.popleft()
        return self._waiting[self._order[0]]

    def _skip_gap(self) -> Iterator[tuple[bytes, int]]:
        assert self._next is not None
        base = self._next
        first = min(self._waiting, key=lambda sequence: (sequence - base) % SEQUENCE_MODULUS)
        missing = (first - base) % SEQUENCE_MODULUS
        self.lost += missing
        packet = self._waiting.pop(first).packet
        self._next = (first + 1) % SEQUENCE_MODULUS
        yield packet, missing
        yield from self._take_ready()

    def _take_ready(self) -> Iterator[tuple[bytes, int]]:
        assert self._next is not None
        while (waiting := self._waiting.pop(self._next, None)) is not None:
            self._next = (self._next + 1) % SEQUENCE_MODULUS
            yield waiting.packet, 0
        if not self._waiting:
            self._order.clear()
