"""One camera's packets to all viewers: restarts, faults, and what WebRTC cannot carry."""

from dataclasses import replace

import pytest

from gateway.clock import CLOCK_RATE
from gateway.hub import PacketHub
from gateway.media import AudioInfo, MediaKind, Packet, StreamInfo, VideoInfo
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.rtp.audio_sender import AudioSender
from gateway.webrtc.rtp.packets import packet_template
from gateway.webrtc.rtp.sequence_mapping import PacketFormat
from gateway.webrtc.rtp.video_sender import VideoSender
from gateway.webrtc.sdp.codecs import AudioCodec
from tests.gateway.webrtc.wire import FRAME_90K, INFO, VIDEO, CapturingTransport, packet, sequences, srtp, timestamps
from tests.support.manual_clock import ManualClock


class FanoutHarness:
    """A hub, its fan-out, and viewers."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hub = PacketHub("door")
        self.unsupported: list[str] = []
        self.faults: list[Exception] = []
        self.fanout = CameraFanout(self.hub, self.clock, self.unsupported.append)

    def viewer(self) -> tuple[VideoSender, CapturingTransport]:
        wire = CapturingTransport()
        sender = VideoSender(srtp(), PacketFormat(VIDEO), 0x77, wire)
        self.fanout.add(sender, self.faults.append)
        self.catch_up()
        return sender, wire

    def publish(self, *packets: Packet) -> None:
        for item in packets:
            self.clock.now += 1 / 30
            self.hub.publish(item)
            self.catch_up()

    def catch_up(self) -> None:
        """What the pacer's timer does."""
        while self.fanout._behind:
            self.clock.now += 0.005
            self.fanout._pace()


@pytest.fixture
async def harness() -> FanoutHarness:
    return FanoutHarness()


async def test_all_viewers_get_the_same_frames(harness: FanoutHarness) -> None:
    harness.publish(packet(0, key=True), packet(1))
    _, one = harness.viewer()
    harness.publish(packet(2))
    _, two = harness.viewer()
    harness.publish(packet(3))
    first, second = one.take(), two.take()
    assert [item.payload for item in first] == [item.payload for item in second]
    assert len(timestamps(first)) == 4


async def test_a_frame_is_sent_with_one_system_call(harness: FanoutHarness) -> None:
    harness.publish(packet(0, key=True))
    _, wire = harness.viewer()
    wire.calls = 0
    harness.publish(packet(1, size=17_000))
    assert wire.calls == 1
    assert len(wire.take()) > 14


async def test_the_times_of_a_camera_reach_its_viewers_unchanged(harness: FanoutHarness) -> None:
    # The frames come late, early and together: a browser's jitter buffer must not see times made of that.
    times = [3103 * number + shift for number, shift in enumerate((0, 0, 7, -311, 1, 900, 0, 2))]
    _, wire = harness.viewer()
    for number, time in enumerate(times):
        harness.clock.now += (0.001, 0.09, 0.0)[number % 3]
        harness.publish(replace(packet(number, key=number == 0), pts_90k=time, dts_90k=time))
    assert timestamps(wire.take()) == times


async def test_a_restart_of_the_camera_is_a_pause_for_viewers(harness: FanoutHarness) -> None:
    harness.publish(packet(0, key=True), packet(1))
    _, wire = harness.viewer()
    before = wire.take()
    harness.hub.end_run()
    other = StreamInfo(VideoInfo("h264", "avc1.42c01f", 1280, 720, INFO.video.parameter_sets))
    start = 77_000_000
    later = (1000 + 5) * CLOCK_RATE
    harness.publish(
        packet(0, key=True, run=2, start_90k=start, captured_90k=later, info=other),
        packet(1, run=2, start_90k=start, captured_90k=later, info=other),
    )
    after = wire.take()
    whole = [*before, *after]
    assert sequences(whole) == list(range(len(whole)))
    assert timestamps([before[-1], *after]) == [0, 5 * CLOCK_RATE - FRAME_90K, 5 * CLOCK_RATE]
    assert harness.unsupported == []


async def test_timestamps_increase_although_the_wall_clock_is_set_back(harness: FanoutHarness) -> None:
    harness.publish(packet(0, key=True))
    _, wire = harness.viewer()
    harness.publish(packet(0, key=True, run=2, captured_90k=0), packet(1, run=2, captured_90k=0))
    packets = wire.take()
    assert timestamps(packets) == [0, 1, 1 + FRAME_90K]


async def test_a_new_viewer_waits_while_the_camera_is_disconnected(harness: FanoutHarness) -> None:
    harness.publish(packet(0, key=True), packet(1))
    harness.hub.end_run()
    sender, wire = harness.viewer()
    assert wire.take() == []
    assert not harness.fanout.request_keyframe(sender)
    harness.publish(packet(0, key=True, run=2))
    assert len(timestamps(wire.take())) == 1


@pytest.mark.parametrize("is_there", [True, False], ids=["camera connected", "camera disconnected"])
async def test_a_viewer_that_waits_gets_the_current_gop_when_its_limit_is_removed(
    harness: FanoutHarness, is_there: bool
) -> None:
    gop = [packet(number, key=number == 0) for number in range(60)]
    harness.publish(*gop)
    sender, wire = harness.viewer()
    harness.fanout.set_limit(sender, 10_000)
    harness.catch_up()
    assert sender.is_waiting_for_keyframe
    wire.take()
    if not is_there:
        harness.hub.end_run()
    harness.fanout.set_limit(sender, None)
    harness.catch_up()
    packets = wire.take()
    assert len({item.timestamp for item in packets}) == (len(gop) if is_there else 0)
    assert sender.is_waiting_for_keyframe is not is_there
    assert not harness.faults


async def test_b_frames_are_reported_as_unsupported(harness: FanoutHarness) -> None:
    harness.publish(packet(0, key=True), packet(1, reorder_90k=3 * FRAME_90K), packet(2))
    assert harness.unsupported
    assert "B-frames" in harness.unsupported[0]


async def test_a_change_of_codec_is_reported_as_unsupported(harness: FanoutHarness) -> None:
    hevc = StreamInfo(replace(INFO.video, codec="hevc"))
    harness.publish(packet(0, key=True), packet(0, key=True, run=2, info=hevc))
    assert harness.unsupported == ["the camera now sends hevc, which was not negotiated"]


async def test_an_error_of_one_viewer_does_not_affect_others(harness: FanoutHarness) -> None:
    harness.publish(packet(0, key=True))
    _, good = harness.viewer()
    _, bad = harness.viewer()
    good.take()

    def fail(data: memoryview | bytes, segment_bytes: int) -> bool:
        raise RuntimeError("a bug")

    bad.send = fail  # type: ignore[method-assign]
    harness.publish(packet(1), packet(2))
    assert len(timestamps(good.take())) == 2
    assert [str(fault) for fault in harness.faults] == ["a bug"]
    assert len(harness.fanout) == 1


async def test_batches_are_kept_only_while_a_viewer_catches_up(harness: FanoutHarness) -> None:
    harness.publish(packet(0, key=True))
    harness.viewer()
    harness.fanout._tick()
    harness.publish(packet(1))
    assert all(not frame.gso_batches_by_template for frame in harness.fanout.history._frames[-1:])


def sound(number: int, audio: AudioInfo, data: bytes = b"x" * 160, run: int = 1) -> Packet:
    at = number * 1800
    return Packet(MediaKind.AUDIO, data, at, at, 1800, True, at, StreamInfo(INFO.video, audio), run)


async def test_g711_is_sent_with_a_clock_of_8_khz(harness: FanoutHarness) -> None:
    harness.publish(packet(0, key=True))
    wire = CapturingTransport()
    harness.fanout.add_audio(AudioSender(srtp(), packet_template(8, b"", 16), 0x88, wire), AudioCodec.PCMA)
    audio = AudioInfo("pcm_alaw", "", 8000, 1)
    harness.publish(sound(0, audio), sound(1, audio), sound(2, audio))
    packets = wire.take()
    assert [item.payload for item in packets] == [b"x" * 160] * 3
    assert timestamps(packets) == [0, 160, 320]
    assert sequences(packets) == [0, 1, 2]


async def test_broken_aac_is_dropped_and_video_continues(harness: FanoutHarness) -> None:
    harness.publish(packet(0, key=True))
    _, video = harness.viewer()
    wire = CapturingTransport()
    sender = AudioSender(srtp(), packet_template(111, b"", 16), 0x88, wire)
    harness.fanout.add_audio(sender, AudioCodec.OPUS)
    aac = AudioInfo("aac", "mp4a.40.2", 16_000, 1, b"\x14\x08")
    harness.publish(
        sound(0, aac, b"\xff" * 50), packet(1), sound(1, aac, b""), sound(2, replace(aac, codec="nonsense"))
    )
    assert wire.take() == []
    assert len(timestamps(video.take())) == 2
    assert harness.hub.sink_faults == 0
    assert harness.fanout.audio_faults == 3
    harness.fanout.remove_audio(sender)
    assert not harness.fanout._audio
    assert harness.fanout.audio_faults == 3


async def test_audio_of_a_run_without_video_is_not_sent(harness: FanoutHarness) -> None:
    harness.publish(packet(0, key=True))
    wire = CapturingTransport()
    harness.fanout.add_audio(AudioSender(srtp(), packet_template(8, b"", 16), 0x88, wire), AudioCodec.PCMA)
    harness.publish(sound(0, AudioInfo("pcm_alaw", "", 8000, 1), run=2))
    assert wire.take() == []
