"""What a network carries, from the reports of viewers behind links that are known."""

import random
from dataclasses import dataclass, field

import pytest

from gateway.webrtc.bandwidth import (
    LIMIT_MIN_BYTES_PER_S,
    MIN_RTT_WINDOW_S,
    RANDOM_LOSS_S,
    BandwidthEstimator,
    BandwidthState,
)

CAMERA = 187_500.0
"""1.5 Mbit/s."""
PACKET = 1200


@dataclass
class Line:
    """A link with a drop-tail queue and a viewer behind it who reports once a second."""

    estimator: BandwidthEstimator = field(default_factory=BandwidthEstimator)
    bytes_per_s: float = float("inf")
    queue_bytes: float = 30_000
    loss: float = 0.0
    round_trip_s: float = 0.02
    camera: float = CAMERA
    is_idle: bool = False
    """The sender waits for a keyframe."""
    now: float = 1000.0
    sent_bytes: int = 0
    sequence: int = (1 << 32) - 500
    lost: int = 0
    _waiting: float = 0.0
    _dice: random.Random = field(default_factory=lambda: random.Random(3))

    def run(self, seconds: int, report_s: float = 1.0) -> "Line":
        for _ in range(round(seconds / report_s)):
            limit = self.estimator.limit_bytes_per_s
            packets = round(min(self.camera, limit if limit is not None else self.camera) * report_s / PACKET)
            packets = 0 if self.is_idle else packets
            for _ in range(packets):
                self._waiting = max(0.0, self._waiting - self.bytes_per_s * report_s / packets)
                self.sequence = (self.sequence + 1) & 0xFFFFFFFF
                if self._dice.random() < self.loss or self._waiting + PACKET > self.queue_bytes:
                    self.lost += 1
                else:
                    self._waiting += PACKET
            self.sent_bytes += packets * PACKET
            self.now += report_s
            self.report()
        return self

    def report(self) -> None:
        waiting_s = self._waiting / self.bytes_per_s if self._waiting else 0.0
        self.estimator.take(
            self.now,
            highest_sequence=self.sequence,
            packets_lost=self.lost,
            round_trip_s=self.round_trip_s + waiting_s,
            sent_bytes=self.sent_bytes,
            camera_bytes_per_s=self.camera,
        )

    @property
    def limit(self) -> float:
        assert self.estimator.limit_bytes_per_s is not None
        return self.estimator.limit_bytes_per_s


@pytest.mark.parametrize("loss", [0.0, 0.02, 0.06])
def test_what_retransmissions_repair_is_no_reason_to_leave_pictures_out(loss: float) -> None:
    line = Line(loss=loss).run(300)
    assert (line.estimator.state, line.estimator.limits, line.estimator.reason) == (BandwidthState.UNLIMITED, 0, None)


def test_one_bad_second_is_none_either() -> None:
    line = Line().run(5)
    for _ in range(20):
        line.loss = 0.4
        line.run(1)
        line.loss = 0.0
        line.run(3)
    assert line.estimator.limits == 0


@pytest.mark.parametrize("link", [37_500, 100_000])
def test_a_narrow_link_is_found_out_and_kept_nearly_full(link: int) -> None:
    line = Line(bytes_per_s=link).run(5)
    assert line.estimator.state is BandwidthState.LIMITED
    assert line.estimator.reason is not None
    assert "of the packets are lost" in line.estimator.reason
    line.run(20)
    sent, lost, sequence = line.sent_bytes, line.lost, line.sequence
    line.run(200)
    packets = (line.sequence - sequence) & 0xFFFFFFFF
    assert 0.6 * link < (line.sent_bytes - sent) / 200 < 1.1 * link
    assert (line.lost - lost) / packets < 0.08
    assert line.estimator.state is BandwidthState.LIMITED


def test_a_link_that_is_good_again_carries_all_again_soon() -> None:
    line = Line(bytes_per_s=37_500).run(30)
    assert line.estimator.state is BandwidthState.LIMITED
    line.bytes_per_s = 10_000_000
    line.run(60)
    assert (line.estimator.state, line.estimator.limit_bytes_per_s, line.estimator.reason) == (
        BandwidthState.UNLIMITED,
        None,
        None,
    )
    assert line.estimator.limits == 1


def test_a_queue_that_never_drops_but_delays_is_too_narrow_as_well() -> None:
    line = Line(bytes_per_s=150_000, queue_bytes=1e9).run(30)
    assert line.estimator.state is BandwidthState.LIMITED
    assert line.estimator.reason is not None
    assert "late" in line.estimator.reason
    assert line.lost == 0


def test_a_longer_way_is_not_a_queue_for_ever() -> None:
    line = Line().run(5)
    line.round_trip_s = 0.9
    line.run(round(4 * MIN_RTT_WINDOW_S))
    assert line.estimator.state is BandwidthState.UNLIMITED


def test_who_loses_whatever_is_sent_is_sent_everything_and_judged_again_later() -> None:
    line = Line(loss=0.25)
    states = []
    for _ in range(30):
        line.run(1)
        states.append(line.estimator.state)
    assert BandwidthState.LIMITED in states
    assert states[-15:] == [BandwidthState.RANDOM_LOSS] * 15
    assert line.estimator.limit_bytes_per_s is None
    assert line.estimator.reason is not None
    assert line.estimator.reason.endswith("of the packets, however few are sent")
    line.loss = 0.0
    line.run(2)
    assert line.estimator.state is BandwidthState.UNLIMITED
    line.loss = 0.25
    line.run(round(RANDOM_LOSS_S) + 60)
    assert line.estimator.limits > 2, "it is looked at again"


def test_silence_proves_nothing() -> None:
    line = Line(bytes_per_s=37_500).run(30)
    limit = line.limit
    line.camera = 100.0
    line.run(120)
    assert line.limit <= limit


def test_an_outage_is_not_held_against_who_waits_for_a_keyframe_unless_it_comes_again() -> None:
    line = Line().run(10)
    line.loss = 0.9
    line.run(3)
    assert line.estimator.state is BandwidthState.LIMITED
    line.loss, line.is_idle = 0.0, True
    line.run(10)
    assert line.estimator.limit_bytes_per_s is None
    line.is_idle = False
    line.loss = 0.9
    line.run(3)
    line.loss, line.is_idle = 0.0, True
    limit = line.limit
    line.run(20)
    assert line.limit == limit


def test_a_dead_line_has_a_limit_too() -> None:
    line = Line(loss=0.95).run(120)
    assert line.limit == LIMIT_MIN_BYTES_PER_S


def test_many_small_reports_are_as_good_as_few() -> None:
    few, many = Line(bytes_per_s=37_500).run(20), Line(bytes_per_s=37_500).run(20, report_s=0.05)
    assert many.estimator.state is few.estimator.state is BandwidthState.LIMITED
    assert 0.5 < many.limit / few.limit < 2


def test_a_viewer_that_counts_backwards_or_lies_breaks_nothing() -> None:
    line = Line().run(3)
    for lost in (-5, 1 << 23, 0, 1 << 23, 0):
        line.lost = lost
        line.run(1)
    assert line.estimator.limit_bytes_per_s is None or line.limit >= LIMIT_MIN_BYTES_PER_S
