"""What a reader is sent: the GOP at once, then every frame; and what is left out of it when it is slow."""

from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.media import Packet, StreamInfo
from gateway.rtsp.description import Description, describe
from gateway.rtsp.session import Delivery, Interleaved
from gateway.rtsp_server import reader as reader_module
from gateway.rtsp_server.reader import Reader
from gateway.rtsp_server.stream import REPLAY_90K, RtpFrame, RtspStream
from gateway.service import CaptureService
from gateway.settings import load_settings
from tests.support.camera_media import FPS, camera_with_clock, coded, good_video, packets_of
from tests.support.manual_clock import ManualClock
from tests.support.rtsp_camera import RtpSender, Sent

TRACKS: dict[int, Delivery] = {0: Interleaved(0, 1)}


def hevc_video() -> list[Sent]:
    sender, pictures = RtpSender(hevc=True), coded(30, hevc=True)
    return [each for number in range(30) for each in sender.picture(pictures[number], number * 3600, number / FPS)]


class Outlet:
    """Takes frames until it is full."""

    def __init__(self) -> None:
        self.is_full = False
        self.frames: list[RtpFrame] = []
        self.reports: list[bytes] = []

    def send(self, delivery: Delivery, frame: RtpFrame) -> None:
        self.frames.append(frame)

    def send_report(self, delivery: Delivery, report: bytes) -> None:
        self.reports.append(report)


class Camera:
    """A rendition that a test publishes to, and its stream."""

    def __init__(self, packets: list[Packet]) -> None:
        self.clock = ManualClock()
        settings = load_settings().camera("door", {"url": "fake://door", "engine": "fake", "start": "on-demand"})
        self.rendition = CaptureService({"door": settings}, clock=self.clock).camera("door").main
        self.stream = RtspStream(self.rendition, self.clock)
        self.packets = packets
        self.ended: list[str] = []

    def publish(self, count: int) -> None:
        for _ in range(count):
            self.rendition.hub.publish(self.packets.pop(0))

    def told(self) -> Description:
        info = self.rendition.hub.info
        assert isinstance(info, StreamInfo)
        found = describe(info, "door")
        assert found is not None
        return found

    def reader(self) -> tuple[Reader, Outlet]:
        outlet = Outlet()
        return Reader(self.stream, self.told(), TRACKS, outlet, self.ended.append), outlet


@pytest.fixture
def camera() -> Camera:
    found = Camera([each.packet for each in packets_of(good_video(12))])
    found.publish(20)
    return found


def sequences(frames: list[RtpFrame]) -> list[int]:
    return [int.from_bytes(packet[2:4], "big") for frame in frames for packet in frame.packets]


def contiguous(numbers: list[int]) -> bool:
    return all((after - before) & 0xFFFF == 1 for before, after in pairwise(numbers))


def test_a_reader_begins_with_the_gop_put_close_to_the_live_edge(camera: Camera) -> None:
    reader, outlet = camera.reader()
    begins = reader.join()
    assert not outlet.frames, "nothing before the answer to PLAY"
    reader.pump()
    assert len(outlet.frames) == 20
    assert outlet.frames[0].is_keyframe
    times = [frame.timestamp for frame in outlet.frames]
    assert times == sorted(set(times))
    assert times[-1] - times[0] == REPLAY_90K
    first = outlet.frames[0].packets[0]
    assert begins[0] == (int.from_bytes(first[2:4], "big"), int.from_bytes(first[4:8], "big"))
    camera.publish(10)
    assert len(outlet.frames) == 30
    assert contiguous(sequences(outlet.frames))
    assert outlet.frames[20].timestamp - times[-1] == 90_000 // FPS


def test_readers_share_the_packets_and_leave_nothing_behind(camera: Camera) -> None:
    (first, one), (second, two) = camera.reader(), camera.reader()
    for reader in (first, second):
        reader.join()
        reader.pump()
    camera.publish(5)
    assert one.frames[-1] is two.frames[-1]
    assert one.frames[-1].interleaved(0) is two.frames[-1].interleaved(0)
    first.stop()
    first.stop()
    second.stop()
    sinks = camera.rendition.hub._sinks
    camera.publish(5)
    assert camera.stream.on_packet not in sinks
    assert (len(one.frames), len(two.frames)) == (25, 25)


def test_a_slow_reader_goes_on_with_a_keyframe_and_holds_up_nobody(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "QUEUE_MAX_BYTES", 20_000)
    (slow, narrow), (quick, wide) = camera.reader(), camera.reader()
    for reader in (slow, quick):
        reader.join()
        reader.pump()
    narrow.is_full = True
    camera.publish(200)
    assert len(wide.frames) == 220
    assert len(narrow.frames) == 20
    assert slow._queue_bytes <= 20_000
    narrow.is_full = False
    slow.pump()
    camera.publish(50)
    late = narrow.frames[20:]
    assert late[0].is_keyframe
    assert contiguous(sequences(late))
    assert len(late) + camera.stream.frames_dropped == 250, "every frame was sent or counted"


def test_a_reader_without_the_gop_waits_for_a_keyframe(camera: Camera) -> None:
    reader, outlet = camera.reader()
    camera.rendition.hub.end_run()
    reader.join()
    reader.pump()
    camera.publish(5)
    assert not outlet.frames
    camera.publish(1)
    assert [frame.is_keyframe for frame in outlet.frames] == [True]


def test_a_restart_of_the_camera_is_a_pause(camera: Camera) -> None:
    reader, outlet = camera.reader()
    reader.join()
    reader.pump()
    camera.rendition.hub.end_run()
    again = packets_of(camera_with_clock(lambda number: 7 + number * 3600, 30, FPS))
    shift = 10 * 90_000
    for each in again:
        packet = each.packet
        camera.rendition.hub.publish(replace(packet, run=2, captured_at_90k=packet.captured_at_90k + shift))
    assert not camera.ended
    assert contiguous(sequences(outlet.frames))
    assert outlet.frames[20].timestamp - outlet.frames[19].timestamp == pytest.approx(shift - 19 * 3600, abs=3600)


def test_a_reader_that_was_told_of_another_codec_is_ended(camera: Camera) -> None:
    reader, outlet = camera.reader()
    reader.join()
    reader.pump()
    camera.packets = [each.packet for each in packets_of(hevc_video(), "H265")]
    camera.publish(1)
    assert camera.ended == ["the camera sends another format now; ask again with DESCRIBE"]
    assert len(outlet.frames) == 20


def test_sender_reports_give_the_capture_time(camera: Camera) -> None:
    reader, outlet = camera.reader()
    reader.send_reports()
    assert not outlet.reports, "nothing was sent yet"
    reader.join()
    reader.pump()
    assert len(outlet.reports) == 1, "before the media"
    reader.send_reports()
    assert len(outlet.reports) == 2
