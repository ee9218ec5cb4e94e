"""Programs that push a camera with ANNOUNCE and RECORD."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from gateway.capture.engine import CaptureSource
from gateway.capture.engines.auto import AutoCaptureEngine
from gateway.errors import UnauthorizedError
from gateway.rtsp_server.target import Elsewhere
from gateway.service import CaptureService
from gateway.settings import load_settings
from tests.gateway.rtsp_server.test_server import Line, Site
from tests.support.camera_media import coded, good_video
from tests.support.eventually import eventually
from tests.support.rtsp_camera import sdp, video_section

TABLE = {"url": "publish:", "record": "never", "capture_linger": 0}
TCP = "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        cameras = {"phone": TABLE, "lazy": {**TABLE, "start": "on-demand"}}
        found = Site({name: load_settings().camera(name, table) for name, table in cameras.items()})
        found.service.start()
        stack.push_async_callback(found.service.close)
        await found.server.start("127.0.0.1", 0, found.access)
        stack.push_async_callback(found.server.close)
        yield found
        for writer in found.writers:
            writer.close()


def description() -> str:
    sets = ",".join(base64.b64encode(unit).decode() for unit in coded(1)[0] if unit[0] & 0x1F in (7, 8))
    return sdp(video_section().replace("mode=1", f"mode=1;sprop-parameter-sets={sets}"))


async def announced(site: Site, camera_id: str = "phone", text: str | None = None) -> tuple[Line, int]:
    line = await site.connect()
    status, _, _ = await line.ask("ANNOUNCE", f"/{camera_id}", body=description() if text is None else text)
    return line, status


async def recording(site: Site, camera_id: str = "phone") -> Line:
    line, status = await announced(site, camera_id)
    assert status == 200
    assert (await line.ask("SETUP", f"/{camera_id}/track0", Transport=TCP))[0] == 200
    assert (await line.ask("RECORD", f"/{camera_id}"))[0] == 200
    return line


def push(line: Line, frames: int = 50) -> None:
    """Send media, faster than it is."""
    for sent in good_video(frames / 25):
        line.writer.write(b"$\0" + len(sent.data).to_bytes(2, "big") + sent.data)


@pytest.mark.parametrize("camera_id", ["phone", "lazy"])
async def test_what_is_published_is_the_camera(site: Site, camera_id: str) -> None:
    camera = site.service.camera(camera_id)
    if camera_id == "phone":
        await eventually(lambda: camera.status().error_message, "it waits")
        assert camera.status().state == "connecting"
        assert camera.status().error_message == "it waits for a program that publishes it"
    line = await recording(site, camera_id)
    await eventually(lambda: camera.main.publish_point.has_publisher, "it is published")
    push(line)
    await eventually(lambda: camera.hub.gop, "the camera is live")
    assert camera.hub.info is not None
    assert (camera.hub.info.video.codec, camera.hub.info.video.width) == ("h264", 160)
    assert (await line.ask("TEARDOWN", f"/{camera_id}"))[0] == 200
    await eventually(lambda: not camera.hub.gop, "it has ended")


async def test_a_camera_of_another_node_is_published_there(site: Site) -> None:
    camera = site.service.camera("phone")
    for host, status, headers in (
        ("192.0.2.7", 302, {"location": f"rtsp://192.0.2.7:{site.server.port}/phone"}),
        ("2001:db8::7", 302, {"location": f"rtsp://[2001:db8::7]:{site.server.port}/phone"}),
        (None, 503, {"retry-after": "2"}),
    ):
        found = Elsewhere("the node b of the cluster captures it", host)
        site.server.elsewhere = {"phone": found}.get
        line = await site.connect()
        answered, told, text = await line.ask("ANNOUNCE", "/phone", body=description())
        assert (answered, text) == (status, found.message)
        assert headers.items() <= told.items()
    assert not camera.main.publish_point.has_publisher
    assert (await announced(site, "lazy"))[1] == 200


async def test_teardown_of_a_section_leaves_the_others(site: Site) -> None:
    sound = "m=audio 0 RTP/AVP 8\r\na=control:sound\r\n"
    line, _ = await announced(site, text=description() + sound)
    assert (await line.ask("SETUP", "/phone/track0", Transport=TCP))[0] == 200
    audio = "RTP/AVP/TCP;unicast;interleaved=2-3;mode=record"
    assert (await line.ask("SETUP", "/phone/sound", Transport=audio))[0] == 200
    assert (await line.ask("RECORD", "/phone"))[0] == 200
    push(line)
    camera = site.service.camera("phone")
    await eventually(lambda: camera.hub.gop, "the camera is live")
    assert (await line.ask("TEARDOWN", "/phone/sound"))[0] == 200
    line.writer.write(b"$\2\0\x0c" + bytes(12))
    assert (await line.ask("GET_PARAMETER", "/phone"))[0] == 200
    assert camera.main.publish_point.has_publisher
    assert (await line.ask("TEARDOWN", "/phone/track0"))[0] == 200, "the last one ends the session"
    assert not camera.main.publish_point.has_publisher


async def test_a_newer_publisher_takes_the_place_and_the_camera_goes_on(site: Site) -> None:
    camera = site.service.camera("phone")
    first = await recording(site)
    push(first)
    await eventually(lambda: camera.hub.gop, "the camera is live")
    second = await recording(site)
    assert await first.is_closed()
    before = camera.hub.packets_published

    async def pushed() -> bool:
        push(second, 25)
        await asyncio.sleep(0.05)
        return camera.hub.packets_published > before + 20

    for _ in range(100):
        if await pushed():
            break
    assert camera.hub.packets_published > before + 20


async def test_a_publisher_that_pauses_publishes_nothing_and_may_go_on(site: Site) -> None:
    line = await recording(site)
    point = site.service.camera("phone").main.publish_point
    assert (await line.ask("PAUSE", "/phone"))[0] == 200
    assert not point.has_publisher
    assert not site.access.revoke
    assert (await line.ask("RECORD", "/phone"))[0] == 200
    assert point.has_publisher
    site.access.revoke[0](UnauthorizedError("the token has expired"))
    assert await line.is_closed()


async def test_a_publisher_that_is_not_allowed_any_more_is_disconnected(site: Site) -> None:
    line = await recording(site)
    site.access.revoke[0](UnauthorizedError("the token has expired"))
    assert await line.is_closed()
    await eventually(lambda: not site.service.camera("phone").main.publish_point.has_publisher, "it has left")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 400),
        ("nonsense", 400),
        (sdp("m=audio 0 RTP/AVP 8\r\n"), 415),
        (sdp(video_section("VP8")), 415),
    ],
)
async def test_a_description_without_video_that_can_be_taken_is_refused(site: Site, text: str, status: int) -> None:
    assert (await announced(site, text=text))[1] == status


async def test_the_order_of_requests_and_the_transport(site: Site) -> None:
    line, _ = await announced(site)
    assert (await line.ask("RECORD", "/phone"))[0] == 455
    assert (await line.ask("PLAY", "/phone"))[0] == 455
    udp = "RTP/AVP;unicast;client_port=5000-5001;mode=record"
    assert (await line.ask("SETUP", "/phone/track0", Transport=udp))[0] == 461
    assert (await line.ask("SETUP", "/phone/track0", Transport="RTP/AVP/TCP;unicast;interleaved=0-1"))[0] == 200
    assert (await line.ask("RECORD", "/phone"))[0] == 200
    assert (await line.ask("RECORD", "/phone"))[0] == 200, "once more is no error"
    assert (await line.ask("ANNOUNCE", "/phone", body=description()))[0] == 455


async def test_broken_media_ends_nobody_but_the_publisher(site: Site) -> None:
    line = await recording(site)
    line.writer.write(b"".join(b"$\0" + len(data).to_bytes(2, "big") + data for data in (b"", b"\x80", b"\xff" * 200)))
    assert (await line.ask("GET_PARAMETER", "/phone"))[0] == 200


async def test_the_engine_auto_says_what_its_engine_says() -> None:
    engine = AutoCaptureEngine(CaptureSource("phone", "publish:", publish_point=None))
    assert engine.problem is None
    service = CaptureService({"phone": load_settings().camera("phone", TABLE)})
    service.start()
    try:
        rendition = service.camera("phone").main
        await eventually(lambda: rendition.error_message, "it waits")
        assert rendition.runs.problem == "it waits for a program that publishes it"
    finally:
        await service.close()
