"""One viewer's stream: joining, pacing, falling behind, asking again."""

from itertools import pairwise

import pytest
from aiortc.rtp import RtpPacket, unwrap_rtx

from gateway.webrtc.bandwidth.sent_packets import SentPackets
from gateway.webrtc.rtp.packets import header_extensions, packet_template
from gateway.webrtc.rtp.send_pace import BUCKET_BYTES, PACE_BYTES_PER_S
from gateway.webrtc.rtp.sequence_mapping import PacketFormat
from gateway.webrtc.rtp.video_sender import VideoSender
from tests.gateway.webrtc.wire import (
    FRAME_90K,
    RTX,
    VIDEO,
    CapturingTransport,
    FrameSource,
    sequences,
    srtp,
    timestamps,
)

SSRC, RTX_SSRC = 0x1111, 0x2222


class SenderHarness:
    """A sender, its transport, and a time that the test advances."""

    def __init__(
        self,
        source: FrameSource,
        *,
        rtx: bool = False,
        first_sequence: int | None = None,
        log: SentPackets | None = None,
    ) -> None:
        self.source = source
        self.wire = CapturingTransport()
        self.now = 100.0
        video = (
            VIDEO
            if log is None
            else packet_template(96, header_extensions({3: bytes(2)}), 16, has_transport_sequence=True)
        )
        self.sender = VideoSender(
            srtp(),
            PacketFormat(video, RTX if rtx else None),
            SSRC,
            self.wire,
            rtx_ssrc=RTX_SSRC,
            first_sequence=first_sequence,
            log=log,
        )

    def start(self) -> bool:
        return self.sender.start(self.source.history, self.now)

    def live(self, *, key: bool = False, size: int = 3000) -> bool:
        self.now += 1 / 30
        return self.sender.on_frame(self.source.add(key=key, size=size), self.source.history, self.now)

    def catch_up(self, ticks: int = 10_000) -> int:
        """Tick until it is at the live edge; returns the number of ticks."""
        for tick in range(ticks):
            if self.sender.advance(self.source.history, self.now):
                return tick
            self.now += 0.005
        return ticks


@pytest.fixture
def source() -> FrameSource:
    source = FrameSource()
    source.add(key=True, size=30_000)
    source.add(count=99)
    return source


def test_a_new_viewer_gets_the_whole_gop_contiguous_and_ending_now(source: FrameSource) -> None:
    viewer = SenderHarness(source)
    assert viewer.start()
    viewer.catch_up()
    packets = viewer.wire.take()
    assert [packet.payload for packet in packets] == [
        payload for index in range(100) for payload in (source.history._frames[index].payloads)
    ]
    assert sequences(packets) == list(range(len(packets)))
    times = timestamps(packets)
    assert len(times) == 100
    assert times == sorted(times)
    newest = source.history.newest
    assert newest is not None
    assert packets[-1].timestamp == viewer.sender.timestamp(newest.timestamp)
    assert times[-1] < 10_000, "the replay takes no longer than 0.1 s of media time"


def test_after_the_replay_timestamps_follow_the_camera(source: FrameSource) -> None:
    viewer = SenderHarness(source)
    viewer.start()
    viewer.catch_up()
    before = viewer.wire.take()
    for _ in range(3):
        assert viewer.live()
    after = viewer.wire.take()
    assert sequences([before[-1], *after]) == list(range(len(after) + 1))
    assert timestamps([before[-1], *after]) == [0, FRAME_90K, 2 * FRAME_90K, 3 * FRAME_90K]


def test_frames_that_come_during_the_replay_follow_it_in_order(source: FrameSource) -> None:
    viewer = SenderHarness(source)
    viewer.start()
    viewer.sender.advance(source.history, viewer.now)
    assert not viewer.live()
    assert not viewer.live()
    viewer.catch_up()
    packets = viewer.wire.take()
    assert sequences(packets) == list(range(len(packets)))
    assert timestamps(packets) == sorted(timestamps(packets))
    assert len(timestamps(packets)) == 102


def test_a_replay_is_paced(source: FrameSource) -> None:
    source.add(size=20_000, count=100)
    viewer = SenderHarness(source)
    viewer.start()
    began, sent = viewer.now, 0
    while not viewer.sender.advance(source.history, viewer.now):
        sent = sum(map(len, viewer.wire.datagrams))
        assert sent <= (viewer.now - began) * PACE_BYTES_PER_S + 3 * BUCKET_BYTES
        viewer.now += 0.005
    assert sent > 2_000_000


def test_a_large_live_keyframe_is_paced_too(source: FrameSource) -> None:
    viewer = SenderHarness(source)
    viewer.start()
    viewer.catch_up()
    viewer.wire.take()
    viewer.now += 1
    assert not viewer.live(key=True, size=500_000)
    assert sum(map(len, viewer.wire.datagrams)) < 3 * BUCKET_BYTES
    assert viewer.catch_up() > 10
    packets = viewer.wire.take()
    assert sequences(packets) == list(range(len(packets)))
    assert sum(len(packet.payload) for packet in packets) > 500_000


def test_without_a_gop_a_new_viewer_waits_for_a_keyframe() -> None:
    source = FrameSource()
    source.add(count=3)
    viewer = SenderHarness(source)
    assert not viewer.start()
    assert viewer.live()
    assert viewer.wire.take() == []
    assert viewer.live(key=True)
    assert viewer.live()
    assert len(timestamps(viewer.wire.take())) == 2
    assert viewer.sender.frames_dropped == 0


def test_a_full_socket_delays_frames_and_loses_none(source: FrameSource) -> None:
    viewer = SenderHarness(source)
    viewer.start()
    viewer.catch_up()
    last = viewer.wire.take()[-1]
    viewer.wire.is_full = True
    assert not viewer.live()
    assert not viewer.live()
    viewer.wire.is_full = False
    viewer.catch_up()
    packets = [last, *viewer.wire.take()]
    assert sequences(packets) == list(range(len(packets)))
    assert timestamps(packets) == [0, FRAME_90K, 2 * FRAME_90K]
    assert viewer.sender.frames_dropped == 0


def test_a_viewer_a_second_behind_continues_at_the_next_keyframe_and_drops_are_counted(source: FrameSource) -> None:
    viewer = SenderHarness(source)
    viewer.start()
    viewer.catch_up()
    last = viewer.wire.take()[-1]
    viewer.wire.is_full = True
    for _ in range(40):
        viewer.live()
    viewer.wire.is_full = False
    assert viewer.sender.advance(source.history, viewer.now), "it waits for a keyframe"
    assert viewer.sender.is_waiting_for_keyframe
    viewer.live()
    assert viewer.wire.take() == []
    assert viewer.sender.frames_dropped == 41
    assert viewer.live(key=True)
    packets = [last, *viewer.wire.take()]
    assert sequences(packets) == list(range(len(packets))), "a skip leaves no gap to ask for"
    assert timestamps(packets) == [0, 42 * FRAME_90K]


def test_a_viewer_behind_when_a_keyframe_comes_continues_there(source: FrameSource) -> None:
    viewer = SenderHarness(source)
    viewer.start()
    viewer.catch_up()
    last = viewer.wire.take()[-1]
    viewer.wire.is_full = True
    for _ in range(20):
        viewer.live()
    viewer.wire.is_full = False
    assert viewer.live(key=True)
    packets = [last, *viewer.wire.take()]
    assert sequences(packets) == list(range(len(packets)))
    assert timestamps(packets) == [0, 21 * FRAME_90K]
    assert viewer.sender.frames_dropped == 20


def test_a_pli_is_answered_from_the_gop_with_increasing_timestamps(source: FrameSource) -> None:
    viewer = SenderHarness(source)
    viewer.start()
    viewer.catch_up()
    first = viewer.wire.take()
    viewer.now += 5
    assert viewer.sender.request_keyframe(source.history, viewer.now)
    viewer.catch_up()
    again = viewer.wire.take()
    assert [packet.payload for packet in again] == [packet.payload for packet in first]
    whole = [*first, *again]
    assert sequences(whole) == list(range(len(whole)))
    assert timestamps(whole) == sorted(timestamps(whole))
    assert len(timestamps(whole)) == 200
    viewer.live()
    assert timestamps([again[-1], *viewer.wire.take()])[-1] <= FRAME_90K


def test_plis_are_rate_limited(source: FrameSource) -> None:
    viewer = SenderHarness(source)
    viewer.start()
    assert not viewer.sender.request_keyframe(source.history, viewer.now), "the replay is under way"
    viewer.catch_up()
    assert not viewer.sender.request_keyframe(source.history, viewer.now), "it has just had one"
    viewer.now += 5
    assert viewer.sender.request_keyframe(source.history, viewer.now)
    viewer.catch_up()
    for _ in range(9):
        viewer.now += 0.1
        assert not viewer.sender.request_keyframe(source.history, viewer.now)
    assert viewer.sender.replays == 2


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


def test_everything_is_sent_over_the_path_that_the_viewer_has_now(source: FrameSource) -> None:
    viewer = SenderHarness(source, rtx=True)
    viewer.start()
    viewer.catch_up()
    lost = viewer.wire.take()[5].sequence_number
    before, viewer.wire = viewer.wire, CapturingTransport()
    viewer.sender.transport = viewer.wire
    viewer.live()
    viewer.sender.retransmit([lost], viewer.now)
    assert {packet.ssrc for packet in viewer.wire.take()} == {SSRC, RTX_SSRC}
    assert not before.datagrams


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


def test_a_slow_viewer_gets_single_packets_in_small_bursts_and_none_is_left_out(source: FrameSource) -> None:
    viewer = SenderHarness(source, first_sequence=0)
    viewer.sender.set_pace(60_000)
    viewer.start()
    viewer.sender.advance(source.history, viewer.now)
    packets = viewer.wire.take()
    for _ in range(20):
        viewer.now += 0.005
        viewer.sender.advance(source.history, viewer.now)
        burst = viewer.wire.take()
        assert len(burst) <= 2
        packets += burst
    viewer.sender.set_pace(None)
    viewer.catch_up()
    assert sequences(packets + viewer.wire.take()) == list(range(source.history.end_index))


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


def test_nothing_is_sent_into_a_full_queue_and_then_the_last_keyframe_is(source: FrameSource) -> None:
    log = SentPackets()
    viewer = SenderHarness(source, log=log)
    viewer.start()
    viewer.catch_up()
    sent = viewer.wire.take()
    viewer.sender.drain(viewer.now)
    for _ in range(10):
        viewer.live(key=True)
        log.reported_sequence += 1
        viewer.sender.retransmit([sent[-1].sequence_number], viewer.now)
    assert not viewer.wire.take()
    log.reported_sequence = log.next_sequence
    viewer.live()
    viewer.catch_up()
    after = viewer.wire.take()
    assert sequences([sent[-1], *after]) == list(range(len(after) + 1)), "no gap that the viewer would ask for"
    assert len(timestamps(after)) == 2, "the last keyframe, and the picture after it"


def test_a_viewer_that_tells_nothing_more_is_sent_something_again(source: FrameSource) -> None:
    viewer = SenderHarness(source, log=SentPackets())
    viewer.start()
    viewer.catch_up()
    viewer.wire.take()
    viewer.sender.drain(viewer.now)
    for _ in range(8):
        viewer.live(key=True)
    assert viewer.wire.take()
