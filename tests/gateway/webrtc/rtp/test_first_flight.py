"""How much a new viewer is sent before its first feedback."""

from gateway.webrtc.bandwidth.sent_packets import SentPackets
from gateway.webrtc.rtp.first_flight import FLIGHT_BYTES, FLIGHT_MAX_S, FirstFlight

PACKET_BYTES = 1000


def send(flight: FirstFlight, sent: SentPackets, now: float) -> int:
    """Send as long as it may be, a megabyte at most. Returns how many packets that were."""
    count = 0
    while count < 1000 and flight.may_send(now):
        sent.add(now, 1, PACKET_BYTES)
        count += 1
    return count


def test_a_keyframe_is_under_way_until_feedback_covers_all_of_it() -> None:
    sent = SentPackets()
    flight = FirstFlight(sent)
    count = send(flight, sent, 1.0)
    assert FLIGHT_BYTES <= sent.bytes_sent < FLIGHT_BYTES + 2 * PACKET_BYTES
    sent.take(0, 10, [4] * (count - 1))
    assert send(flight, sent, 1.1) == 0, "one packet is not told of"
    sent.take(count - 1, 10, [None])
    assert send(flight, sent, 1.15) == 1000, "that it is lost tells as much"


def test_who_says_nothing_waits_no_longer_than_a_round_trip() -> None:
    sent = SentPackets()
    flight = FirstFlight(sent)
    assert send(flight, sent, 1.0) < 1000
    assert send(flight, sent, 1.0 + FLIGHT_MAX_S) == 0
    assert send(flight, sent, 1.01 + FLIGHT_MAX_S) == 1000


def test_a_viewer_without_feedback_or_with_a_pace_of_its_own_waits_for_nothing() -> None:
    sent = SentPackets()
    assert send(FirstFlight(None), sent, 1.0) == 1000
    flight = FirstFlight(sent)
    send(flight, sent, 1.0)
    flight.end()
    assert send(flight, sent, 1.0) == 1000
