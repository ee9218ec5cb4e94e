"""Cameras that send MPEG-4 or AV1 by RTSP, without OpenCV: pictures as JPEG, and a transcode over WebRTC."""

from collections.abc import AsyncIterator

import pytest
from av import VideoFrame

from gateway.camera import Camera
from gateway.service import CaptureService
from gateway.settings import load_settings
from tests.support.coded_rtp import description, media
from tests.support.eventually import eventually
from tests.support.rtsp_camera import RtspCamera
from tests.support.webrtc import Join


@pytest.fixture(params=["mpeg4", "av1"])
async def camera(request: pytest.FixtureRequest) -> AsyncIterator[Camera]:
    with RtspCamera(description(request.param), media(request.param)) as source:
        table = {"url": source.url(), "start": "on-demand", "record": "never", "capture_linger": 0}
        async with CaptureService({"door": load_settings().camera("door", table)}) as service:
            yield service.camera("door")


async def test_they_are_seen_as_jpeg_and_over_webrtc(
    camera: Camera, join: Join, request: pytest.FixtureRequest
) -> None:
    peer, viewer = await join(camera)
    track = peer.getReceivers()[0].track
    for _ in range(5):
        picture = await track.recv()
        assert isinstance(picture, VideoFrame)
        assert (picture.width, picture.height) == (320, 240)
    assert isinstance(picture, VideoFrame)
    assert 95 < picture.to_ndarray(format="gray8")[120, 160] < 155, "the grey that the camera sends"
    codec = request.node.callspec.params["camera"]
    stats = viewer.stats()
    assert (stats.transcoded, stats.codec) == (True, "h264")
    assert (
        stats.rendition_reason
        == f"the main stream has {codec}, which the viewer does not decode; so the main stream is transcoded"
    )
    await eventually(lambda: camera.status().keyframe_interval_s, "a second keyframe has come")
    status = camera.status()
    assert (status.codec, status.width, status.height) == (codec, 320, 240)
    assert status.keyframe_interval_s == pytest.approx(1.0, abs=0.1)
    snapshot = await camera.jpeg.snapshot()
    assert (snapshot.width, snapshot.height) == (320, 240)
    assert camera.jpeg.decode_errors == 0
