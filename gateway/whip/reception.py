"""MissingPackets: which packets of a publisher are asked for once more (RFC 4585 §6.2.1). Sans-IO.

Rules:

1. A gap is asked for at once, and again every :data:`RETRY_S`, until it is closed or :data:`GIVE_UP_S` are over: then
   the packets behind it are not held back any longer (:class:`~gateway.rtsp.rtp.ReorderBuffer`).
2. At most :data:`MISSING_MAX` packets are missing at a time. Beyond, the network has failed: all are given up, since a
   keyframe brings the picture back sooner.
"""

from struct import Struct

from gateway.rtsp.rtp import JUMP_PACKETS, REORDER_MAX_S, SEQUENCE_MODULUS

RETRY_S = 0.05
"""In seconds: the way there and back on most networks."""

GIVE_UP_S = REORDER_MAX_S

MISSING_MAX = 256

_HEAD = Struct("!BBHII")
_PAIR = Struct("!HH")

_TRANSPORT_FEEDBACK, _NACK = 205, 1


class MissingPackets:
    """See the module. Times are monotonic seconds; sequence numbers are those of one stream."""

    def __init__(self) -> None:
        self._highest: int | None = None
        self._missing: dict[int, tuple[float, float]] = {}
        """When each was missed, and when it is asked for next."""
        self.missed = 0
        """Packets that did not come in their order, whether they came later or not."""
        self.asked = 0
        """Packets that were asked for, each time counted."""

    def __len__(self) -> int:
        return len(self._missing)

    def note(self, sequence: int, now: float) -> None:
        """A packet has come, also one that was sent again."""
        if self._highest is None:
            self._highest = sequence
            return
        step = (sequence - self._highest) % SEQUENCE_MODULUS
        if step == 1:
            self._highest = sequence
        elif 1 < step < JUMP_PACKETS:
            self.missed += step - 1
            if step - 1 + len(self._missing) > MISSING_MAX:
                self._missing.clear()
            else:
                for number in range(self._highest + 1, self._highest + step):
                    self._missing[number % SEQUENCE_MODULUS] = (now, now)
            self._highest = sequence
        elif JUMP_PACKETS <= step < SEQUENCE_MODULUS - JUMP_PACKETS:
            # The sender began anew.
            self._missing.clear()
            self._highest = sequence
        else:
            self._missing.pop(sequence, None)

    def take_due(self, now: float) -> list[int]:
        """The packets to ask for now."""
        due = []
        for sequence, (missed_at, ask_at) in list(self._missing.items()):
            if now - missed_at >= GIVE_UP_S:
                del self._missing[sequence]
            elif now >= ask_at:
                self._missing[sequence] = (missed_at, now + RETRY_S)
                due.append(sequence)
        self.asked += len(due)
        return due


def nack(ssrc: int, source_ssrc: int, sequences: list[int]) -> bytes:
    """A generic NACK for these packets, in their order. A receiver report goes before it."""
    entries: list[tuple[int, int]] = []
    for sequence in sequences:
        if entries and 0 < (after := (sequence - entries[-1][0]) % SEQUENCE_MODULUS) <= 16:
            entries[-1] = entries[-1][0], entries[-1][1] | 1 << after - 1
        else:
            entries.append((sequence, 0))
    head = _HEAD.pack(0x80 | _NACK, _TRANSPORT_FEEDBACK, 2 + len(entries), ssrc, source_ssrc)
    return head + b"".join(_PAIR.pack(*entry) for entry in entries)
