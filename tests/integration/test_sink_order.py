"""WebRTC sends each packet before LL-HLS muxes it and the recorder has it, even if both were attached before."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.clock import CLOCK_RATE, SystemClock
from gateway.hub import Subscription
from gateway.service import CaptureService
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.rtp.video_sender import VideoSender
from hls.archive.recorder import CameraRecorder
from hls.archive.recording import Recording, SequenceNumbers
from hls.live.service import LiveStream
from hls.settings import FsyncMode
from tests.gateway.webrtc.wire import VIDEO, CapturingTransport, srtp
from tests.support.hls_server import source_camera
from tests.support.sources.packets import START_90K, PacketSource, Shape

Progress = tuple[tuple[int, int, int] | None, int]
"""The live edge of HLS, and how many packets are in the recorder's queue."""


class WatchingWire(CapturingTransport):
    """A path to a viewer that notes at each send how far HLS and the recorder are."""

    def __init__(self, progress: Callable[[], Progress]) -> None:
        super().__init__()
        self._progress = progress
        self.seen: list[Progress] = []

    def send(self, data: memoryview | bytes, segment_bytes: int) -> bool:
        self.seen.append(self._progress())
        return super().send(data, segment_bytes)


async def test_webrtc_sends_a_packet_before_hls_publishes_its_part_and_the_recorder_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = source_camera(
        "packets://still", start="on-demand", engine="tests.support.sources.scripted:ScriptedEngine"
    )
    service = CaptureService({"yard": settings})
    hub = service.camera("yard").hub
    stream = LiveStream(service.camera("yard").main)
    subscriptions: list[Subscription] = []
    subscribe = hub.subscribe

    def noted_subscribe() -> Subscription:
        subscriptions.append(subscribe())
        return subscriptions[-1]

    monkeypatch.setattr(hub, "subscribe", noted_subscribe)
    executor = ThreadPoolExecutor(1)
    recorder = CameraRecorder(
        hub,
        Recording("yard", tmp_path, 600, FsyncMode.NEVER),
        executor,
        is_live=lambda: True,
        on_progress=lambda recorder: None,
    )
    (queue,) = subscriptions

    def progress() -> Progress:
        return stream.live_edge, len(queue)

    wire = WatchingWire(progress)
    fanout = CameraFanout(hub, SystemClock(), lambda why: None)
    sender = VideoSender(srtp(), VIDEO, 0x77, wire)
    faults: list[Exception] = []
    fanout.add(sender, faults.append)
    moved = 0
    try:
        # Without an await in this loop the recorder's task takes nothing out of its queue.
        for number, packet in enumerate(PacketSource(Shape(gop=15)).frames(120, START_90K + 1000 * CLOCK_RATE)):
            before = progress()
            wire.seen.clear()
            hub.publish(packet)
            assert set(wire.seen) == {before}
            assert len(queue) == number + 1
            moved += stream.live_edge != before[0]
        recorder.start(SequenceNumbers())
    finally:
        fanout.close()
        stream.close()
        await recorder.close()
        executor.shutdown()
        await service.close()
    assert moved > 5
    assert recorder.status().segments_closed == 1
    assert not faults
