"""The feedback to a publisher: arrivals, missing packets, rates and keyframes. Sans-IO."""

import pytest
from aiortc.rtp import RtcpPacket, RtcpRtpfbPacket

from gateway.webrtc.rtp.rtcp import parse
from gateway.webrtc.rtp.transport_cc import Remb, TransportFeedback
from gateway.whip.keyframe_timer import INTERVAL_S, RETRY_S, KeyframeTimer
from gateway.whip.rate_estimate import START_BPS, RateEstimate, remb
from gateway.whip.reception import GIVE_UP_S, MISSING_MAX, MissingPackets, nack
from gateway.whip.reception import RETRY_S as ASK_AGAIN_S
from gateway.whip.transport_feedback import ARRIVALS_MAX, TransportArrivals


def told(arrivals: TransportArrivals) -> list[TransportFeedback]:
    packets = [packet for message in arrivals.take(1, 2) for packet in parse(message)]
    assert all(isinstance(packet, TransportFeedback) for packet in packets)
    return packets  # type: ignore[return-value]


def times(feedback: TransportFeedback) -> dict[int, float]:
    """When each number arrived, in seconds."""
    return {
        (feedback.base_sequence + place) % 65536: (feedback.reference * 256 + arrival) / 4000
        for place, arrival in enumerate(feedback.arrivals)
        if arrival is not None
    }


@pytest.mark.parametrize("first", [7, 65530])
@pytest.mark.parametrize("lost", [set(), {3}, set(range(4, 30)), set(range(1, 59, 2))])
def test_arrivals_are_told_to_a_quarter_of_a_millisecond(first: int, lost: set[int]) -> None:
    arrivals = TransportArrivals()
    sent = {(first + n) % 65536: 100.0 + 0.0031 * n for n in range(60) if n not in lost}
    for number, at in sent.items():
        arrivals.note(number, at)
    (feedback,) = told(arrivals)
    assert times(feedback) == pytest.approx(sent, abs=1 / 4000)
    assert not arrivals.take(1, 2), "a message reports each once"
    arrivals.note((first + 61) % 65536, 100.4)
    (feedback,) = told(arrivals)
    assert feedback.base_sequence == (first + 60) % 65536, "it goes on where the last one ended"
    assert feedback.number == 1


def test_packets_that_were_swapped_and_long_pauses_are_told() -> None:
    arrivals = TransportArrivals()
    for number, at in ((10, 5.0), (12, 5.01), (11, 5.012), (13, 25.0)):
        arrivals.note(number, at)
    found = told(arrivals)
    assert len(found) == 2, "a pause is more than a message can say"
    assert times(found[0]) | times(found[1]) == pytest.approx({10: 5.0, 11: 5.012, 12: 5.01, 13: 25.0}, abs=1 / 4000)
    arrivals.note(9, 25.1)
    assert not arrivals.take(1, 2), "it was listed as lost"


def test_arrivals_are_bounded() -> None:
    arrivals = TransportArrivals()
    for number in range(ARRIVALS_MAX + 10):
        arrivals.note(number, number / 10_000)
    assert arrivals.dropped == 10
    assert sum(len(times(each)) for each in told(arrivals)) == ARRIVALS_MAX


def test_a_gap_is_asked_for_at_once_again_and_not_for_ever() -> None:
    missing = MissingPackets()
    for sequence in (65533, 65534, 2):
        missing.note(sequence, 0.0)
    assert missing.take_due(0.0) == [65535, 0, 1]
    assert missing.take_due(ASK_AGAIN_S / 2) == []
    missing.note(0, 0.01)
    assert missing.take_due(ASK_AGAIN_S) == [65535, 1]
    assert missing.take_due(GIVE_UP_S) == []
    assert (len(missing), missing.missed, missing.asked) == (0, 3, 5)
    missing.note(3 + MISSING_MAX + 5, 1.0)
    assert missing.take_due(1.0) == [], "the network has failed"


def test_a_nack_lists_every_packet() -> None:
    lost = [65535, 0, 1, 16, 40, 41]
    (packet,) = RtcpPacket.parse(nack(1, 2, lost))
    assert isinstance(packet, RtcpRtpfbPacket)
    assert (packet.fmt, packet.media_ssrc, [number % 65536 for number in packet.lost]) == (1, 2, lost)


def test_the_rate_grows_without_loss_and_falls_with_it() -> None:
    rate = RateEstimate()
    rates = []
    for _ in range(10):
        rate.note(int(rate.bits_per_s / 8))
        rates.append(rate.update(1.0, 0.0))
    assert rates == sorted(rates)
    assert rates[-1] > 10 * START_BPS
    assert rate.update(1.0, 0.0) == rates[-1], "a sender that sends nothing says nothing"
    rate.note(int(rates[-1] / 8))
    assert rate.update(1.0, 0.3) < 0.9 * rates[-1]
    (packet,) = parse(remb(1, 2, 3_000_000.0))
    assert isinstance(packet, Remb)
    assert packet.bits_per_s == pytest.approx(3_000_000, rel=0.001)


def test_a_keyframe_is_asked_for_at_once_rarely_and_when_the_last_one_is_old() -> None:
    timer = KeyframeTimer()
    assert timer.is_due(0.0, float("-inf"), 0.0), "to begin"
    assert not timer.is_due(0.0, float("-inf"), RETRY_S / 2)
    assert timer.is_due(0.0, float("-inf"), RETRY_S), "again"
    assert not timer.is_due(0.0, float("-inf"), 2 * RETRY_S), "and then more seldom"
    assert not timer.is_due(None, 10.0, 10.1)
    assert timer.is_due(10.6, 10.0, 10.6), "after a loss"
    assert not timer.is_due(None, 20.0, 20.0 + 0.9 * INTERVAL_S)
    assert timer.is_due(None, 20.0, 20.0 + INTERVAL_S)
    assert timer.count == 4
