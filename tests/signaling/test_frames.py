"""Which stream of a camera the frames over Socket.IO are of, with a real RTSP server."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.service import CaptureService
from gateway.settings import load_settings
from signaling.frames import FrameRequest, FrameStreams
from tests.support.eventually import eventually
from tests.support.rtsp import RtspServer

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(("width", "size"), [(None, (640, 480)), (160, (160, 120)), (640, (640, 480))])
async def test_frames_are_of_the_smallest_stream_with_the_width(
    rtsp_server: RtspServer, width: int | None, size: tuple[int, int]
) -> None:
    urls = {"url": rtsp_server.url("/large"), "sub_url": rtsp_server.url("/video")}
    table = {**urls, "start": "on-demand", "record": "never", "capture_linger": 0}
    async with CaptureService({"door": load_settings().camera("door", table)}) as service:
        camera = service.camera("door")
        sent: list[dict[str, Any]] = []
        ended: list[bool] = []

        async def send(data: dict[str, Any], arrived: Callable[[], None]) -> None:
            sent.append(data["metadata"])
            arrived()

        streams = FrameStreams(send, "test")
        await streams.start(FrameRequest(camera, 25, width, is_viewer=True, on_end=lambda: ended.append(True)))
        await eventually(lambda: len(sent) > 2, "frames come")
        assert (sent[0]["width"], sent[0]["height"]) == size
        assert camera.sub is not None
        assert camera.sub.jpeg.is_decoding is (width == 160)
        assert camera.jpeg.is_decoding is (width != 160)
        assert camera.viewers == {"jpeg": 1}
        await streams.close()
        assert camera.viewers == {}
        assert ended == [True]


async def test_a_stream_that_ends_while_it_waits_for_a_sub_stream_leaves_nothing_behind(
    rtsp_server: RtspServer,
) -> None:
    urls = {"url": rtsp_server.url("/large"), "sub_url": rtsp_server.url("/gop10")}
    table = {**urls, "start": "on-demand", "record": "never", "capture_linger": 0}
    async with CaptureService({"door": load_settings().camera("door", table)}) as service:
        camera = service.camera("door")
        ended: list[bool] = []

        async def send(data: dict[str, Any], arrived: Callable[[], None]) -> None:
            arrived()

        streams = FrameStreams(send, "test")
        request = FrameRequest(camera, 25, 160, is_viewer=True, on_end=lambda: ended.append(True))
        await streams.start(request)
        await streams.close()
        await streams.start(request)
        await eventually(lambda: camera.viewers == {"jpeg": 1}, "the sub stream is held")
        await streams.close()
        assert camera.viewers == {}
        assert ended == [True, True]
