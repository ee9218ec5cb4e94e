"""WebRTC sends each packet before LL-HLS muxes it, also where HLS was attached to the camera before."""

from gateway.clock import CLOCK_RATE, SystemClock
from gateway.service import CaptureService
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.rtp.video_sender import VideoSender
from hls.live.service import LiveStream
from tests.gateway.webrtc.wire import VIDEO, CapturingTransport, srtp
from tests.support.hls_server import source_camera
from tests.support.sources.packets import START_90K, PacketSource, Shape

LiveEdge = tuple[int, int, int] | None


class WatchingWire(CapturingTransport):
    """A path to a viewer that notes the live edge of HLS at each send."""

    def __init__(self, stream: LiveStream) -> None:
        super().__init__()
        self._stream = stream
        self.live_edges: list[LiveEdge] = []

    def send(self, data: memoryview | bytes, segment_bytes: int) -> bool:
        self.live_edges.append(self._stream.live_edge)
        return super().send(data, segment_bytes)


async def test_webrtc_sends_a_packet_before_hls_publishes_the_part_that_it_completes() -> None:
    settings = source_camera(
        "packets://still", start="on-demand", engine="tests.support.sources.scripted:ScriptedEngine"
    )
    service = CaptureService({"yard": settings})
    hub = service.camera("yard").hub
    stream = LiveStream(service.camera("yard"))
    wire = WatchingWire(stream)
    fanout = CameraFanout(hub, SystemClock(), lambda why: None)
    sender = VideoSender(srtp(), VIDEO, 0x77, wire)
    faults: list[Exception] = []
    fanout.add(sender, faults.append)
    moved = 0
    try:
        for packet in PacketSource(Shape(gop=15)).frames(120, START_90K + 1000 * CLOCK_RATE):
            before = stream.live_edge
            wire.live_edges.clear()
            hub.publish(packet)
            assert set(wire.live_edges) == {before}
            moved += stream.live_edge != before
    finally:
        fanout.close()
        stream.close()
        await service.close()
    assert moved > 5
    assert not faults
