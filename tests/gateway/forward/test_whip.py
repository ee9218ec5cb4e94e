"""Cameras pushed by WHIP: to a gateway in another process, and to servers that do not behave."""

import asyncio
import base64
import ipaddress
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aioice.ice
import aiortc.rtcrtpsender
import aiortc.rtp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.capture.engine import Address, CaptureSource
from gateway.clock import SYSTEM_CLOCK
from gateway.errors import CameraRefusedError, CaptureError
from gateway.forward.forward import ForwardState
from gateway.forward.process import ForwardError
from gateway.forward.service import ForwardService
from gateway.forward.target import parse_target
from gateway.forward.whip_connection import _Session, checked_answer
from gateway.forward.whip_sender import HISTORY_PACKETS, SendError, WhipSender
from gateway.service import CaptureService
from gateway.settings import load_settings
from tests.gateway.forward.test_forward import COMMON, DOOR
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.rtsp import free_port
from web.whip_http import whip_request

TOKEN = "s3cret-token-of-the-destination"

SOURCE = CaptureSource("door", "", timeout_s=5.0)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.mark.integration
async def test_a_camera_is_pushed_to_another_gateway_and_again_after_it_was_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "liveedge.toml").write_text('[cameras.copy]\nurl = "whip:"\nrecord = "never"\n')
    other = GatewayProcess(tmp_path, AUTH_TOKEN=TOKEN, WEBRTC_UDP_PORT=free_port())
    await asyncio.to_thread(other.start)
    port = other.url.rpartition(":")[2]
    url = f"whip:http://{TOKEN}@127.0.0.1:{port}/whip/copy"
    door = load_settings().camera("door", DOOR | COMMON | {"forward": [url]})
    service = CaptureService({"door": door})
    forwards = ForwardService(SYSTEM_CLOCK, whip_http=whip_request)
    service.start()

    async def copy() -> dict[str, object]:
        answer = await asyncio.to_thread(other.fetch, "/api/cameras/copy", headers={"Authorization": f"Bearer {TOKEN}"})
        return dict(json.loads(answer[2]))

    async def has_pictures() -> bool:
        return (await copy())["state"] == "live"

    try:
        await forwards.set_camera(service.camera("door"))
        (forward,) = forwards.forwards["door"]
        forward._backoff.delay_s = 0.1
        await eventually(has_pictures, "the other gateway has pictures")
        status = await copy()
        assert (status["width"], status["codec"], status["audio_codec"]) == (320, "h264", "pcm_alaw")
        assert (forward.state, forward.error) == (ForwardState.LIVE, None)
        await asyncio.to_thread(other.stop)
        await eventually(lambda: "no connection" in (forward.error or ""), "nothing listens there")
        await asyncio.to_thread(other.start)
        await eventually(has_pictures, "it has pictures again")
        assert TOKEN not in f"{forward.target!r} {forward.target.name} {forward.error} {caplog.text}"
    finally:
        await forwards.close()
        await service.close()
        await asyncio.to_thread(other.__exit__, None, None, None)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Handler], Awaitable[str]]]:
    """Starts a server whose requests all go to one handler; its address."""
    servers: list[TestServer] = []

    async def start(handler: Handler) -> str:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/{path:.*}", handler)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        return f"http://127.0.0.1:{server.port}"

    yield start
    for server in servers:
        await server.close()


async def open_session(url: str, userinfo: str = "") -> _Session:
    target = parse_target("whip:" + url.replace("://", f"://{userinfo}"))
    return await _Session.open(target, SOURCE, "v=0\r\n", whip_request)


async def test_credentials_are_a_token_or_a_password_and_go_to_no_other_host(
    serve: Callable[[Handler], Awaitable[str]],
) -> None:
    seen: list[tuple[str, str, str | None]] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append((request.method, request.path, request.headers.get("Authorization")))
        headers = {"Location": "https-only/../session/1"}
        return web.Response(status=201, text="v=0\r\n", content_type="application/sdp", headers=headers)

    there = await serve(elsewhere)

    async def here(request: web.Request) -> web.Response:
        seen.append((request.method, request.path, request.headers.get("Authorization")))
        assert await request.text() == "v=0\r\n"
        to = "/near" if request.path == "/in" else f"{there}/far"
        return web.Response(status=307, headers={"Location": to})

    session = await open_session(await serve(here) + "/in", "t%40ken@")
    assert session.answer == "v=0\r\n"
    await session.delete()
    assert seen == [
        ("POST", "/in", "Bearer t@ken"),
        ("POST", "/near", "Bearer t@ken"),
        ("POST", "/far", None),
        ("DELETE", "/session/1", None),
    ]
    seen.clear()
    await (await open_session(f"{there}/in", "user:pass@")).delete()
    basic = "Basic " + base64.b64encode(b"user:pass").decode()
    assert seen == [("POST", "/in", basic), ("DELETE", "/session/1", basic)]


async def test_servers_that_answer_something_else_are_told_apart(
    serve: Callable[[Handler], Awaitable[str]],
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        match request.path.rpartition("/")[2]:
            case "loop":
                return web.Response(status=307, headers={"Location": "/loop"})
            case "down":
                return web.Response(status=307, headers={"Location": "ftp://127.0.0.1/s3cret"})
            case "page":
                return web.Response(status=201, text="<html>s3cret", content_type="text/html")
            case "huge":
                return web.Response(status=201, text="v=0\r\n" * 20_000, content_type="application/sdp")
            case "gone":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case status:
                return web.Response(status=int(status), text="s3cret")

    server = await serve(handler)
    expected = {
        "loop": "HTTP 307, not 201",
        "down": "to an address that is none",
        "page": "no session description",
        "huge": "too large",
        "gone": "no valid answer of HTTP",
        "401": "set a token as the user",
        "404": "HTTP 404, not 201: it knows no such path",
        "500": "HTTP 500, not 201",
    }
    for path, reason in expected.items():
        with pytest.raises((ForwardError, CaptureError), match=reason) as refused:
            await open_session(f"{server}/s3cret/{path}")
        assert "s3cret" not in str(refused.value)


def test_candidates_that_may_not_be_connected_to_are_left_out() -> None:
    def refuse(address: Address) -> None:
        if address == ipaddress.ip_address("169.254.169.254"):
            raise CameraRefusedError("this address is not allowed")

    def answer(*addresses: str) -> str:
        return "v=0\r\n" + "".join(f"a=candidate:1 1 udp 2130706431 {address} 9 typ host\r\n" for address in addresses)

    kept = checked_answer(answer("169.254.169.254", "printer.local", "192.0.2.7", "2001:db8::7"), refuse)
    assert [line.split()[4] for line in kept.splitlines() if "candidate" in line] == ["192.0.2.7", "2001:db8::7"]
    with pytest.raises(ForwardError, match="not allowed"):
        checked_answer(answer("169.254.169.254"), refuse)
    for useless in (answer(), answer("printer.local"), "a=candidate:1 1 udp\r\n"):
        with pytest.raises(ForwardError, match="no candidate"):
            checked_answer(useless, None)


@pytest.mark.parametrize(
    "answer",
    ["", "garbage", "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 99\r\na=rtpmap:99 H264/90000\r\n", "v=0\r\nm=video x\r\n"],
)
async def test_an_answer_that_cannot_be_used_ends_the_attempt_with_a_reason(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It sets them for its whole process; here they are set back.
    monkeypatch.setattr(aioice.ice, "get_host_addresses", aioice.ice.get_host_addresses)
    monkeypatch.setattr(aiortc.rtcrtpsender, "RTP_HISTORY_SIZE", aiortc.rtp.RTP_HISTORY_SIZE)
    service = CaptureService({"door": load_settings().camera("door", DOOR | COMMON)})
    service.start()
    door = service.camera("door")
    hold = door.main.hold("test")
    await eventually(lambda: door.hub.info, "it has pictures")
    assert door.hub.info is not None
    sender = WhipSender(door.hub.info, is_local=True)
    try:
        offer = await sender.offer()
        assert "a=sendonly" in offer
        assert vars(aiortc.rtcrtpsender)["RTP_HISTORY_SIZE"] == HISTORY_PACKETS > aiortc.rtp.RTP_HISTORY_SIZE == 128
        assert "a=candidate" in offer
        assert all(line.split()[4] == "127.0.0.1" for line in offer.splitlines() if "a=candidate" in line)
        assert f"profile-level-id={door.hub.info.video.codec_string.removeprefix('avc1.').lower()}" in offer
        with pytest.raises(SendError):
            await sender.connect(answer)
    finally:
        await sender.close()
        hold.release()
        await service.close()
