"""A frame is sent to WebRTC as soon as its last RTP packet is here: before anything else happens with it."""

from collections.abc import Iterator

import pytest

from gateway.capture.engines.rtsp import RtspCaptureEngine
from gateway.capture.rtsp_connection import RtspConnection
from gateway.media import Packet
from gateway.service import CaptureService
from gateway.settings import load_settings
from tests.support.eventually import eventually
from tests.support.pcm_pictures import Layout
from tests.support.rtsp_camera import RtpSender, RtspCamera, Sent, sdp, video_section

PICTURES = 12


def media() -> Iterator[Sent]:
    """A picture every 20 ms; each of several packets, the last with the marker."""
    layout, video = Layout(), RtpSender()
    for number in range(PICTURES):
        units = [layout.picture(number, 2 * number, 40, is_idr=number == 0, is_intra=True)]
        if number == 0:
            units = [layout.sps(), layout.pps(), *units]
        yield from video.picture(units, number * 1800, number / 50)


async def test_a_frame_is_published_in_the_call_that_reads_its_last_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    is_reading = False
    take = RtspConnection.buffer_updated

    def noted_take(connection: RtspConnection, size: int) -> None:
        nonlocal is_reading
        is_reading = True
        take(connection, size)
        is_reading = False

    monkeypatch.setattr(RtspConnection, "buffer_updated", noted_take)
    with RtspCamera(sdp(video_section()), media()) as source:
        engine = f"{RtspCaptureEngine.__module__}:{RtspCaptureEngine.__name__}"
        table = {"url": source.url(), "engine": engine, "start": "on-demand", "record": "never", "capture_linger": 0}
        service = CaptureService({"door": load_settings().camera("door", table)})
        camera = service.camera()

        def sink(name: str) -> None:
            def note(packet: Packet) -> None:
                assert packet.is_video
                calls.append(name if is_reading else f"{name}, later")

            camera.hub.attach(note, first=name == "webrtc")

        # As in a gateway: HLS and the recorder are there before the first viewer.
        sink("hls")
        subscription = camera.hub.subscribe()
        sink("webrtc")
        hold = camera.hold("test")
        # The last picture as well, although none comes after it: its marker ends it.
        await eventually(lambda: len(calls) >= 2 * PICTURES, "all pictures were published")
        assert calls == ["webrtc", "hls"] * PICTURES
        assert len(subscription) == PICTURES
        hold.release()
        await service.close()
