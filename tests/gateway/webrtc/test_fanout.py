"""One camera's packets to all viewers: restarts, faults, and what WebRTC cannot carry."""

from dataclasses import replace

import pytest

from gateway.clock import CLOCK_RATE
from gateway.hub import PacketHub
from gateway.media import AudioInfo, MediaKind, Packet, StreamInfo, VideoInfo
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.rtp.audio_sender import AudioSender
from gateway.webrtc.rtp.packets import packet_template
from gateway.webrtc.rtp.video_sender import VideoSender
from gateway.webrtc.sdp.negotiation import AudioCodec
from tests.gateway.webrtc.ice.test_agent import ManualClock
from tests.gateway.webrtc.wire import FRAME_90K, INFO, VIDEO, Wire, packet, sequences, srtp, timestamps


class Stage:
    """A hub, its fan-out, and viewers."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hub = PacketHub("door")
        self.unsupported: list[str] = []
        self.faults: list[Exception] = []
        self.fanout = CameraFanout(self.hub, self.clock, self.unsupported.append)

    def viewer(self) -> tuple[VideoSender, Wire]:
        wire = Wire()
        sender = VideoSender(srtp(), VIDEO, 0x77, wire)
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
async def stage() -> Stage:
    return Stage()


async def test_all_viewers_get_the_same_pictures(stage: Stage) -> None:
    stage.publish(packet(0, key=True), packet(1))
    _, one = stage.viewer()
    stage.publish(packet(2))
    _, two = stage.viewer()
    stage.publish(packet(3))
    first, second = one.take(), two.take()
    assert [item.payload for item in first] == [item.payload for item in second]
    assert len(timestamps(first)) == 4


async def test_a_frame_leaves_with_one_system_call(stage: Stage) -> None:
    stage.publish(packet(0, key=True))
    _, wire = stage.viewer()
    wire.calls = 0
    stage.publish(packet(1, size=17_000))
    assert wire.calls == 1
    assert len(wire.take()) > 14


async def test_a_restart_is_a_pause_and_nothing_else(stage: Stage) -> None:
    stage.publish(packet(0, key=True), packet(1))
    _, wire = stage.viewer()
    before = wire.take()
    stage.hub.end_run()
    other = StreamInfo(VideoInfo("h264", "avc1.42c01f", 1280, 720, INFO.video.parameter_sets))
    start = 77_000_000
    later = (1000 + 5) * CLOCK_RATE
    stage.publish(
        packet(0, key=True, run=2, start_90k=start, captured_90k=later, info=other),
        packet(1, run=2, start_90k=start, captured_90k=later, info=other),
    )
    after = wire.take()
    whole = [*before, *after]
    assert sequences(whole) == list(range(len(whole)))
    assert timestamps([before[-1], *after]) == [0, 5 * CLOCK_RATE - FRAME_90K, 5 * CLOCK_RATE]
    assert stage.unsupported == []


async def test_a_wall_clock_that_was_set_back_does_not_turn_time_back(stage: Stage) -> None:
    stage.publish(packet(0, key=True))
    _, wire = stage.viewer()
    stage.publish(packet(0, key=True, run=2, captured_90k=0), packet(1, run=2, captured_90k=0))
    packets = wire.take()
    assert timestamps(packets) == [0, 1, 1 + FRAME_90K]


async def test_while_a_camera_is_away_a_newcomer_waits(stage: Stage) -> None:
    stage.publish(packet(0, key=True), packet(1))
    stage.hub.end_run()
    sender, wire = stage.viewer()
    assert wire.take() == []
    assert not stage.fanout.request_keyframe(sender)
    stage.publish(packet(0, key=True, run=2))
    assert len(timestamps(wire.take())) == 1


@pytest.mark.parametrize("is_there", [True, False], ids=["the camera is there", "the camera is away"])
async def test_who_waits_when_a_limit_goes_gets_the_present_gop(stage: Stage, is_there: bool) -> None:
    gop = [packet(number, key=number == 0) for number in range(60)]
    stage.publish(*gop)
    sender, wire = stage.viewer()
    stage.fanout.set_limit(sender, 10_000)
    stage.catch_up()
    assert sender.is_waiting_for_keyframe
    wire.take()
    if not is_there:
        stage.hub.end_run()
    stage.fanout.set_limit(sender, None)
    stage.catch_up()
    packets = wire.take()
    assert len({item.timestamp for item in packets}) == (len(gop) if is_there else 0)
    assert sender.is_waiting_for_keyframe is not is_there
    assert not stage.faults


async def test_b_frames_end_it_with_the_reason(stage: Stage) -> None:
    stage.publish(packet(0, key=True), packet(1, reorder_90k=3 * FRAME_90K), packet(2))
    assert stage.unsupported
    assert "B-frames" in stage.unsupported[0]


async def test_another_codec_ends_it_with_the_reason(stage: Stage) -> None:
    hevc = StreamInfo(replace(INFO.video, codec="hevc"))
    stage.publish(packet(0, key=True), packet(0, key=True, run=2, info=hevc))
    assert stage.unsupported == ["the camera now sends hevc, which was not negotiated"]


async def test_a_fault_of_one_viewer_is_its_own(stage: Stage) -> None:
    stage.publish(packet(0, key=True))
    _, good = stage.viewer()
    _, bad = stage.viewer()
    good.take()

    def fail(data: memoryview | bytes, segment_bytes: int) -> bool:
        raise RuntimeError("a bug")

    bad.send = fail  # type: ignore[method-assign]
    stage.publish(packet(1), packet(2))
    assert len(timestamps(good.take())) == 2
    assert [str(fault) for fault in stage.faults] == ["a bug"]
    assert len(stage.fanout) == 1


async def test_bursts_are_kept_only_while_somebody_catches_up(stage: Stage) -> None:
    stage.publish(packet(0, key=True))
    stage.viewer()
    stage.fanout._tick()
    stage.publish(packet(1))
    assert all(not frame.gso_batches_by_template for frame in stage.fanout.history._frames[-1:])


def sound(number: int, audio: AudioInfo, data: bytes = b"x" * 160, run: int = 1) -> Packet:
    at = number * 1800
    return Packet(MediaKind.AUDIO, data, at, at, 1800, True, at, StreamInfo(INFO.video, audio), run)


async def test_g711_passes_in_the_clock_of_8_khz(stage: Stage) -> None:
    stage.publish(packet(0, key=True))
    wire = Wire()
    stage.fanout.add_audio(AudioSender(srtp(), packet_template(8, b"", 16), 0x88, wire), AudioCodec.PCMA)
    audio = AudioInfo("pcm_alaw", "", 8000, 1)
    stage.publish(sound(0, audio), sound(1, audio), sound(2, audio))
    packets = wire.take()
    assert [item.payload for item in packets] == [b"x" * 160] * 3
    assert timestamps(packets) == [0, 160, 320]
    assert sequences(packets) == [0, 1, 2]


async def test_rubbish_that_should_be_aac_is_silence_and_video_goes_on(stage: Stage) -> None:
    stage.publish(packet(0, key=True))
    _, video = stage.viewer()
    wire = Wire()
    sender = AudioSender(srtp(), packet_template(111, b"", 16), 0x88, wire)
    stage.fanout.add_audio(sender, AudioCodec.OPUS)
    aac = AudioInfo("aac", "mp4a.40.2", 16_000, 1, b"\x14\x08")
    stage.publish(sound(0, aac, b"\xff" * 50), packet(1), sound(1, aac, b""), sound(2, replace(aac, codec="nonsense")))
    assert wire.take() == []
    assert len(timestamps(video.take())) == 2
    assert stage.hub.sink_faults == 0
    assert stage.fanout.audio_faults == 3
    stage.fanout.remove_audio(sender)
    assert not stage.fanout._audio
    assert stage.fanout.audio_faults == 3


async def test_sound_of_a_run_without_a_picture_is_not_sent(stage: Stage) -> None:
    stage.publish(packet(0, key=True))
    wire = Wire()
    stage.fanout.add_audio(AudioSender(srtp(), packet_template(8, b"", 16), 0x88, wire), AudioCodec.PCMA)
    stage.publish(sound(0, AudioInfo("pcm_alaw", "", 8000, 1), run=2))
    assert wire.take() == []
