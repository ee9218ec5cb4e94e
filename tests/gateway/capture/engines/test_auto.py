"""The engine `auto`: our own for RTSP, PyAV for everything else and for formats that ours does not know."""

import asyncio
import logging

import pytest

from gateway.capture.engine import CaptureSource
from gateway.capture.engines import auto
from gateway.capture.engines.auto import AutoCaptureEngine
from gateway.capture.runner import AsyncEngineRunner
from gateway.errors import NoVideoError
from gateway.media import Packet
from tests.support.http_camera import HttpCamera, stream
from tests.support.rtsp import RtspServer


async def pull(url: str, wanted: int = 30) -> tuple[list[Packet], AutoCaptureEngine]:
    """The first packets, as a camera gets them."""
    taken: list[Packet] = []
    enough = asyncio.Event()

    def take(packet: Packet) -> None:
        taken.append(packet)
        if len(taken) >= wanted:
            enough.set()

    engine = AutoCaptureEngine(CaptureSource("camera", url, run=3))
    runner = AsyncEngineRunner(engine, take)
    runner.start()
    ended = asyncio.ensure_future(runner.ended())
    waiting = asyncio.ensure_future(enough.wait())
    await asyncio.wait({ended, waiting}, return_when=asyncio.FIRST_COMPLETED)
    runner.interrupt()
    waiting.cancel()
    await ended
    return taken, engine


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> None:
    auto._needs_pyav.clear()


async def test_rtsp_is_pulled_by_our_own_engine(rtsp_server: RtspServer) -> None:
    packets, engine = await pull(rtsp_server.url("/video"))
    assert engine._runner is None
    assert engine.is_low_latency
    assert {packet.run for packet in packets} == {3}


async def test_everything_else_is_pulled_by_pyav() -> None:
    with HttpCamera({"/live": stream("mpegts")}) as camera:
        packets, engine = await pull(camera.url("/live"))
    assert engine._runner is not None
    assert packets[0].is_keyframe


async def test_the_test_picture_is_generated() -> None:
    packets, engine = await pull("fake://door?width=320&height=180")
    assert (packets[0].info.video.width, packets[0].info.video.height) == (320, 180)
    assert {packet.run for packet in packets} == {3}
    assert engine._runner is not None
    assert not engine._runner.is_running


async def test_a_format_that_ours_does_not_know_is_pulled_by_pyav_and_remembered(
    rtsp_server: RtspServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        packets, engine = await pull(rtsp_server.url("/ts"))
        assert engine._runner is not None
        assert packets[0].is_keyframe
        assert (packets[0].info.video.width, packets[0].info.video.height) == (320, 240)
        assert ["MP2T" in record.message and "PyAV" in record.message for record in caplog.records] == [True]
        _, engine = await pull(rtsp_server.url("/ts"))
        assert engine._inner is None
        assert len(caplog.records) == 1, "it is remembered"


async def test_what_neither_can_pass_on_is_not_tried_twice(rtsp_server: RtspServer) -> None:
    with pytest.raises(NoVideoError):
        await pull(rtsp_server.url("/audio"))
    assert not auto._needs_pyav
