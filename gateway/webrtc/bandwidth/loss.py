"""LossDetector: the share of packets that is lost, and whether sending less would help.

Rules:

1. Loss is judged over ``WINDOW_S`` and ``PACKETS_MIN`` packets at least. ``LOSS_BAD`` or more in two windows, or
   ``LOSS_SEVERE`` in one, is congestion; less than ``LOSS_GOOD`` is none (draft-ietf-rmcat-gcc-02 §6). Anything between
   changes nothing: retransmissions repair it.
2. Loss that does not depend on the rate has another cause than congestion (radio, a bad cable), and is no sign of it.
   A camera shows it by itself: keyframes make busy windows, and each stream has another rate. If in the busy windows of
   the last ``HISTORY`` more arrives a second than in the calm ones, the calm ones were below what the network carries.
   What they lose without a queue is random, and of another window only what it loses beyond that counts. (libwebrtc's
   second loss-based estimator fits an inherent loss to windows of different rates for the same reason.)
3. Where the camera does not show it, an experiment does: if much less is sent because of the loss, and it stays the
   same, without a queue, it is random for ``RANDOM_LOSS_S``.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

WINDOW_S = 0.3
PACKETS_MIN = 20
LOST_MIN = 3
"""Of a window. One lost of ten means little."""

LOSS_BAD = 0.10
LOSS_GOOD = 0.02
LOSS_SEVERE = 0.3

REDUCED_SHARE = 0.7
"""Sending this share or less counts as much less; losing this share or more counts as no better."""

CHANCE = 0.05
"""A window may lose so much more than the average by chance."""

RANDOM_LOSS_MAX = 0.5
"""Above this loss, sending everything does not help either."""

RANDOM_LOSS_S = 120.0

HISTORY = 20
"""Windows that are compared, 6 s at least: most cameras send a keyframe in that time."""

BUSY_SHARE = 1.3
"""A window with so many times the packets a second of the median is a busy one. Those below the median are calm."""

COMPARED_MIN = 60
"""Packets of either kind: 3 of them are lost at 5 %."""

MORE_SHARE = 1.5
"""In busy windows so many times as much must arrive: a full link delivers the same, whatever is sent."""


class Verdict(Enum):
    """What a window of packets says."""

    NONE = "too few packets yet"
    GOOD = "next to nothing is lost"
    FAIR = "some are lost; retransmissions repair it"
    BAD = "congestion"
    RANDOM = "as much is lost, however little is sent"


@dataclass(frozen=True, slots=True)
class _Window:
    """What was sent in ``WINDOW_S`` or more."""

    packets: int
    lost: int
    packets_per_s: float
    is_queued: bool


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
        self._windows: deque[_Window] = deque(maxlen=HISTORY)
        self._before: tuple[float, float] | None = None
        """Loss and rate when it became bad."""

    @property
    def congestive_loss(self) -> float:
        """The loss of the last whole window, if it may be a sign of congestion; else 0."""
        return 0.0 if self._is_usual else self.loss

    @property
    def _is_usual(self) -> bool:
        """Whether no more is lost than by rules 2 and 3."""
        return self.random_loss is not None and self.loss <= self.random_loss / REDUCED_SHARE + LOSS_BAD

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
        rate = self._packets / (now - self._since_s)
        self._windows.append(_Window(self._packets, lost_packets, rate, is_queued))
        self._since_s, self._packets, self._lost = now, 0, 0
        found = self._compare()
        if found is not None:
            self.random_loss, self._random_until_s = found, now + WINDOW_S * HISTORY
        if self.loss < LOSS_BAD or lost_packets < LOST_MIN:
            self._was_bad = False
            if self.loss < LOSS_GOOD and found is None:
                self._before = self.random_loss = None
            if self.loss < LOSS_GOOD:
                return Verdict.GOOD
            is_explained = found is not None and (
                self._before is None or self._before[0] <= found / REDUCED_SHARE + CHANCE
            )
            return Verdict.RANDOM if is_explained else Verdict.FAIR
        was_bad, self._was_bad = self._was_bad, True
        if not was_bad and self.loss < LOSS_SEVERE:
            return Verdict.FAIR
        return self._judge(now, sent_bps, is_queued)

    def _compare(self) -> float | None:
        """The loss of rule 2; ``None`` if there is none, or the windows do not show it."""
        windows = [each for each in self._windows if not each.is_queued]
        if not windows:
            return None
        middle = median(each.packets_per_s for each in windows)
        calm = [each for each in windows if each.packets_per_s <= middle]
        busy = [each for each in windows if each.packets_per_s >= BUSY_SHARE * middle]
        if min(_packets(calm), _packets(busy)) < COMPARED_MIN or _arrived(busy) < MORE_SHARE * _arrived(calm):
            return None
        loss = _loss(calm)
        return loss if LOSS_GOOD <= loss < LOSS_SEVERE else None

    def _judge(self, now: float, sent_bps: float, is_queued: bool) -> Verdict:
        if self.random_loss is not None:
            if now < self._random_until_s and self._is_usual:
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


def _packets(windows: Sequence[_Window]) -> int:
    return sum(each.packets for each in windows)


def _arrived(windows: Sequence[_Window]) -> float:
    """Packets a second."""
    return sum((each.packets - each.lost) for each in windows) / sum(
        each.packets / each.packets_per_s for each in windows
    )


def _loss(windows: Sequence[_Window]) -> float:
    return sum(each.lost for each in windows) / _packets(windows)
