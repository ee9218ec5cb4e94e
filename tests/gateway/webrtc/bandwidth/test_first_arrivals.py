"""What the first packets to a viewer tell."""

import pytest

from gateway.webrtc.bandwidth.first_arrivals import FirstArrivals
from gateway.webrtc.bandwidth.sent_packets import PacketGroup


def group(sent_s: float, first_s: float, last_s: float, count: int) -> PacketGroup:
    """``count`` packets of 1000 bytes. The receiver's clock is 500 s ahead."""
    return PacketGroup(sent_s, 500 + first_s, 500 + last_s, count, 0, 1000.0 * count)


def test_a_gop_that_a_narrow_link_spreads_is_late_and_has_the_links_rate() -> None:
    arrivals = FirstArrivals()
    # Five packets at once: the tokens of a shaper. Then 30 packets a second.
    arrivals.add([group(0.0, 0.02, 0.03, 5)])
    assert arrivals.rate_bps is None
    for number in range(3):
        assert not arrivals.is_late
        arrivals.add([group(0.0, 0.06 + number / 10, 0.13 + number / 10, 3)])
    assert arrivals.is_late
    assert arrivals.rate_bps == pytest.approx(240_000)


def test_a_good_link_tells_no_rate() -> None:
    arrivals = FirstArrivals()
    arrivals.add([group(0.0, 0.01, 0.02, 70)])
    arrivals.add([group(0.1, 0.11, 0.14, 70)])
    assert arrivals.rate_bps is None
    assert not arrivals.is_late


def test_a_stream_that_is_sent_slowly_has_the_senders_rate_which_tells_nothing() -> None:
    arrivals = FirstArrivals()
    for number in range(30):
        arrivals.add([group(number / 15, number / 15 + 0.02, number / 15 + 0.03, 3)])
    assert arrivals.rate_bps is None
    assert not arrivals.is_late


def test_one_late_message_is_a_pause_of_the_radio() -> None:
    arrivals = FirstArrivals()
    arrivals.add([group(0.0, 0.01, 0.02, 10)])
    arrivals.add([group(0.1, 0.35, 0.36, 10)])
    arrivals.add([group(0.4, 0.41, 0.42, 10)])
    arrivals.add([group(0.5, 0.75, 0.76, 10)])
    assert not arrivals.is_late


def test_messages_that_arrive_in_another_order_tell_no_rate() -> None:
    arrivals = FirstArrivals()
    arrivals.add([group(0.1, 0.2, 0.2, 5)])
    arrivals.add([group(0.0, 0.2, 0.2, 5)])
    assert arrivals.rate_bps is None
