"""TransportArrivals: tells a sender which of its packets arrived, and when. Sans-IO.

The sender reckons from it what the network carries: without it, a browser stays at its first 300 kbit/s. Format:
draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1, read by :mod:`gateway.webrtc.rtp.transport_cc`.

Rules:

1. A message lists every number from the first one that was not listed to the highest that came. A packet that comes
   after its number was listed is left out: the sender has counted it as lost, and the NACK has its own way.
2. At most :data:`ARRIVALS_MAX` are kept; the oldest are forgotten. So many come at :data:`INTERVAL_S` only of a sender
   beyond a hundred Mbit/s.
"""

from struct import Struct

from gateway.rtsp.rtp import SEQUENCE_MODULUS

INTERVAL_S = 0.1
"""Of the messages, in seconds: libwebrtc sends them every 50 to 250 ms."""

ARRIVALS_MAX = 2048

GAP_MAX = 2048
"""Of numbers without an arrival: beyond, a message begins behind the gap."""

_TICKS_PER_S = 4000
_REFERENCE_TICKS = 256
_DELTA_MIN, _DELTA_MAX = -0x8000, 0x7FFF
_HEAD = Struct("!BBHIIHH")
_TRANSPORT_FEEDBACK, _FORMAT = 205, 15
_MISSING, _SMALL, _LARGE = 0, 1, 2


class TransportArrivals:
    """See the module. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._arrivals: dict[int, float] = {}
        """By unwrapped number."""
        self._last: int | None = None
        self._next: int | None = None
        """The first number that no message has listed."""
        self._messages = 0
        self.dropped = 0
        """Arrivals that were forgotten."""

    def note(self, sequence: int, now: float) -> None:
        """A packet with this transport-wide sequence number has come."""
        if self._last is None:
            self._last = self._next = sequence
        step = (sequence - self._last) % SEQUENCE_MODULUS
        number = self._last + (step if step < SEQUENCE_MODULUS // 2 else step - SEQUENCE_MODULUS)
        self._last = max(self._last, number)
        if self._next is not None and number >= self._next:
            self._arrivals.setdefault(number, now)
        if len(self._arrivals) > ARRIVALS_MAX:
            del self._arrivals[next(iter(self._arrivals))]
            self.dropped += 1

    def take(self, ssrc: int, source_ssrc: int) -> list[bytes]:
        """The messages that are due, without a receiver report before them."""
        messages = []
        while self._arrivals:
            messages.append(self._message(ssrc, source_ssrc))
        return messages

    def _message(self, ssrc: int, source_ssrc: int) -> bytes:
        numbers = sorted(self._arrivals)
        assert self._next is not None
        base = self._next if numbers[0] - self._next <= GAP_MAX else numbers[0]
        reference = int(self._arrivals[numbers[0]] * _TICKS_PER_S) // _REFERENCE_TICKS
        before = reference * _REFERENCE_TICKS
        symbols: list[int] = []
        deltas = bytearray()
        for number in numbers:
            arrival = int(self._arrivals[number] * _TICKS_PER_S)
            delta = arrival - before
            if not _DELTA_MIN <= delta <= _DELTA_MAX or number - base - len(symbols) > GAP_MAX:
                break
            symbols += [_MISSING] * (number - base - len(symbols))
            is_small = 0 <= delta <= 0xFF
            symbols.append(_SMALL if is_small else _LARGE)
            deltas += delta.to_bytes(1 if is_small else 2, "big", signed=not is_small)
            before = arrival
            del self._arrivals[number]
        self._next = base + len(symbols)
        body = (reference & 0xFFFFFF).to_bytes(3, "big") + bytes((self._messages & 0xFF,)) + _chunks(symbols) + deltas
        self._messages += 1
        padding = -len(body) % 4
        if padding:
            body += bytes(padding - 1) + bytes((padding,))
        first = 0x80 | bool(padding) << 5 | _FORMAT
        words = (_HEAD.size + len(body)) // 4 - 1
        return _HEAD.pack(first, _TRANSPORT_FEEDBACK, words, ssrc, source_ssrc, base % 65536, len(symbols)) + body


def _chunks(symbols: list[int]) -> bytes:
    """Runs of one status where they are long, else vectors of seven statuses (§3.1.3, §3.1.4)."""
    written = bytearray()
    at = 0
    while at < len(symbols):
        symbol, run = symbols[at], 1
        while at + run < len(symbols) and symbols[at + run] == symbol and run < 0x1FFF:
            run += 1
        if run >= 7 or at + run == len(symbols):
            written += (symbol << 13 | run).to_bytes(2, "big")
            at += run
            continue
        value = 0xC000
        for place, each in enumerate(symbols[at : at + 7]):
            value |= each << 12 - 2 * place
        written += value.to_bytes(2, "big")
        at += 7
    return bytes(written)
