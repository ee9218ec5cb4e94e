"""LossDetector: the share of packets that is lost, and whether sending less would help.

Rules:

1. Loss is judged over ``WINDOW_S`` and ``PACKETS_MIN`` packets at least. ``LOSS_BAD`` or more in two windows, or
   ``LOSS_SEVERE`` in one, is congestion; less than ``LOSS_GOOD`` is none (draft-ietf-rmcat-gcc-02 §6). Anything between
   changes nothing: retransmissions repair it.
2. If much less is sent and the loss stays the same, without a queue, it has another cause (radio, a bad cable). It is
   then no sign of congestion for ``RANDOM_LOSS_S``, until it grows.
"""

from enum import Enum

WINDOW_S = 0.3
PACKETS_MIN = 20
LOST_MIN = 3
"""Of a window. One lost of ten means little."""

LOSS_BAD = 0.10
LOSS_GOOD = 0.02
LOSS_SEVERE = 0.3

REDUCED_SHARE = 0.7
"""Sending this share or less counts as much less; losing this share or more counts as no better."""

RANDOM_LOSS_MAX = 0.5
"""Above this loss, sending everything does not help either."""

RANDOM_LOSS_S = 120.0


class Verdict(Enum):
    """What a window of packets says."""

    NONE = "too few packets yet"
    GOOD = "next to nothing is lost"
    FAIR = "some are lost; retransmissions repair it"
    BAD = "congestion"
    RANDOM = "as much is lost, however little is sent"


class LossDetector:
    """See the module. ``now`` is monotonic seconds."""

    def __init__(self) -> None:
        self.loss = 0.0
        """Of the last whole window, 0 to 1."""
        self.random_loss: float | None = None
        """The loss that does not depend on the rate; ``None`` while there is none."""
        self._random_until_s = 0.0
        self._since_s: float | None = None
        self._packets = 0
        self._lost = 0
        self._was_bad = False
        """Whether the window before was."""
        self._before: tuple[float, float] | None = None
        """Loss and rate when it became bad."""

    def add(self, now: float, received: int, lost: int, sent_bps: float, *, is_queued: bool) -> Verdict:
        """Take what a feedback message says.

        ``sent_bps`` is the rate at which the packets were sent. ``is_queued`` says that packets wait in a queue.
        """
        self._since_s = now if self._since_s is None else self._since_s
        self._packets += received + lost
        self._lost += lost
        if now - self._since_s < WINDOW_S or self._packets < PACKETS_MIN:
            return Verdict.NONE
        lost_packets = max(0, self._lost)
        self.loss = lost_packets / self._packets
        self._since_s, self._packets, self._lost = now, 0, 0
        if self.loss < LOSS_BAD or lost_packets < LOST_MIN:
            self._was_bad = False
            if self.loss < LOSS_GOOD:
                self._before = self.random_loss = None
            return Verdict.GOOD if self.loss < LOSS_GOOD else Verdict.FAIR
        was_bad, self._was_bad = self._was_bad, True
        if not was_bad and self.loss < LOSS_SEVERE:
            return Verdict.FAIR
        return self._judge(now, sent_bps, is_queued)

    def _judge(self, now: float, sent_bps: float, is_queued: bool) -> Verdict:
        if self.random_loss is not None:
            if now < self._random_until_s and self.loss <= self.random_loss / REDUCED_SHARE + LOSS_BAD:
                return Verdict.RANDOM
            self.random_loss = self._before = None
        if self._before is None:
            self._before = self.loss, sent_bps
            return Verdict.BAD
        loss, rate = self._before
        if (
            not is_queued
            and sent_bps <= REDUCED_SHARE * rate
            and REDUCED_SHARE * loss <= self.loss <= min(RANDOM_LOSS_MAX, loss / REDUCED_SHARE)
        ):
            self.random_loss, self._random_until_s = self.loss, now + RANDOM_LOSS_S
            return Verdict.RANDOM
        if sent_bps > rate:
            self._before = self.loss, sent_bps
        return Verdict.BAD
