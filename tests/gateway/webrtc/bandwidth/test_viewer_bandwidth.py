"""What a viewer's feedback means for the stream that it is sent now."""

import pytest

from gateway.webrtc.bandwidth.sent_packets import REFERENCE_S, TICK_S, SentPackets
from gateway.webrtc.bandwidth.viewer_bandwidth import SETTLE_S, ViewerBandwidth

MAIN, SUB = 500_000.0, 31_250.0
"""Bytes a second."""
LINK_BYTES_PER_S = 37_500.0
QUEUE_S = 1.0


class NarrowLink:
    """300 kbit/s with a queue of a second, that tells ten times a second what has arrived."""

    def __init__(self) -> None:
        self.now = 100.0
        self.bytes_per_s = LINK_BYTES_PER_S
        self.sent = SentPackets()
        self.bandwidth = ViewerBandwidth(self.sent)
        self._free_at_s = 0.0
        self._arrivals: dict[int, float | None] = {}
        self._told = 0

    def play(self, seconds: float, bytes_per_s: float, *, stream_bytes_per_s: float | None = None) -> None:
        """Send a stream, packet by packet. ``stream_bytes_per_s`` is what is known of its rate."""
        known = bytes_per_s if stream_bytes_per_s is None else stream_bytes_per_s
        end, due, told_s = self.now + seconds, 0.0, self.now
        while self.now < end:
            due += 0.005 * bytes_per_s
            while due > 0:
                due -= 1000
                number = self.sent.add(self.now, 1, 972)
                self._free_at_s = max(self._free_at_s, self.now)
                is_full = self._free_at_s - self.now > QUEUE_S
                self._free_at_s += 0 if is_full else 1000 / self.bytes_per_s
                self._arrivals[number] = None if is_full else self._free_at_s
            self.now += 0.005
            if self.now - told_s >= 0.1:
                told_s = self.now
                self._tell(known)

    def _tell(self, stream_bytes_per_s: float) -> None:
        came = [number for number, at in self._arrivals.items() if at is not None and at <= self.now]
        if not came:
            return
        base, end = self._told, max(came) + 1
        reference = int(self.now / REFERENCE_S)
        arrivals: list[int | None] = []
        for number in range(base, end):
            at = self._arrivals.pop(number)
            arrivals.append(None if at is None else round((at - reference * REFERENCE_S) / TICK_S))
        self._told = end
        self.bandwidth.take_feedback(self.now, base & 0xFFFF, reference & 0xFFFFFF, arrivals, stream_bytes_per_s)


@pytest.fixture
def link() -> NarrowLink:
    """After two seconds of a stream that the link does not carry."""
    link = NarrowLink()
    link.play(2.0, MAIN)
    return link


def test_a_stream_that_the_link_does_not_carry_is_limited(link: NarrowLink) -> None:
    assert link.bandwidth.limit_bytes_per_s is not None
    assert link.bandwidth.has_lost


def test_what_was_lost_of_the_stream_before_does_not_limit_the_one_that_fits(link: NarrowLink) -> None:
    link.bandwidth.switched(link.now, is_smaller=True)
    for _ in range(8):
        # Its rate is not known until its first GOP has come.
        link.play(0.5, SUB, stream_bytes_per_s=0.0)
        if link.now < 102.0 + SETTLE_S:
            assert link.bandwidth.limit_bytes_per_s is None


def test_a_smaller_stream_that_the_link_does_not_carry_either_is_limited_then(link: NarrowLink) -> None:
    link.bandwidth.switched(link.now, is_smaller=True)
    link.play(SETTLE_S + 4.0, MAIN / 4)
    assert link.bandwidth.limit_bytes_per_s is not None


def test_there_is_no_probe_while_packets_wait_in_a_queue(link: NarrowLink) -> None:
    link.bandwidth.switched(link.now, is_smaller=True)
    link.bandwidth.set_wanted(4e6)
    assert link.bandwidth.estimator is not None
    probes = []
    for _ in range(16):
        link.play(0.5, SUB / 2)
        probe = link.bandwidth.next_probe(link.now)
        assert probe is None or link.bandwidth.estimator.queue_s < 0.1
        probes += [probe] if probe is not None else []
    assert probes, "the queue has drained"


def test_the_pace_while_a_queue_drains_is_not_below_a_stream_that_fits(link: NarrowLink) -> None:
    link.bandwidth.switched(link.now, is_smaller=True)
    link.play(1.0, SUB)
    assert link.bandwidth.estimator is not None
    assert link.bandwidth.estimator.is_queued
    pace = link.bandwidth.pace_bytes_per_s
    assert pace is not None
    assert SUB <= pace <= 1.2 * LINK_BYTES_PER_S


def test_a_link_that_suddenly_carries_a_tenth_is_known_and_limited_before_half_a_second_is_over() -> None:
    link = NarrowLink()
    link.bytes_per_s = 10 * MAIN
    link.play(6.0, MAIN)
    assert not link.bandwidth.take_drop()
    link.bytes_per_s = LINK_BYTES_PER_S
    link.play(0.45, MAIN)
    assert link.bandwidth.take_drop(), "its queue is to drain"
    limit = link.bandwidth.limit_bytes_per_s
    assert limit is not None, "the main stream would fill it again before the sub stream is there"
    assert 0.6 * LINK_BYTES_PER_S < limit < LINK_BYTES_PER_S
    assert "a moment ago" in (link.bandwidth.reason or "")
    link.play(2.0, 0.8 * limit, stream_bytes_per_s=MAIN)
    assert not link.bandwidth.take_drop()
