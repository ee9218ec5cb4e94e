"""What a viewer asks for again: what is sent, what is refused, and how often."""

import pytest
from aiortc.rtp import unwrap_rtx

from tests.gateway.webrtc.rtp.sender_harness import RTX_SSRC, SSRC, SenderHarness
from tests.gateway.webrtc.wire import (
    FrameSource,
    sequences,
)


@pytest.mark.parametrize("first_sequence", [0, 65_500], ids=["plain", "over the roll-over"])
def test_a_lost_packet_is_sent_again_unchanged(source: FrameSource, first_sequence: int) -> None:
    viewer = SenderHarness(source, first_sequence=first_sequence)
    viewer.start()
    viewer.catch_up()
    datagrams = list(viewer.wire.datagrams)
    packets = viewer.wire.take()
    lost = packets[100].sequence_number
    viewer.sender.retransmit([lost], viewer.now)
    assert viewer.wire.datagrams == [datagrams[100]]
    assert viewer.sender.retransmitter.sent == 1


def test_a_lost_packet_is_sent_again_as_rtx(source: FrameSource) -> None:
    viewer = SenderHarness(source, rtx=True)
    viewer.start()
    viewer.catch_up()
    packets = viewer.wire.take()
    viewer.now += 1
    viewer.sender.request_keyframe(source.history, viewer.now + 5)
    viewer.catch_up()
    packets += viewer.wire.take()
    asked = [5, 150, len(packets) - 1]
    viewer.sender.retransmit([packets[place].sequence_number for place in asked], viewer.now)
    repeated = viewer.wire.take()
    assert {packet.ssrc for packet in repeated} == {RTX_SSRC}
    assert {packet.payload_type for packet in repeated} == {97}
    assert sequences(repeated) == [0, 1, 2]
    for place, rtx in zip(asked, repeated, strict=True):
        original = unwrap_rtx(rtx, 96, SSRC)
        assert original.serialize() == packets[place].serialize()


def test_retransmission_of_a_packet_never_sent_or_too_old_is_refused(source: FrameSource) -> None:
    viewer = SenderHarness(source, rtx=True, first_sequence=1000)
    viewer.start()
    viewer.sender.retransmit([5], viewer.now)
    viewer.catch_up()
    viewer.wire.take()
    viewer.sender.retransmit([999, 60_000], viewer.now)
    assert viewer.wire.take() == []
    assert viewer.sender.retransmitter.refused == 3


def test_retransmissions_are_rate_limited(source: FrameSource) -> None:
    viewer = SenderHarness(source, rtx=True)
    viewer.start()
    viewer.catch_up()
    lost = viewer.wire.take()[50].sequence_number
    for _ in range(1000):
        viewer.sender.retransmit([lost], viewer.now)
    assert sum(map(len, viewer.wire.datagrams)) < 300_000
    assert viewer.sender.retransmitter.refused > 700


def test_a_packet_is_not_sent_again_before_the_last_copy_can_have_arrived(source: FrameSource) -> None:
    viewer = SenderHarness(source, rtx=True)
    viewer.start()
    viewer.catch_up()
    lost, other = (packet.sequence_number for packet in viewer.wire.take()[50:52])
    viewer.sender.retransmitter.round_trip_s = 0.95
    sent = []
    for _ in range(15):
        # Chromium repeats a NACK ten times a second, whatever the round trip is.
        viewer.sender.retransmit([lost], viewer.now)
        sent.append(len(viewer.wire.take()))
        viewer.now += 0.1
    assert sent == [1, *[0] * 9, 1, *[0] * 4]
    viewer.sender.retransmit([other], viewer.now)
    assert len(viewer.wire.take()) == 1, "another one is"


def test_on_a_lossy_network_a_packet_is_sent_again_twice_by_two_sequence_numbers(source: FrameSource) -> None:
    viewer = SenderHarness(source, rtx=True)
    viewer.start()
    viewer.catch_up()
    lost = viewer.wire.take()[50].sequence_number
    viewer.sender.retransmitter.copies = 2
    viewer.sender.retransmit([lost], viewer.now)
    first, second = viewer.wire.take()
    assert (first.payload, first.timestamp) == (second.payload, second.timestamp)
    assert second.sequence_number == first.sequence_number + 1
    assert viewer.sender.retransmitter.sent == 1
