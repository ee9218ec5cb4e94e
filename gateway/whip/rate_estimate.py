"""RateEstimate: the rate that a sender may send at, for REMB (draft-alvestrand-rmcat-remb-03). Sans-IO.

For senders without transport-wide feedback (aiortc, GStreamer without its estimator). Those that have it reckon the
rate themselves and better, from the delay.

Rule: by loss, as libwebrtc's own sender does. Below 2 % it may send more than it does, above 10 % less.
"""

from struct import Struct

INTERVAL_S = 1.0
"""Of the messages, in seconds."""

START_BPS = 1_000_000.0
MIN_BPS = 150_000.0
MAX_BPS = 50_000_000.0

GROWTH = 1.3
"""An interval, while next to nothing is lost."""

_LOSS_LOW, _LOSS_HIGH = 0.02, 0.10
_HEAD = Struct("!BBHII4sBBHI")
_PAYLOAD_FEEDBACK, _APPLICATION_LAYER = 206, 15
_MANTISSA_MAX = (1 << 18) - 1


class RateEstimate:
    """See the module."""

    def __init__(self) -> None:
        self.bits_per_s = START_BPS
        self._bytes = 0

    def note(self, size: int) -> None:
        """A packet of so many bytes has come."""
        self._bytes += size

    def update(self, interval_s: float, fraction_lost: float) -> float:
        """The rate for the next interval. ``fraction_lost`` (0 to 1) is that of the last one."""
        received_bps = 8 * self._bytes / interval_s
        self._bytes = 0
        if fraction_lost > _LOSS_HIGH:
            self.bits_per_s = min(self.bits_per_s, received_bps) * (1 - fraction_lost / 2)
        elif fraction_lost < _LOSS_LOW:
            # A sender that does not use what it may says nothing of more.
            self.bits_per_s = max(self.bits_per_s, min(self.bits_per_s, 1.5 * received_bps) * GROWTH)
        self.bits_per_s = min(MAX_BPS, max(MIN_BPS, self.bits_per_s))
        return self.bits_per_s


def remb(ssrc: int, source_ssrc: int, bits_per_s: float) -> bytes:
    """The message for one stream. A receiver report goes before it."""
    mantissa, exponent = int(bits_per_s), 0
    while mantissa > _MANTISSA_MAX:
        mantissa >>= 1
        exponent += 1
    first = 0x80 | _APPLICATION_LAYER
    packed = exponent << 2 | mantissa >> 16
    return _HEAD.pack(first, _PAYLOAD_FEEDBACK, 5, ssrc, 0, b"REMB", 1, packed, mantissa & 0xFFFF, source_ssrc)
