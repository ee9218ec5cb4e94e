"""A camera that sends Motion JPEG, over RTSP: its own pictures as JPEG, and a transcode over WebRTC."""

from collections.abc import AsyncIterator
from contextlib import closing

import cv2
import numpy as np
import pytest
from av import VideoFrame

from gateway.camera import Camera
from gateway.picture_reader import PictureReader
from gateway.service import CaptureService
from gateway.settings import load_settings
from tests.support.rtsp import RtspServer
from tests.support.webrtc import Join

pytestmark = pytest.mark.integration


@pytest.fixture
async def camera(rtsp_server: RtspServer) -> AsyncIterator[Camera]:
    table = {"url": rtsp_server.url("/mjpeg"), "start": "on-demand", "record": "never", "capture_linger": 0}
    async with CaptureService({"door": load_settings().camera("door", table)}) as service:
        yield service.camera("door")


def size_of(data: bytes) -> tuple[int, int]:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture.shape[1], picture.shape[0]


async def test_jpeg_viewers_get_the_pictures_as_the_camera_sends_them(camera: Camera) -> None:
    sent: set[bytes] = set()
    detach = camera.hub.attach(lambda packet: sent.add(packet.data))
    with (
        closing(PictureReader(camera, "mjpeg", 25, None)) as whole,
        closing(PictureReader(camera, "mjpeg", 25, 160)) as small,
    ):
        frames = [await whole.get() for _ in range(5)]
        assert all(frame.data in sent for frame in frames)
        assert {size_of(frame.data) for frame in frames} == {(320, 240)}
        assert [frame.sequence for frame in frames] == sorted({frame.sequence for frame in frames})
        frame = await small.get()
        assert size_of(frame.data) == (frame.width, frame.height) == (160, 120)
        assert (await camera.jpeg.snapshot()).data in sent
        assert size_of((await camera.jpeg.snapshot(80)).data) == (80, 60)
        assert camera.jpeg.packets_skipped == camera.jpeg.decode_errors == 0
    detach()


async def test_a_webrtc_viewer_gets_it_transcoded(camera: Camera, join: Join) -> None:
    peer, viewer = await join(camera)
    track = peer.getReceivers()[0].track
    for _ in range(10):
        picture = await track.recv()
        assert isinstance(picture, VideoFrame)
        assert (picture.width, picture.height) == (320, 240)
    stats = viewer.stats()
    assert stats.codec == "h264"
    assert "transcoded" in (stats.rendition_reason or "")
    assert isinstance(picture, VideoFrame)
    # It is the test picture, whose first bar is white and whose last one is blue: not only something.
    shown = picture.to_ndarray(format="rgb24")
    assert shown[100, 10].min() > 150
    assert shown[100, 310].argmax() == 2
