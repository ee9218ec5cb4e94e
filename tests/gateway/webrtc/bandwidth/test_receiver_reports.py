"""The estimated bandwidth, from the reports of viewers behind simulated links."""

import random
from dataclasses import dataclass, field

import pytest

from gateway.webrtc.bandwidth.receiver_reports import (
    LIMIT_MIN_BYTES_PER_S,
    MIN_RTT_WINDOW_S,
    RANDOM_LOSS_S,
    BandwidthState,
    ReportEstimator,
)

CAMERA = 187_500.0
"""1.5 Mbit/s."""
PACKET = 1200


@dataclass
class Link:
    """A link with a drop-tail queue, and a viewer behind it that reports once a second."""

    estimator: ReportEstimator = field(default_factory=ReportEstimator)
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
    _random: random.Random = field(default_factory=lambda: random.Random(3))

    def run(self, seconds: int, report_s: float = 1.0) -> "Link":
        for _ in range(round(seconds / report_s)):
            limit = self.estimator.limit_bytes_per_s
            packets = round(min(self.camera, limit if limit is not None else self.camera) * report_s / PACKET)
            packets = 0 if self.is_idle else packets
            for _ in range(packets):
                self._waiting = max(0.0, self._waiting - self.bytes_per_s * report_s / packets)
                self.sequence = (self.sequence + 1) & 0xFFFFFFFF
                if self._random.random() < self.loss or self._waiting + PACKET > self.queue_bytes:
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
def test_loss_that_retransmissions_repair_sets_no_limit(loss: float) -> None:
    link = Link(loss=loss).run(300)
    assert (link.estimator.state, link.estimator.limits, link.estimator.reason) == (BandwidthState.UNLIMITED, 0, None)


def test_one_bad_second_sets_no_limit() -> None:
    link = Link().run(5)
    for _ in range(20):
        link.loss = 0.4
        link.run(1)
        link.loss = 0.0
        link.run(3)
    assert link.estimator.limits == 0


@pytest.mark.parametrize("bytes_per_s", [37_500, 100_000])
def test_a_narrow_link_is_detected_and_kept_nearly_full(bytes_per_s: int) -> None:
    link = Link(bytes_per_s=bytes_per_s).run(5)
    assert link.estimator.state is BandwidthState.LIMITED
    assert link.estimator.reason is not None
    assert "of the packets are lost" in link.estimator.reason
    link.run(20)
    sent, lost, sequence = link.sent_bytes, link.lost, link.sequence
    link.run(200)
    packets = (link.sequence - sequence) & 0xFFFFFFFF
    assert 0.6 * bytes_per_s < (link.sent_bytes - sent) / 200 < 1.1 * bytes_per_s
    assert (link.lost - lost) / packets < 0.08
    assert link.estimator.state is BandwidthState.LIMITED


def test_the_limit_is_removed_soon_after_the_link_recovers() -> None:
    link = Link(bytes_per_s=37_500).run(30)
    assert link.estimator.state is BandwidthState.LIMITED
    link.bytes_per_s = 10_000_000
    link.run(60)
    assert (link.estimator.state, link.estimator.limit_bytes_per_s, link.estimator.reason) == (
        BandwidthState.UNLIMITED,
        None,
        None,
    )
    assert link.estimator.limits == 1


def test_a_queue_that_delays_without_loss_sets_a_limit() -> None:
    link = Link(bytes_per_s=150_000, queue_bytes=1e9).run(30)
    assert link.estimator.state is BandwidthState.LIMITED
    assert link.estimator.reason is not None
    assert "late" in link.estimator.reason
    assert link.lost == 0


def test_a_longer_route_is_not_mistaken_for_a_queue() -> None:
    link = Link().run(5)
    link.round_trip_s = 0.9
    link.run(round(4 * MIN_RTT_WINDOW_S))
    assert link.estimator.state is BandwidthState.UNLIMITED


def test_random_loss_removes_the_limit_and_is_evaluated_again_later() -> None:
    link = Link(loss=0.25)
    states = []
    for _ in range(30):
        link.run(1)
        states.append(link.estimator.state)
    assert BandwidthState.LIMITED in states
    assert states[-15:] == [BandwidthState.RANDOM_LOSS] * 15
    assert link.estimator.limit_bytes_per_s is None
    assert link.estimator.reason is not None
    assert link.estimator.reason.endswith("of the packets, however few are sent")
    link.loss = 0.0
    link.run(2)
    assert link.estimator.state is BandwidthState.UNLIMITED
    link.loss = 0.25
    link.run(round(RANDOM_LOSS_S) + 60)
    assert link.estimator.limits > 2, "it is evaluated again"


@pytest.mark.parametrize("loss", [0.1, 0.12, 0.15])
def test_random_loss_that_is_hardly_bad_limits_for_some_seconds_alone(loss: float) -> None:
    link, limited_s = Link(loss=loss), 0
    for _ in range(100):
        link.run(1)
        limited_s += link.estimator.limit_bytes_per_s is not None
    assert limited_s < 30
    assert link.estimator.state is not BandwidthState.LIMITED


def test_a_sub_stream_with_few_packets_is_not_limited_for_5_percent_random_loss() -> None:
    assert Link(loss=0.05, camera=31_250.0).run(1800).estimator.limits <= 1


def test_sending_little_does_not_raise_the_limit() -> None:
    link = Link(bytes_per_s=37_500).run(30)
    limit = link.limit
    link.camera = 100.0
    link.run(120)
    assert link.limit <= limit


def test_a_limit_after_one_outage_is_removed_soon_but_not_after_two() -> None:
    link = Link().run(10)
    link.loss = 0.9
    link.run(3)
    assert link.estimator.state is BandwidthState.LIMITED
    link.loss, link.is_idle = 0.0, True
    link.run(10)
    assert link.estimator.limit_bytes_per_s is None
    link.is_idle = False
    link.loss = 0.9
    link.run(3)
    link.loss, link.is_idle = 0.0, True
    limit = link.limit
    link.run(20)
    assert link.limit == limit


def test_a_dead_link_has_the_minimum_limit() -> None:
    link = Link(loss=0.95).run(120)
    assert link.limit == LIMIT_MIN_BYTES_PER_S


def test_frequent_reports_give_the_same_result_as_few() -> None:
    few, many = Link(bytes_per_s=37_500).run(20), Link(bytes_per_s=37_500).run(20, report_s=0.05)
    assert many.estimator.state is few.estimator.state is BandwidthState.LIMITED
    assert 0.5 < many.limit / few.limit < 2


def test_inconsistent_reports_do_no_harm() -> None:
    link = Link().run(3)
    for lost in (-5, 1 << 23, 0, 1 << 23, 0):
        link.lost = lost
        link.run(1)
    assert link.estimator.limit_bytes_per_s is None or link.limit >= LIMIT_MIN_BYTES_PER_S
