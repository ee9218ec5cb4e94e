"""Cameras pushed to real servers: the gateway's own RTSP server, and FFmpeg as an RTMP server."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from gateway.camera import Camera
from gateway.clock import SYSTEM_CLOCK
from gateway.errors import CameraRefusedError, SettingsError
from gateway.forward.forward import ForwardState
from gateway.forward.service import ForwardService
from gateway.settings import load_settings
from tests.gateway.rtsp_server.test_server import Site
from tests.support.eventually import eventually
from tests.support.rtsp import free_port

DOOR = {"url": "fake://door?width=320&height=180&gop=10&audio=alaw", "engine": "fake", "start": "on-demand"}
COMMON = {"record": "never", "capture_linger": 0}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """The cameras ``door``, which has pictures and a tone, and ``copy``, which is published."""
    async with AsyncExitStack() as stack:
        tables = {"door": DOOR | COMMON, "copy": {"url": "publish:"} | COMMON}
        found = Site({name: load_settings().camera(name, table) for name, table in tables.items()})
        found.service.start()
        stack.push_async_callback(found.service.close)
        await found.server.start("127.0.0.1", 0, found.access)
        stack.push_async_callback(found.server.close)
        yield found


@pytest.fixture
async def forwards() -> AsyncIterator[ForwardService]:
    service = ForwardService(SYSTEM_CLOCK)
    yield service
    await service.close()


def set_forward(camera: Camera, *urls: str) -> Camera:
    settings = load_settings().camera("door", DOOR | COMMON | {"forward": list(urls)})
    camera.reconfigure(settings, camera.main._engine_factory)
    return camera


async def test_a_camera_is_pushed_to_an_rtsp_server_and_again_after_it_went_away(
    site: Site, forwards: ForwardService
) -> None:
    door, copy = site.service.camera("door"), site.service.camera("copy")
    url = f"rtsp://user:s3cret@127.0.0.1:{site.server.port}/copy"
    await forwards.set_camera(set_forward(door, url))
    (forward,) = forwards.forwards["door"]
    forward._backoff.delay_s = 0.1
    await eventually(lambda: copy.hub.gop, "the other camera has pictures")
    assert copy.hub.info is not None
    assert (copy.hub.info.video.width, copy.hub.info.audio and copy.hub.info.audio.codec) == (320, "aac")
    await eventually(lambda: forward.state is ForwardState.LIVE, "it is live")
    assert forward.error is None
    assert "s3cret" not in f"{forward.target!r} {forward.target.name}"
    assert door.viewers == {"forward": 1}
    publisher = copy.main.publish_point._publisher
    assert publisher is not None
    publisher.end("a test")
    await eventually(lambda: forward.reconnects >= 1, "it is noticed")
    await eventually(lambda: forward.state is ForwardState.LIVE, "it is live again")
    await forwards.set_camera(set_forward(door))
    await eventually(lambda: not door.viewers, "nothing holds the camera any more")


@pytest.mark.integration
async def test_a_camera_is_pushed_to_an_rtmp_server(site: Site, forwards: ForwardService) -> None:
    url = f"rtmp://127.0.0.1:{free_port()}/live/s3cret-key"
    arguments = ["-hide_banner", "-listen", "1", "-probesize", "20000", "-analyzeduration", "500000", "-i", url]
    arguments += ["-frames:v", "10", "-frames:a", "10", "-f", "null", "-"]
    server = await asyncio.create_subprocess_exec("ffmpeg", *arguments, stderr=asyncio.subprocess.PIPE)
    assert server.stderr is not None
    await forwards.set_camera(set_forward(site.service.camera("door"), url))
    (forward,) = forwards.forwards["door"]
    forward._backoff.delay_s = 0.2
    async with asyncio.timeout(30):
        report = (await server.stderr.read()).decode()
        assert await server.wait() == 0, report
    assert re.search(r"Video: h264.* 320x180", report)
    assert re.search(r"Audio: aac", report)
    await eventually(lambda: forward.state is ForwardState.RETRYING, "the server has ended")
    assert forward.packets_sent > 10
    assert "s3cret" not in f"{forward.error} {forward.target.name}"


async def test_a_server_that_is_not_there_or_not_allowed_costs_the_camera_nothing(site: Site) -> None:
    def refuse(_: object) -> None:
        raise CameraRefusedError("this address is not allowed")

    service = ForwardService(SYSTEM_CLOCK, lambda: refuse)
    door = site.service.camera("door")
    await service.set_camera(set_forward(door, "rtmp://127.0.0.1:1/live/key"))
    (forward,) = service.forwards["door"]
    await eventually(lambda: forward.error == "this address is not allowed", "it is refused")
    await service.close()
    service = ForwardService(SYSTEM_CLOCK)
    await service.set_camera(door)
    (forward,) = service.forwards["door"]
    await eventually(lambda: forward.error is not None, "nothing listens")
    assert forward.error is not None
    assert "127.0.0.1:1" in forward.error
    assert door.hub.gop
    await service.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("srt://127.0.0.1:9000", "SRT cannot be sent"),
        ("whip:rtmp://example.com/whip/secret", "whip:https://"),
        ("whip:https://example.com", "no path"),
        ("http://example.com/secret", "does not start with rtmp://"),
        ("rtmp://example.com", "no path"),
        ("rtmp://:secret@/live/secret", "number 1"),
    ],
)
def test_targets_that_cannot_be_used_are_refused_by_name(url: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as refused:
        load_settings().camera("door", DOOR | {"forward": [url]})
    assert "secret" not in str(refused.value)
    with pytest.raises(SettingsError, match="more than 8"):
        load_settings().camera("door", DOOR | {"forward": [f"rtmp://example.com/live/{n}" for n in range(9)]})
