"""One viewer's stream: joining, pacing, falling behind."""

from gateway.webrtc.bandwidth.sent_packets import SentPackets
from gateway.webrtc.rtp.send_pace import BUCKET_BYTES, PACE_BYTES_PER_S
from tests.gateway.webrtc.rtp.sender_harness import RTX_SSRC, SSRC, SenderHarness
from tests.gateway.webrtc.wire import (
    FRAME_90K,
    CapturingTransport,
    FrameSource,
    sequences,
    timestamps,
)


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
