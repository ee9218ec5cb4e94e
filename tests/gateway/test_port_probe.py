"""A camera that was unreachable is tried as soon as it answers, and one that answers is not polled."""

import asyncio

import pytest

from gateway.errors import CameraRefusedError, CameraTimeoutError, CameraUnreachableError
from gateway.port_probe import wait_until_reachable, when_reachable
from gateway.service import CaptureService
from gateway.session import SessionState
from tests.support.eventually import eventually
from tests.support.rtsp import RtspServer


class Listener:
    """Accepts connections, and counts them."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _accept(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


async def test_a_change_from_silence_to_an_answer_ends_the_wait(free_port: int) -> None:
    listener = Listener(free_port)
    waiting = asyncio.create_task(wait_until_reachable("127.0.0.1", free_port, is_silent=False))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await listener.start()
    assert await waiting
    await listener.stop()


async def test_a_port_that_is_open_already_is_connected_to_once(free_port: int) -> None:
    listener = Listener(free_port)
    await listener.start()
    assert not await wait_until_reachable("127.0.0.1", free_port, is_silent=False)
    await eventually(lambda: listener.connections == 1, "the probe has connected")
    await listener.stop()


async def test_an_invalid_name_is_unreachable() -> None:
    waiting = asyncio.create_task(wait_until_reachable("a." + "b" * 70 + ".invalid", 554, is_silent=True))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])


@pytest.mark.parametrize("kind", [CameraRefusedError, CameraUnreachableError, CameraTimeoutError])
async def test_only_errors_that_name_a_silent_port_make_it_poll(
    kind: type[CameraUnreachableError], free_port: int
) -> None:
    called: list[bool] = []
    await when_reachable(kind("without a place"), lambda: called.append(True))
    await when_reachable(None, lambda: called.append(True))
    assert not called
    listener = Listener(free_port)
    await listener.start()
    error = kind("with one")
    error.silent_at = ("127.0.0.1", free_port)
    await when_reachable(error, lambda: called.append(True))
    assert called == ([True] if kind is CameraUnreachableError else [])
    await listener.stop()


async def test_a_camera_that_is_back_is_live_although_its_next_attempt_is_an_hour_away(
    own_rtsp_server: RtspServer,
) -> None:
    service = CaptureService.from_url(
        f"rtsp://127.0.0.1:{own_rtsp_server.port}/video", start="always", connection_retry_delay=3600
    )
    camera = service.camera()
    try:
        own_rtsp_server.stop()
        service.start()
        await eventually(lambda: camera.session.state is SessionState.RETRYING, "the session retries")
        own_rtsp_server.start()
        await eventually(lambda: camera.session.state is SessionState.LIVE, "the session is live")
    finally:
        await service.close()
