"""One viewer under a limit of its bandwidth: which frames are sent, and what else shares the rate."""

from itertools import pairwise

import pytest
from aiortc.rtp import RtpPacket

from tests.gateway.webrtc.rtp.sender_harness import SenderHarness
from tests.gateway.webrtc.wire import (
    FrameSource,
    sequences,
    timestamps,
)

LIMIT = 40_000
"""Bytes a second; the source's 30 frames of 3000 bytes are 90,000."""


def limited(source: FrameSource, *, rtx: bool = False) -> SenderHarness:
    """A viewer under a limit that has had the keyframe of the present GOP."""
    viewer = SenderHarness(source, rtx=rtx)
    viewer.start()
    viewer.catch_up()
    viewer.wire.take()
    viewer.sender.set_limit(LIMIT, viewer.source.history)
    viewer.catch_up()
    viewer.wire.take()
    return viewer


def play(viewer: SenderHarness, seconds: int, *, key_size: int = 20_000, gop: int = 30) -> None:
    """A camera in real time, with the pacer's ticks between its frames."""
    for number in range(seconds * 30):
        is_key = number % gop == 0
        frame = viewer.source.add(key=is_key, size=key_size if is_key else 3000)
        viewer.sender.on_frame(frame, viewer.source.history, viewer.now)
        for _ in range(6):
            viewer.sender.advance(viewer.source.history, viewer.now)
            viewer.now += 1 / 180


def frames_of(packets: list[RtpPacket]) -> list[list[RtpPacket]]:
    """Packets by frame, in order of sending."""
    frames: list[list[RtpPacket]] = []
    for item in packets:
        if not frames or frames[-1][0].timestamp != item.timestamp:
            frames.append([])
        frames[-1].append(item)
    return frames


def is_keyframe(frame: list[RtpPacket]) -> bool:
    """Whether it begins with a part of an IDR picture (FU-A, RFC 6184 §5.8)."""
    return frame[0].payload[0] & 0x1F == 28 and frame[0].payload[1] & 0x1F == 5


def test_a_limit_begins_with_only_the_keyframe_of_the_current_gop(source: FrameSource) -> None:
    viewer = SenderHarness(source)
    viewer.start()
    viewer.catch_up()
    last = viewer.wire.take()[-1]
    assert viewer.sender.set_limit(LIMIT, source.history)
    began = viewer.now
    viewer.catch_up()
    assert viewer.now - began > 25_000 / LIMIT, "at its pace"
    packets = [last, *viewer.wire.take()]
    assert sequences(packets) == list(range(len(packets)))
    frames = frames_of(packets[1:])
    assert len(frames) == 1
    assert is_keyframe(frames[0])
    assert b"".join(packet.payload for packet in frames[0]) == b"".join(source.history._frames[0].payloads)
    assert not viewer.sender.set_limit(LIMIT // 2, source.history)
    assert viewer.sender.is_waiting_for_keyframe


@pytest.mark.parametrize("key_size", [20_000, 100_000], ids=["GOP heads", "a keyframe lasts for GOPs"])
def test_under_a_limit_whole_frames_from_a_keyframe_on_are_sent_at_its_rate(source: FrameSource, key_size: int) -> None:
    viewer = limited(source)
    viewer.live()
    assert viewer.wire.take() == [], "it waits for a keyframe"
    play(viewer, 12, key_size=key_size)
    sizes = sum(map(len, viewer.wire.datagrams))
    assert 0.6 * 12 * LIMIT < sizes < 1.1 * 12 * LIMIT
    packets = viewer.wire.take()
    assert sequences(packets) == list(range(len(packets))), "nothing to ask for"
    assert timestamps(packets) == sorted(timestamps(packets))
    frames = frames_of(packets)
    assert is_keyframe(frames[0])
    for frame, following in pairwise(frames):
        assert frame[-1].marker or is_keyframe(following), "a frame that is not whole ends at a keyframe"
    keys = [frame for frame in frames if is_keyframe(frame)]
    assert len(keys) >= 4
    assert all(frame[-1].marker for frame in keys[:-1]), "a keyframe that was begun is sent to its end"
    assert viewer.sender.frames_dropped > 100


def test_under_a_limit_little_is_sent_at_once(source: FrameSource) -> None:
    viewer = limited(source)
    viewer.now += 10
    viewer.live(key=True, size=60_000)
    assert sum(map(len, viewer.wire.datagrams)) < 0.1 * LIMIT + 1500


def test_a_limit_removed_within_a_frame_drops_nothing(source: FrameSource) -> None:
    viewer = limited(source)
    viewer.live(key=True, size=60_000)
    viewer.sender.set_limit(None, source.history)
    viewer.now += 0.1
    viewer.catch_up()
    viewer.live()
    packets = viewer.wire.take()
    assert sequences(packets) == list(range(len(packets)))
    assert [len(frame) for frame in frames_of(packets)] == [len(viewer.source.history._frames[-2].payloads), 3]
    assert b"".join(packet.payload for packet in packets[-3:]) == b"".join(viewer.source.history._frames[-1].payloads)


def test_under_a_limit_retransmissions_share_the_rate_and_go_first(source: FrameSource) -> None:
    viewer = limited(source, rtx=True)
    viewer.live(key=True, size=60_000)
    lost = viewer.wire.take()[0].sequence_number
    for _ in range(1000):
        viewer.sender.retransmit([lost], viewer.now)
    repairs = sum(map(len, viewer.wire.datagrams))
    assert 0.3 * LIMIT < repairs < 0.7 * LIMIT
    viewer.wire.take()
    viewer.sender.advance(source.history, viewer.now)
    assert viewer.wire.take() == [], "what is new waits for them"


def test_under_a_limit_skipped_packets_are_not_retransmitted_nor_a_pli_answered(source: FrameSource) -> None:
    viewer = SenderHarness(source, rtx=True)
    viewer.start()
    viewer.catch_up()
    lost = viewer.wire.take()[-1].sequence_number
    viewer.sender.set_limit(LIMIT, viewer.source.history)
    viewer.live(key=True)
    viewer.wire.take()
    viewer.sender.retransmit([lost], viewer.now)
    viewer.now += 30
    assert not viewer.sender.request_keyframe(source.history, viewer.now)
    assert viewer.wire.take() == []
    assert viewer.sender.retransmitter.refused == 1
