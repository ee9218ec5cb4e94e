"""WebRTC sends each packet before LL-HLS muxes it and the recorder has it, even if both were attached before."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.clock import CLOCK_RATE, SystemClock
from gateway.service import CaptureService
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.rtp.sequence_mapping import PacketFormat
from gateway.webrtc.rtp.video_sender import VideoSender
from hls.archive.baseline import NOTHING_LEARNED
from hls.archive.recorder import StreamRecorder
from hls.archive.recording import Recording, SequenceNumbers
from hls.archive.write_pool import WritePool
from hls.live.stream import LiveStream
from hls.parts.part import PartSamples
from hls.parts.source import SamplesSink
from hls.settings import FsyncMode
from tests.gateway.webrtc.wire import VIDEO, CapturingTransport, srtp
from tests.support.hls_server import source_camera
from tests.support.sources.packets import START_90K, PacketSource, Shape

Progress = tuple[tuple[int, int, int] | None, int]
"""The live edge of HLS, and how many parts the recorder has got."""


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
    parts: list[PartSamples] = []
    attach = stream.attach

    def noted_attach(sink: SamplesSink) -> Callable[[], None]:
        def noted(part: PartSamples) -> None:
            parts.append(part)
            sink(part)

        return attach(noted)

    monkeypatch.setattr(stream, "attach", noted_attach)
    executor = ThreadPoolExecutor(1)
    recorder = StreamRecorder(
        hub,
        stream,
        Recording("yard", tmp_path, 600, FsyncMode.NEVER),
        WritePool(executor, 1),
        is_live=lambda: True,
        on_progress=lambda recorder: None,
    )

    def progress() -> Progress:
        return stream.live_edge, len(parts)

    wire = WatchingWire(progress)
    fanout = CameraFanout(hub, SystemClock(), lambda why: None)
    sender = VideoSender(srtp(), PacketFormat(VIDEO), 0x77, wire)
    faults: list[Exception] = []
    fanout.add(sender, faults.append)
    moved = 0
    try:
        # Without an await in this loop the recorder's task takes nothing out of its queue.
        for packet in PacketSource(Shape(gop=15)).frames(120, START_90K + 1000 * CLOCK_RATE):
            before = progress()
            wire.seen.clear()
            hub.publish(packet)
            assert set(wire.seen) == {before}
            moved += progress() != before
        recorder.start(SequenceNumbers(), NOTHING_LEARNED)
    finally:
        fanout.close()
        stream.close()
        await recorder.close()
        executor.shutdown()
        await service.close()
    assert moved > 20
    assert sum(part.packets for part in parts) == 120 - 3
    assert recorder.status().segments_closed == 1
    assert not faults
