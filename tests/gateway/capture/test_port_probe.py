"""A camera that was silent is tried as soon as it answers, and one that answers is left alone."""

import asyncio

import pytest

from gateway.capture.port_probe import until_answered, when_answered
from gateway.errors import CameraRefusedError, CameraTimeoutError, CameraUnreachableError
from gateway.service import CaptureService
from gateway.session import SessionState
from tests.support.configured import until
from tests.support.rtsp import RtspServer


class Listener:
    """Somebody who accepts connections, and counts them."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.visits = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._visit, "127.0.0.1", self.port)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _visit(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        writer.close()


async def test_the_way_from_silence_to_an_answer_is_news(free_port: int) -> None:
    listener = Listener(free_port)
    knocking = asyncio.create_task(until_answered("127.0.0.1", free_port, is_silent=False))
    await asyncio.sleep(0.1)
    assert not knocking.done()
    await listener.start()
    assert await knocking
    await listener.stop()


async def test_who_has_been_listening_all_the_time_is_knocked_at_once(free_port: int) -> None:
    listener = Listener(free_port)
    await listener.start()
    assert not await until_answered("127.0.0.1", free_port, is_silent=False)
    await until(lambda: listener.visits == 1)
    await listener.stop()


async def test_a_name_that_is_none_is_silent() -> None:
    knocking = asyncio.create_task(until_answered("a." + "b" * 70 + ".invalid", 554, is_silent=True))
    await asyncio.sleep(0.1)
    assert not knocking.done()
    knocking.cancel()
    await asyncio.wait([knocking])


@pytest.mark.parametrize("kind", [CameraRefusedError, CameraUnreachableError, CameraTimeoutError])
async def test_only_where_an_error_tells_of_silence_somebody_knocks(
    kind: type[CameraUnreachableError], free_port: int
) -> None:
    called: list[bool] = []
    await when_answered(kind("without a place"), lambda: called.append(True))
    await when_answered(None, lambda: called.append(True))
    assert not called
    listener = Listener(free_port)
    await listener.start()
    error = kind("with one")
    error.silent_at = ("127.0.0.1", free_port)
    await when_answered(error, lambda: called.append(True))
    assert called == ([True] if kind is CameraUnreachableError else [])
    await listener.stop()


async def test_a_camera_that_is_plugged_in_again_is_live_though_its_next_attempt_is_an_hour_away(
    own_rtsp_server: RtspServer,
) -> None:
    service = CaptureService.from_url(
        f"rtsp://127.0.0.1:{own_rtsp_server.port}/video", start="always", connection_retry_delay=3600
    )
    camera = service.camera()
    try:
        own_rtsp_server.stop()
        service.start()
        await until(lambda: camera.session.state is SessionState.RETRYING)
        own_rtsp_server.start()
        async with asyncio.timeout(60):
            while camera.session.state is not SessionState.LIVE:
                await asyncio.sleep(0.05)
    finally:
        await service.close()
