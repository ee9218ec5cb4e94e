"""One viewer's stream: joining, pacing, falling behind, asking again."""

from itertools import pairwise

import pytest
from aiortc.rtp import RtpPacket, unwrap_rtx

from gateway.webrtc.rtp.video_sender import BUCKET_BYTES, PACE_BYTES_PER_S, VideoSender
from tests.gateway.webrtc.wire import FRAME_90K, RTX, VIDEO, Reel, Wire, sequences, srtp, timestamps

SSRC, RTX_SSRC = 0x1111, 0x2222


class Watcher:
    """A sender, its wire, and a clock in the hand."""

    def __init__(self, reel: Reel, *, rtx: bool = False, first_sequence: int | None = None) -> None:
        self.reel = reel
        self.wire = Wire()
        self.now = 100.0
        retransmission = (RTX, RTX_SSRC) if rtx else None
        self.sender = VideoSender(
            srtp(), VIDEO, SSRC, self.wire, retransmission=retransmission, first_sequence=first_sequence
        )

    def start(self) -> bool:
        return self.sender.start(self.reel.history, self.now)

    def live(self, *, key: bool = False, size: int = 3000) -> bool:
        self.now += 1 / 30
        return self.sender.on_frame(self.reel.add(key=key, size=size), self.reel.history, self.now)

    def catch_up(self, ticks: int = 10_000) -> int:
        """Tick until it is at the live edge; returns the number of ticks."""
        for tick in range(ticks):
            if self.sender.advance(self.reel.history, self.now):
                return tick
            self.now += 0.005
        return ticks


@pytest.fixture
def reel() -> Reel:
    reel = Reel()
    reel.add(key=True, size=30_000)
    reel.add(count=99)
    return reel


def test_a_newcomer_gets_the_whole_gop_contiguous_and_ending_now(reel: Reel) -> None:
    watcher = Watcher(reel)
    assert watcher.start()
    watcher.catch_up()
    packets = watcher.wire.take()
    assert [packet.payload for packet in packets] == [
        payload for index in range(100) for payload in (reel.history._frames[index].payloads)
    ]
    assert sequences(packets) == list(range(len(packets)))
    times = timestamps(packets)
    assert len(times) == 100
    assert times == sorted(times)
    newest = reel.history.newest
    assert newest is not None
    assert packets[-1].timestamp == watcher.sender.timestamp(newest.timestamp)
    assert times[-1] < 10_000, "the replay takes no longer than 0.1 s of media time"


def test_after_the_replay_time_goes_on_as_the_camera_says(reel: Reel) -> None:
    watcher = Watcher(reel)
    watcher.start()
    watcher.catch_up()
    before = watcher.wire.take()
    for _ in range(3):
        assert watcher.live()
    after = watcher.wire.take()
    assert sequences([before[-1], *after]) == list(range(len(after) + 1))
    assert timestamps([before[-1], *after]) == [0, FRAME_90K, 2 * FRAME_90K, 3 * FRAME_90K]


def test_frames_that_come_during_the_replay_follow_it_in_order(reel: Reel) -> None:
    watcher = Watcher(reel)
    watcher.start()
    watcher.sender.advance(reel.history, watcher.now)
    assert not watcher.live()
    assert not watcher.live()
    watcher.catch_up()
    packets = watcher.wire.take()
    assert sequences(packets) == list(range(len(packets)))
    assert timestamps(packets) == sorted(timestamps(packets))
    assert len(timestamps(packets)) == 102


def test_a_replay_is_paced(reel: Reel) -> None:
    reel.add(size=20_000, count=100)
    watcher = Watcher(reel)
    watcher.start()
    began, sent = watcher.now, 0
    while not watcher.sender.advance(reel.history, watcher.now):
        sent = sum(map(len, watcher.wire.datagrams))
        assert sent <= (watcher.now - began) * PACE_BYTES_PER_S + 3 * BUCKET_BYTES
        watcher.now += 0.005
    assert sent > 2_000_000


def test_a_large_live_keyframe_is_paced_too(reel: Reel) -> None:
    watcher = Watcher(reel)
    watcher.start()
    watcher.catch_up()
    watcher.wire.take()
    watcher.now += 1
    assert not watcher.live(key=True, size=500_000)
    assert sum(map(len, watcher.wire.datagrams)) < 3 * BUCKET_BYTES
    assert watcher.catch_up() > 10
    packets = watcher.wire.take()
    assert sequences(packets) == list(range(len(packets)))
    assert sum(len(packet.payload) for packet in packets) > 500_000


def test_without_a_gop_a_newcomer_waits_for_a_keyframe() -> None:
    reel = Reel()
    reel.add(count=3)
    watcher = Watcher(reel)
    assert not watcher.start()
    assert watcher.live()
    assert watcher.wire.take() == []
    assert watcher.live(key=True)
    assert watcher.live()
    assert len(timestamps(watcher.wire.take())) == 2
    assert watcher.sender.frames_dropped == 0


def test_a_full_socket_holds_frames_back_and_nothing_is_lost(reel: Reel) -> None:
    watcher = Watcher(reel)
    watcher.start()
    watcher.catch_up()
    last = watcher.wire.take()[-1]
    watcher.wire.is_full = True
    assert not watcher.live()
    assert not watcher.live()
    watcher.wire.is_full = False
    watcher.catch_up()
    packets = [last, *watcher.wire.take()]
    assert sequences(packets) == list(range(len(packets)))
    assert timestamps(packets) == [0, FRAME_90K, 2 * FRAME_90K]
    assert watcher.sender.frames_dropped == 0


def test_who_is_a_second_behind_is_dropped_to_the_next_keyframe_and_counted(reel: Reel) -> None:
    watcher = Watcher(reel)
    watcher.start()
    watcher.catch_up()
    last = watcher.wire.take()[-1]
    watcher.wire.is_full = True
    for _ in range(40):
        watcher.live()
    watcher.wire.is_full = False
    assert watcher.sender.advance(reel.history, watcher.now), "it waits, and is in nobody's way"
    assert watcher.sender.is_waiting_for_keyframe
    watcher.live()
    assert watcher.wire.take() == []
    assert watcher.sender.frames_dropped == 41
    assert watcher.live(key=True)
    packets = [last, *watcher.wire.take()]
    assert sequences(packets) == list(range(len(packets))), "a skip leaves no gap to ask for"
    assert timestamps(packets) == [0, 42 * FRAME_90K]


def test_who_is_behind_when_a_keyframe_comes_goes_on_there(reel: Reel) -> None:
    watcher = Watcher(reel)
    watcher.start()
    watcher.catch_up()
    last = watcher.wire.take()[-1]
    watcher.wire.is_full = True
    for _ in range(20):
        watcher.live()
    watcher.wire.is_full = False
    assert watcher.live(key=True)
    packets = [last, *watcher.wire.take()]
    assert sequences(packets) == list(range(len(packets)))
    assert timestamps(packets) == [0, 21 * FRAME_90K]
    assert watcher.sender.frames_dropped == 20


def test_a_pli_is_answered_from_the_gop_with_time_going_on(reel: Reel) -> None:
    watcher = Watcher(reel)
    watcher.start()
    watcher.catch_up()
    first = watcher.wire.take()
    watcher.now += 5
    assert watcher.sender.request_keyframe(reel.history, watcher.now)
    watcher.catch_up()
    again = watcher.wire.take()
    assert [packet.payload for packet in again] == [packet.payload for packet in first]
    whole = [*first, *again]
    assert sequences(whole) == list(range(len(whole)))
    assert timestamps(whole) == sorted(timestamps(whole))
    assert len(timestamps(whole)) == 200
    watcher.live()
    assert timestamps([again[-1], *watcher.wire.take()])[-1] <= FRAME_90K


def test_plis_are_rate_limited(reel: Reel) -> None:
    watcher = Watcher(reel)
    watcher.start()
    assert not watcher.sender.request_keyframe(reel.history, watcher.now), "the replay is under way"
    watcher.catch_up()
    assert not watcher.sender.request_keyframe(reel.history, watcher.now), "it has just had one"
    watcher.now += 5
    assert watcher.sender.request_keyframe(reel.history, watcher.now)
    watcher.catch_up()
    for _ in range(9):
        watcher.now += 0.1
        assert not watcher.sender.request_keyframe(reel.history, watcher.now)
    assert watcher.sender.replays == 2


@pytest.mark.parametrize("first_sequence", [0, 65_500], ids=["plain", "over the roll-over"])
def test_a_lost_packet_is_sent_again_as_it_was(reel: Reel, first_sequence: int) -> None:
    watcher = Watcher(reel, first_sequence=first_sequence)
    watcher.start()
    watcher.catch_up()
    datagrams = list(watcher.wire.datagrams)
    packets = watcher.wire.take()
    lost = packets[100].sequence_number
    watcher.sender.retransmit([lost], reel.history, watcher.now)
    assert watcher.wire.datagrams == [datagrams[100]]
    assert watcher.sender.retransmitted == 1


def test_a_lost_packet_is_sent_again_as_rtx(reel: Reel) -> None:
    watcher = Watcher(reel, rtx=True)
    watcher.start()
    watcher.catch_up()
    packets = watcher.wire.take()
    watcher.now += 1
    watcher.sender.request_keyframe(reel.history, watcher.now + 5)
    watcher.catch_up()
    packets += watcher.wire.take()
    asked = [5, 150, len(packets) - 1]
    watcher.sender.retransmit([packets[place].sequence_number for place in asked], reel.history, watcher.now)
    repeated = watcher.wire.take()
    assert {packet.ssrc for packet in repeated} == {RTX_SSRC}
    assert {packet.payload_type for packet in repeated} == {97}
    assert sequences(repeated) == [0, 1, 2]
    for place, rtx in zip(asked, repeated, strict=True):
        original = unwrap_rtx(rtx, 96, SSRC)
        assert original.serialize() == packets[place].serialize()


def test_what_was_never_sent_or_is_long_gone_is_refused(reel: Reel) -> None:
    watcher = Watcher(reel, rtx=True, first_sequence=1000)
    watcher.start()
    watcher.sender.retransmit([5], reel.history, watcher.now)
    watcher.catch_up()
    watcher.wire.take()
    watcher.sender.retransmit([999, 60_000], reel.history, watcher.now)
    assert watcher.wire.take() == []
    assert watcher.sender.retransmissions_refused == 3


def test_retransmissions_have_a_limit(reel: Reel) -> None:
    watcher = Watcher(reel, rtx=True)
    watcher.start()
    watcher.catch_up()
    lost = watcher.wire.take()[50].sequence_number
    for _ in range(1000):
        watcher.sender.retransmit([lost], reel.history, watcher.now)
    assert sum(map(len, watcher.wire.datagrams)) < 300_000
    assert watcher.sender.retransmissions_refused > 700


LIMIT = 40_000
"""Bytes a second; the reel's 30 frames of 3000 bytes are 90,000."""


def limited(reel: Reel, **options: bool) -> Watcher:
    """A watcher under a limit that has had the keyframe of the present GOP."""
    watcher = Watcher(reel, **options)
    watcher.start()
    watcher.catch_up()
    watcher.wire.take()
    watcher.sender.set_limit(LIMIT, watcher.reel.history)
    watcher.catch_up()
    watcher.wire.take()
    return watcher


def play(watcher: Watcher, seconds: int, *, key_size: int = 20_000, gop: int = 30) -> None:
    """A camera in real time, with the pacer's ticks between its frames."""
    for number in range(seconds * 30):
        is_key = number % gop == 0
        frame = watcher.reel.add(key=is_key, size=key_size if is_key else 3000)
        watcher.sender.on_frame(frame, watcher.reel.history, watcher.now)
        for _ in range(6):
            watcher.sender.advance(watcher.reel.history, watcher.now)
            watcher.now += 1 / 180


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


def test_a_limit_begins_with_the_keyframe_of_the_present_gop_alone(reel: Reel) -> None:
    watcher = Watcher(reel)
    watcher.start()
    watcher.catch_up()
    last = watcher.wire.take()[-1]
    assert watcher.sender.set_limit(LIMIT, reel.history)
    began = watcher.now
    watcher.catch_up()
    assert watcher.now - began > 25_000 / LIMIT, "at its pace"
    packets = [last, *watcher.wire.take()]
    assert sequences(packets) == list(range(len(packets)))
    frames = frames_of(packets[1:])
    assert len(frames) == 1
    assert is_keyframe(frames[0])
    assert b"".join(packet.payload for packet in frames[0]) == b"".join(reel.history._frames[0].payloads)
    assert not watcher.sender.set_limit(LIMIT // 2, reel.history)
    assert watcher.sender.is_waiting_for_keyframe


@pytest.mark.parametrize("key_size", [20_000, 100_000], ids=["GOP heads", "a keyframe lasts for GOPs"])
def test_under_a_limit_whole_frames_from_a_keyframe_on_are_sent_at_its_pace(reel: Reel, key_size: int) -> None:
    watcher = limited(reel)
    watcher.live()
    assert watcher.wire.take() == [], "it waits for a keyframe"
    play(watcher, 12, key_size=key_size)
    sizes = sum(map(len, watcher.wire.datagrams))
    assert 0.6 * 12 * LIMIT < sizes < 1.1 * 12 * LIMIT
    packets = watcher.wire.take()
    assert sequences(packets) == list(range(len(packets))), "nothing to ask for"
    assert timestamps(packets) == sorted(timestamps(packets))
    frames = frames_of(packets)
    assert is_keyframe(frames[0])
    for frame, following in pairwise(frames):
        assert frame[-1].marker or is_keyframe(following), "a frame that is not whole ends at a keyframe"
    keys = [frame for frame in frames if is_keyframe(frame)]
    assert len(keys) >= 4
    assert all(frame[-1].marker for frame in keys[:-1]), "a keyframe that was begun is sent to its end"
    assert watcher.sender.frames_dropped > 100


def test_under_a_limit_little_leaves_at_once(reel: Reel) -> None:
    watcher = limited(reel)
    watcher.now += 10
    watcher.live(key=True, size=60_000)
    assert sum(map(len, watcher.wire.datagrams)) < 0.1 * LIMIT + 1500


def test_a_limit_that_is_gone_in_mid_frame_leaves_nothing_out(reel: Reel) -> None:
    watcher = limited(reel)
    watcher.live(key=True, size=60_000)
    watcher.sender.set_limit(None, reel.history)
    watcher.now += 0.1
    watcher.catch_up()
    watcher.live()
    packets = watcher.wire.take()
    assert sequences(packets) == list(range(len(packets)))
    assert [len(frame) for frame in frames_of(packets)] == [len(watcher.reel.history._frames[-2].payloads), 3]
    assert b"".join(packet.payload for packet in packets[-3:]) == b"".join(watcher.reel.history._frames[-1].payloads)


def test_under_a_limit_repairs_share_the_pace_and_go_first(reel: Reel) -> None:
    watcher = limited(reel, rtx=True)
    watcher.live(key=True, size=60_000)
    lost = watcher.wire.take()[0].sequence_number
    for _ in range(1000):
        watcher.sender.retransmit([lost], reel.history, watcher.now)
    repairs = sum(map(len, watcher.wire.datagrams))
    assert 0.3 * LIMIT < repairs < 0.7 * LIMIT
    watcher.wire.take()
    watcher.sender.advance(reel.history, watcher.now)
    assert watcher.wire.take() == [], "what is new waits for them"


def test_under_a_limit_what_was_skipped_is_not_repaired_nor_a_pli_answered(reel: Reel) -> None:
    watcher = Watcher(reel, rtx=True)
    watcher.start()
    watcher.catch_up()
    lost = watcher.wire.take()[-1].sequence_number
    watcher.sender.set_limit(LIMIT, watcher.reel.history)
    watcher.live(key=True)
    watcher.wire.take()
    watcher.sender.retransmit([lost], reel.history, watcher.now)
    watcher.now += 30
    assert not watcher.sender.request_keyframe(reel.history, watcher.now)
    assert watcher.wire.take() == []
    assert watcher.sender.retransmissions_refused == 1
