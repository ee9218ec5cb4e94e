"""The estimator, the limit and the probes, for viewers behind simulated links."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.webrtc.bandwidth.estimator import ESTIMATE_MIN_BPS, BandwidthEstimator
from gateway.webrtc.bandwidth.rendition_choice import UP_AFTER_MAX_S
from gateway.webrtc.bandwidth.sent_packets import SentPackets
from tests.support.link_simulation import Link, Simulation, steps

GOOD = 10e6


def test_a_good_network_is_not_limited_and_not_probed() -> None:
    sim = Simulation(Link(steps((0, GOOD)))).run(30)
    assert sim.limit.limits == 0
    assert sim.estimator.probing.probes == 0
    assert sim.estimator.estimate_bps is None or sim.estimator.estimate_bps > 4e6
    assert sim.pictures_per_s(5, 29) > 14.5


def test_a_link_that_just_carries_the_camera_is_not_mistaken_for_a_narrow_one() -> None:
    # Each keyframe fills its queue for 0.3 s.
    sim = Simulation(Link(steps((0, 5e6)), queue_bytes=200_000), sub_bps=250_000).run(60)
    assert sim.limit.limits == 0
    assert sim.chooser.switches <= 2
    assert sim.pictures_per_s(10, 59) > 14


def test_a_narrow_viewer_gets_the_sub_stream_within_3_s_and_main_within_10_s_of_a_good_network() -> None:
    sim = Simulation(Link(steps((0, 300_000), (30, GOOD))), sub_bps=250_000).run(60)
    first = sim.first("sub")
    assert first is not None
    assert first < 3, "the link's queue was full of the main stream for 0.8 s"
    assert sim.pictures_per_s(3, 30) >= 12
    again = sim.first("main", 30)
    assert again is not None
    assert again < 40
    assert sim.pictures_per_s(40, 59) > 14
    assert sim.chooser.switches == 2, "it never flaps"


def test_the_gop_of_a_new_viewer_tells_of_a_narrow_link_before_it_has_arrived() -> None:
    sim = Simulation(Link(steps((0, 300_000)), queue_bytes=40_000), sub_bps=250_000).run(3)
    first = next(sample.at_s for sample in sim.samples if sample.estimate_bps is not None)
    assert first < 0.6, "the queue of 1.1 s is not full yet"


@pytest.mark.parametrize("phase_s", [0.0, 0.9, 1.5])
def test_steps_down_that_the_sub_stream_fits_through_cost_no_pictures(phase_s: float) -> None:
    # Nothing tells of them before the next probe, which must not stand in the queue.
    rates = (0, 1e6), (8 + phase_s, 500_000), (16 + phase_s, 300_000), (24, 1e6), (32, GOOD)
    link = Link(steps(*rates), queue_bytes=40_000, burst_bytes=4_000)
    sim = Simulation(link, sub_bps=250_000, keyframe_share=0.08).run(45)
    assert sim.fewest_pictures(3, 32) >= 12
    again = sim.first("main", 32)
    assert again is not None
    assert again < 42


@pytest.mark.parametrize("phase_s", [0.5, 1.0])
def test_a_network_that_suddenly_carries_no_main_stream_shows_the_sub_stream_within_3_s(phase_s: float) -> None:
    rates = (0, 20e6), (10 + phase_s, 300_000), (25, GOOD)
    link = Link(steps(*rates), queue_bytes=40_000, burst_bytes=4_000)
    sim = Simulation(link, sub_bps=250_000, keyframe_share=0.08).run(36)
    assert sim.fewest_pictures(13 + phase_s, 25) >= 12
    assert sim.queue_s(12 + phase_s, 25) < 0.2, "the queue of 1 s drains before the sub stream is sent"
    again = sim.first("main", 25)
    assert again is not None
    assert again < 35


def test_a_link_that_is_narrow_for_a_moment_again_and_again_does_not_show_nothing() -> None:
    # Its queue is never long for a second, but no picture of the main stream is whole.
    link = Link(lambda now: 1e6 if now % 2 > 1.7 else 30e6, queue_bytes=200_000)
    sim = Simulation(link, sub_bps=250_000).run(30)
    assert sim.pictures_per_s(5, 29) > 12


@pytest.mark.parametrize("rate", [300_000, 1_000_000])
def test_without_a_sub_stream_the_limit_keeps_the_link_full_and_its_queue_short(rate: int) -> None:
    sim = Simulation(Link(steps((0, rate)), queue_bytes=rate / 8)).run(60)
    assert sim.limit.bytes_per_s is not None
    assert sim.limit.reason is not None
    assert "its network carries about" in sim.limit.reason
    assert sim.queue_s(10, 60, 0.5) < 0.3
    sent = [sample.sent_bps for sample in sim.samples if sample.at_s > 10]
    assert 0.55 * rate < sum(sent) / len(sent) < 1.05 * rate


def test_probes_cost_little_while_the_link_is_narrow() -> None:
    sim = Simulation(Link(steps((0, 300_000))), sub_bps=250_000).run(120)
    assert sim.estimator.probing.probes > 5, "it is tried again and again"
    assert sim.probe_bytes < 0.08 * 300_000 / 8 * 120


def test_loss_that_retransmissions_repair_changes_nothing() -> None:
    sim = Simulation(Link(steps((0, GOOD)), loss=0.05), sub_bps=250_000).run(60)
    assert (sim.limit.limits, sim.chooser.switches) == (0, 0)


@pytest.mark.parametrize("loss", [0.08, 0.1, 0.15, 0.2])
def test_random_loss_on_a_wide_link_costs_no_main_stream(loss: float) -> None:
    link = Link(steps((0, GOOD)), loss=loss, dice=random.Random(5))
    sim = Simulation(link, sub_bps=250_000).run(30)
    assert {name for at, name in sim.shown if at >= 3} == {"main"}
    assert sim.pictures_per_s(3, 30) > 14
    assert sim.limit.limits == 0


@pytest.mark.parametrize("rate", [1_000_000, 2_000_000, 3_000_000])
def test_random_loss_does_not_hide_a_narrow_link(rate: int) -> None:
    sim = Simulation(Link(steps((0, rate)), loss=0.05), sub_bps=250_000).run(20)
    assert {name for at, name in sim.shown if at >= 3} == {"sub"}
    assert sim.fewest_pictures(3, 20) >= 12


def test_loss_that_does_not_depend_on_the_rate_is_recognised() -> None:
    sim = Simulation(Link(steps((0, GOOD)), loss=0.25)).run(40)
    assert sim.estimator.loss.random_loss is not None
    assert sim.limit.bytes_per_s is None


def test_delay_and_jitter_are_not_congestion() -> None:
    sim = Simulation(Link(steps((0, GOOD)), delay_s=0.1, jitter_s=0.03), sub_bps=250_000).run(60)
    assert (sim.limit.limits, sim.chooser.switches) == (0, 0)


def test_a_bloated_queue_is_seen_by_its_delay_and_every_step_is_followed() -> None:
    rates = (0, 1e6), (20, 3e6), (40, GOOD)
    sim = Simulation(Link(steps(*rates), queue_bytes=1e6), sub_bps=250_000).run(60)
    for until, rate in ((19, 1e6), (39, 3e6)):
        estimate = next(sample.estimate_bps for sample in sim.samples if sample.at_s > until)
        assert estimate is not None
        assert 0.7 * rate < estimate < 1.15 * rate
    assert sim.rendition == "main"
    assert sim.queue_s(10, 40) < 0.2


@settings(deadline=None, max_examples=4)
@given(
    st.lists(st.tuples(st.floats(0, 20), st.sampled_from([200e3, 600e3, 2e6, 6e6, 20e6])), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.03, 0.3]),
    st.sampled_from([8_000, 60_000, 1_000_000]),
)
def test_after_any_schedule_a_good_network_gives_main_back(
    rates: list[tuple[float, float]], loss: float, queue_bytes: int
) -> None:
    link = Link(steps((0, 2e6), *rates, (20.5, 50e6)), loss=loss, queue_bytes=queue_bytes)
    sim = Simulation(link, sub_bps=250_000).run(20.5)
    for sample in sim.samples:
        assert sample.estimate_bps is None or sample.estimate_bps >= ESTIMATE_MIN_BPS
    link.loss = 0.0
    while sim.rendition != "main" and sim.now < 20.5 + 2 * UP_AFTER_MAX_S:
        sim.run(1)
    assert sim.rendition == "main"
    since_s = sim.run(10).now
    assert sim.pictures_per_s(since_s - 6, since_s - 1) > 13


@given(
    st.lists(
        st.tuples(
            st.integers(0, 200),
            st.integers(0, 1 << 24),
            st.lists(st.none() | st.integers(-(1 << 15), 1 << 15), max_size=60),
        ),
        max_size=30,
    )
)
def test_feedback_that_makes_no_sense_does_no_harm(messages: list[tuple[int, int, list[int | None]]]) -> None:
    sent = SentPackets()
    estimator = BandwidthEstimator(sent)
    for number, (base, reference, arrivals) in enumerate(messages):
        sent.add(number / 10, 30, 30_000)
        estimator.take(number / 10 + 0.05, base, reference & 0xFFFFFF, arrivals)
        assert estimator.estimate_bps is None or estimator.estimate_bps >= ESTIMATE_MIN_BPS


def test_a_round_trip_has_no_time_in_it_in_which_a_receiver_collects_arrivals() -> None:
    """A lost retransmission is sent once more as soon as it is asked for: a receiver asks after a round trip."""
    sent = SentPackets(first_sequence=0)
    estimator = BandwidthEstimator(sent)
    for number in range(10):
        at_s = 10 + number / 15
        sequence = sent.add(at_s, 1, 1000)
        collects_s = 0.1 * (number % 3)
        arrival = round((at_s + 0.01) * 4000) - 100 * 256
        estimator.take(at_s + 0.02 + collects_s, sequence, 100, [arrival])
    assert estimator.round_trip_s == pytest.approx(0.02)
    assert estimator.least_round_trip_s == pytest.approx(0.02)
    sequence = sent.add(11.0, 1, 1000)
    estimator.take(11.12, sequence, 100, [round(11.01 * 4000) - 100 * 256])
    assert estimator.round_trip_s == pytest.approx(0.12)
    assert estimator.least_round_trip_s == pytest.approx(0.02)
