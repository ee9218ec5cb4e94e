"""Which stream of a camera the pictures are of, with real RTSP servers that come and go."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from typing import Any

import pytest

from gateway.camera import Camera
from gateway.camera_settings import RenditionName
from gateway.errors import UnavailableError
from gateway.jpeg.codec import FrameDecoder, Picture
from gateway.jpeg.reader import JpegFrame
from gateway.media import Packet
from gateway.picture_reader import PictureReader
from gateway.pictures import AVOID_S, UNDECODABLE_S, PictureSource
from gateway.service import CaptureService
from gateway.settings import load_settings
from tests.support.eventually import eventually
from tests.support.manual_clock import ManualClock
from tests.support.rtsp import RtspServer

pytestmark = pytest.mark.integration

Open = Callable[..., Camera]

QUICK = {"connection_retry_attempts": 0, "connection_retry_delay": 0.1}


@pytest.fixture
async def opened(rtsp_server: RtspServer) -> AsyncIterator[Open]:
    """Opens a camera with a main stream of 640x480, a sub stream of 320x240, and no viewer."""
    services: list[CaptureService] = []

    def open_camera(**table: Any) -> Camera:
        base = {
            "url": rtsp_server.url("/large"),
            "sub_url": rtsp_server.url("/gop1"),
            "start": "on-demand",
            "record": "never",
        }
        settings = load_settings().camera("door", {**base, "capture_linger": 0, **table})
        services.append(CaptureService({"door": settings}))
        services[-1].start()
        return services[-1].camera("door")

    yield open_camera
    for service in services:
        await service.close()


@pytest.mark.parametrize("name", RenditionName)
async def test_pictures_are_of_the_stream_that_is_preferred(opened: Open, name: RenditionName) -> None:
    camera = opened()
    width = 16 if name is RenditionName.MAIN else None
    with closing(PictureSource(camera, "mjpeg", width, preferred=name)) as source:
        assert (await source.started(10)).name is name


@pytest.mark.parametrize(("width", "name"), [(None, "main"), (16, "sub"), (320, "sub"), (321, "main"), (4000, "main")])
async def test_pictures_are_of_the_smallest_stream_with_the_width(opened: Open, width: int | None, name: str) -> None:
    camera = opened()
    with closing(PictureSource(camera, "mjpeg", width)) as source:
        await source.started(10)
        await eventually(lambda: source.rendition and source.rendition.name == name, "it is the one that suits best")
        await eventually(lambda: source.rendition and source.rendition.hub.gop, "it has a keyframe")
        assert camera.viewers == {"mjpeg": 1}
    assert camera.viewers == {}
    source.close()
    assert not any(each.is_wanted for each in camera.renditions.values())


async def test_where_none_has_the_width_pictures_are_of_the_larger_stream(
    opened: Open, rtsp_server: RtspServer
) -> None:
    camera = opened(url=rtsp_server.url("/gop1"), sub_url=rtsp_server.url("/large"))
    with closing(PictureSource(camera, "mjpeg", 4000)) as source:
        await source.started(10)
        await eventually(lambda: source.rendition and source.rendition.name == "sub", "it is the sub stream")


async def test_a_single_picture_is_of_a_stream_that_is_there(opened: Open) -> None:
    camera = opened(start="always")
    assert camera.sub is not None
    await camera.wait_for_keyframe(10)
    with closing(PictureSource(camera, "snapshot", 160, is_single=True)) as source:
        assert await source.started(10) is camera.main
    watching = camera.sub.hold("webrtc")
    await camera.sub.wait_for_keyframe(10)
    with closing(PictureSource(camera, "snapshot", 160, is_single=True)) as source:
        assert await source.started(10) is camera.sub
    watching.release()


@pytest.mark.parametrize(("url", "sub_url", "name"), [("/large", "/none", "main"), ("/none", "/gop1", "sub")])
@pytest.mark.parametrize("width", [160, None])
async def test_pictures_are_of_the_other_stream_where_one_cannot_be_captured(
    opened: Open, rtsp_server: RtspServer, url: str, sub_url: str, name: str, width: int | None
) -> None:
    camera = opened(url=rtsp_server.url(url), sub_url=rtsp_server.url(sub_url), **QUICK)
    with closing(PictureSource(camera, "mjpeg", width)) as source:
        assert (await source.started(10)).name == name
        assert camera.viewers == {"mjpeg": 1}


async def test_no_picture_where_neither_stream_can_be_captured(opened: Open, rtsp_server: RtspServer) -> None:
    camera = opened(url=rtsp_server.url("/none"), sub_url=rtsp_server.url("/gone"), **QUICK)
    with closing(PictureSource(camera, "mjpeg", 160)) as source, pytest.raises(UnavailableError, match="404"):
        await source.started(10)
    assert not any(each.is_wanted for each in camera.renditions.values())


async def test_a_viewer_sees_a_picture_while_either_stream_has_one(opened: Open) -> None:
    with RtspServer() as main, RtspServer() as sub:
        camera = opened(url=main.url("/large"), sub_url=sub.url("/gop1"), **QUICK)
        frames: list[JpegFrame] = []

        async def read(reader: PictureReader) -> None:
            async for frame in reader:
                frames.append(frame)  # noqa: PERF401  (the test reads it meanwhile)

        with closing(PictureReader(camera, "mjpeg", 25, 320)) as reader:
            reading = asyncio.create_task(read(reader))
            await eventually(lambda: len(frames) > 10, "there are pictures")
            assert camera.rendition(RenditionName.SUB).jpeg.is_decoding
            sub.kill()
            await eventually(lambda: camera.jpeg.is_decoding, "the main stream is shown")
            assert camera.viewers == {"mjpeg": 1}
            count = len(frames)
            await eventually(lambda: len(frames) > count + 10, "it goes on")
            main.kill()
            sub.start()
            await eventually(lambda: not camera.jpeg.is_decoding, "the sub stream is shown again")
            count = len(frames)
            await eventually(lambda: len(frames) > count + 10, "it goes on")
        await reading
        numbers, times = [each.sequence for each in frames], [each.captured_at_90k for each in frames]
        assert numbers == sorted(set(numbers))
        assert times == sorted(set(times))
        assert {each.width for each in frames} == {320}
        assert not any(each.is_wanted for each in camera.renditions.values())


async def test_a_reader_stays_where_the_sub_stream_is_removed_and_ends_with_the_camera(
    opened: Open, rtsp_server: RtspServer
) -> None:
    camera = opened()
    reader = PictureReader(camera, "mjpeg", 25, 160)
    await reader.started(10)
    assert camera.sub is not None
    await eventually(lambda: camera.sub and camera.sub.jpeg.is_decoding, "the sub stream is shown")
    table = {"url": rtsp_server.url("/large"), "start": "on-demand", "record": "never"}
    camera.reconfigure(load_settings().camera("door", table), camera.main._engine_factory)
    await eventually(lambda: camera.jpeg.is_decoding, "the main stream is shown")
    assert (await reader.get()).width == 160
    waiting = asyncio.create_task(anext(aiter(reader), None))
    await camera.aclose()
    await eventually(reader_is_over(reader), "the reader ends")
    await asyncio.wait([waiting])
    reader.close()


def reader_is_over(reader: PictureReader) -> Callable[[], Any]:
    async def is_over() -> bool:
        return await anext(aiter(reader), None) is None

    return is_over


async def test_a_stream_that_cannot_be_decoded_is_left_for_a_while(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind(FrameDecoder):
        def decode(self, packet: Packet) -> Picture | None:
            return super().decode(packet) if packet.info.video.width > 320 else None

    monkeypatch.setattr("gateway.jpeg.feed.FrameDecoder", Blind)
    clock = ManualClock()
    camera = opened(start="always")
    assert camera.sub is not None
    with closing(PictureSource(camera, "mjpeg", 160, clock=clock)) as source:
        assert await source.started(10) is camera.sub
        with closing(camera.sub.jpeg.subscribe(25, 160)):
            await eventually(lambda: camera.main.hub.gop, "the main stream is there")
            source.set_width(160)
            assert source.rendition is camera.sub
            clock.now += UNDECODABLE_S
            source.set_width(160)
            assert source.rendition is camera.main
            clock.now += AVOID_S - 1
            source.set_width(160)
            assert source.rendition is camera.main
            clock.now += 1
            source.set_width(160)
            assert source.rendition is camera.sub


async def test_a_consumer_that_is_no_viewer_takes_what_a_command_captured(opened: Open) -> None:
    camera = opened()
    with closing(PictureReader(camera, "jpeg", 25, 160, is_viewer=False)) as reader:
        assert not any(each.is_wanted for each in camera.renditions.values())
        camera.add_client("ems")
        assert (await reader.get()).width == 160
        await eventually(lambda: camera.viewers == {"jpeg": 1}, "the sub stream is watched")
        await camera.remove_client("ems")
        await eventually(lambda: not camera.rendition(RenditionName.SUB).is_wanted, "nothing is captured")
