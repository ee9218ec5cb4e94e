"""The connection to an EMS that is not ideal: other servers, transports, limits and habits."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import SettingsError
from gateway.session import SessionState
from signaling.ems_connection import ASKED_MAX
from tests.support.certificate import self_signed
from tests.support.ems import NODE_PROGRAM, Ems, jpeg_of
from tests.support.ems_gateway import CAMERA, EmsGateway, announced, ask
from tests.support.eventually import eventually
from tests.support.sources.numbered import size_of

pytestmark = pytest.mark.integration

FRAME = "video_frame_from_service"
STATUS = "capture_status_response"

NOISY = {
    **CAMERA,
    "engine": "tests.support.sources.encoded_loop:EncodedLoopEngine",
    "url": "loop://noisy?width=640&height=360&bit_rate=6000000&fps=15&gop=15",
}
"""Its pictures are JPEGs of some 100 kB."""


def node(*options: str, port: int = 0) -> Ems:
    return Ems(*options, port=port, program=NODE_PROGRAM)


@pytest.mark.parametrize("transports", ["websocket", "polling", "polling,websocket"])
@pytest.mark.parametrize("make", [Ems, node], ids=["python", "node"])
async def test_an_ems_may_allow_any_transports(make: Callable[[str], Ems], transports: str) -> None:
    async with make(f"--transports={transports}") as ems, EmsGateway(ems.url, frame_rate=20) as gateway:
        at = await announced(ems)
        await ems.emit("capture_start_request", ask())
        for _ in range(3):
            at, frame = await ems.expect(FRAME, after=at)
        assert jpeg_of(frame).startswith(b"\xff\xd8")
        assert gateway.messaging.status().connects == 1


async def test_an_ems_may_have_a_namespace_and_a_private_authority(tmp_path: Path) -> None:
    pem = self_signed(tmp_path, "127.0.0.1")
    async with node(f"--tls={pem}", "--namespace=/services") as ems:
        url = ems.url.replace("http:", "https:")
        async with EmsGateway(url) as gateway:
            await eventually(lambda: gateway.messaging.status().error, "the certificate is refused")
            assert "certificate" in str(gateway.messaging.status().error)
        async with EmsGateway(url, socketio_namespace="/services", socketio_ca_file=pem):
            at = await announced(ems)
            await ems.emit("capture_start_request", ask())
            at, _ = await ems.expect(STATUS, lambda data: data.get("client_id") == "operator", at)
            await ems.expect(FRAME, after=at)


def test_a_file_without_certificates_is_a_settings_error(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for name in ("ca.pem", "absent.pem"):
        with pytest.raises(SettingsError, match="SOCKETIO_CA_FILE"):
            EmsGateway("https://127.0.0.1:1", socketio_ca_file=tmp_path / name)


@pytest.mark.parametrize("transports", ["websocket", "polling", "polling,websocket"])
async def test_socketio_2_is_told_in_one_sentence(transports: str) -> None:
    async with (
        node("--socketio=2", f"--transports={transports}") as ems,
        EmsGateway(ems.url, connection_retry_delay=3600) as gateway,
    ):
        await eventually(lambda: gateway.messaging.status().error, "the error is reported")
        error = str(gateway.messaging.status().error)
        assert error == (
            "the EMS speaks Socket.IO 2, and liveedge needs 3 or later: update the package socket.io of the EMS"
        )


async def test_an_ems_that_returns_is_found_before_the_next_attempt_is_due(free_port: int) -> None:
    ems = Ems(port=free_port)
    async with EmsGateway(ems.url, connection_retry_delay=3600) as gateway:
        await eventually(lambda: gateway.messaging.status().error, "the error is reported")
        async with ems:
            await announced(ems)


async def test_an_ems_that_restarts_is_found_however_often_it_failed_before() -> None:
    async with Ems() as ems, EmsGateway(ems.url, connection_retry_delay=3600) as gateway:
        at = await announced(ems)
        await ems.stop()
        await eventually(lambda: gateway.messaging.status().error, "the connection is lost")
        await asyncio.sleep(0.1)  # its port is tried meanwhile
        await ems.start()
        await announced(ems, at)


async def test_a_command_of_the_connect_handler_is_answered() -> None:
    greeting = json.dumps(["capture_start_request", ask("early", camera_id="yard")])
    async with Ems(f"--greet={greeting}") as ems, EmsGateway(ems.url) as gateway:
        at, answer = await ems.expect(STATUS, lambda data: data.get("client_id") == "early")
        assert answer["data"]["camera_id"] == "yard"
        await ems.expect(FRAME, after=at)
        assert gateway.messaging.status().connects == 1


async def test_answers_come_in_the_order_of_the_commands() -> None:
    async with Ems() as ems, EmsGateway(ems.url):
        at = await announced(ems)
        sent = []
        for number in range(12):
            camera = {"camera_id": ("default", "yard")[number % 2]}
            event = ("capture_start_request", "capture_start_request", "capture_stop_request")[number % 3]
            client = f"client-{number % 5}"
            sent.append(client)
            await ems.emit(event, ask(client, **camera))
        await ems.emit("capture_status_request", {"requesting_client": "last"})
        await ems.expect(STATUS, lambda data: data.get("client_id") == "last", at)
        answers = [seen["data"]["client_id"] for seen in ems.seen[at:] if "client_id" in seen.get("data", {})]
        assert answers == [*sent, "last"]


async def test_each_change_is_told_once() -> None:
    async with Ems() as ems, EmsGateway(ems.url) as gateway:
        at = await announced(ems)
        await ems.emit("capture_start_request", ask())
        at, _ = await ems.expect(STATUS, lambda data: data["state"] == "live", at)
        await ems.emit("capture_stop_request", ask())
        at, stopped = await ems.expect(STATUS, lambda data: data["state"] == "stopped", at)
        assert stopped["data"]["client_id"] == "operator"
        await gateway.service.start_capture("library", "yard")
        await ems.expect(STATUS, lambda data: data["camera_id"] == "yard" and data["state"] == "live", at)
        told = [seen["data"] for seen in ems.seen[at:] if seen["on"] == STATUS]
        assert [data for data in told if data["camera_id"] == "default"] == []


async def test_the_status_comes_before_the_frames() -> None:
    async with Ems() as ems, EmsGateway(ems.url) as gateway:
        at = await announced(ems)
        for _ in range(3):
            await ems.emit("capture_start_request", ask())
            at, _ = await _live_before_frames(ems, at)
            await ems.emit("capture_stop_request", ask())
            at, _ = await ems.expect(STATUS, lambda data: data["state"] == "stopped", at)
        await ems.emit("capture_start_request", ask())
        at, _ = await _live_before_frames(ems, at)
        await ems.order(disconnect=True)
        at, _ = await ems.expect("connect", after=at)
        await _live_before_frames(ems, at)
        assert gateway.state() is SessionState.LIVE


async def _live_before_frames(ems: Ems, at: int) -> tuple[int, dict[str, Any]]:
    found, frame = await ems.expect(FRAME, after=at)
    states = [seen["data"]["state"] for seen in ems.seen[at:found] if seen["on"] == STATUS]
    assert "live" in states
    return found, frame


async def test_an_ems_that_acknowledges_late_gets_every_frame() -> None:
    async with Ems("--ack-after=0.4") as ems, EmsGateway(ems.url, frame_rate=20) as gateway:
        at = await announced(ems)
        for camera_id in ("default", "yard"):
            await ems.emit("capture_start_request", ask(camera_id=camera_id))
        # More than one a camera are on their way.
        await eventually(lambda: max(seen.get("in_flight", 0) for seen in ems.seen) >= 6, "frames are sent ahead")
        assert (gateway.messaging.status().frames_sent or 0) >= 6
        await ems.expect(FRAME, after=at)


@pytest.mark.parametrize("make", [Ems, node], ids=["python", "node"])
async def test_an_ems_that_never_acknowledges_is_asked_a_few_times(make: Callable[[str], Ems]) -> None:
    async with make("--no-ack") as ems, EmsGateway(ems.url, frame_rate=25):
        at = await announced(ems)
        await ems.emit("capture_start_request", ask())
        await ems.expect(FRAME, lambda data: data["metadata"]["sequence"] > 3 * ASKED_MAX, at)
        if make is node:
            asked = [seen["asked"] for seen in ems.seen if seen["on"] == FRAME]
            assert asked == [True] * ASKED_MAX + [False] * (len(asked) - ASKED_MAX)


@pytest.mark.parametrize("transports", ["websocket", "polling"])
async def test_frames_above_the_limit_of_the_ems_are_made_smaller(
    transports: str, caplog: pytest.LogCaptureFixture
) -> None:
    limit = 30_000 if transports == "websocket" else 60_000
    async with (
        Ems(f"--transports={transports}", f"--max-payload={limit}") as ems,
        EmsGateway(ems.url, camera=NOISY, frame_rate=15) as gateway,
    ):
        at = await announced(ems)
        await ems.emit("capture_start_request", ask())
        at, frame = await ems.expect(FRAME, after=at)
        await ems.expect(FRAME, lambda data: data["metadata"]["sequence"] > 5, at)
        assert 160 <= size_of(jpeg_of(frame))[0] < 640
        status = gateway.messaging.status()
        assert status.connects == 1
        assert (status.frames_too_large or 0) >= 1
    assert "above the limit of its receiver" in caplog.text


@pytest.mark.parametrize("transports", ["websocket", "polling"])
async def test_an_ems_that_accepts_no_picture_gets_all_the_rest(
    transports: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        Ems(f"--transports={transports}", "--max-payload=1500") as ems,
        EmsGateway(ems.url, camera=NOISY, frame_rate=15) as gateway,
    ):
        at = await announced(ems)
        await ems.emit("capture_start_request", ask())
        await eventually(lambda: gateway.messaging.status().frames_blocked, "no picture is small enough")
        assert gateway.messaging.status().frames_blocked == ["default"]
        await ems.emit("snapshot_request", {"client_id": "operator", "camera_id": "default"})
        at, seen = await ems.expect("snapshot_response", after=at)
        answer = seen["data"]
        assert (answer["error"], answer["camera_id"], answer["client_id"]) == ("too_large", "default", "operator")
        assert "maxHttpBufferSize" in answer["message"]
        await ems.emit("capture_stop_request", ask())
        await ems.expect(STATUS, lambda data: not data["is_active"], at)
        status = gateway.messaging.status()
        assert (status.connects, status.frames_sent) == (1, 0)
    assert caplog.text.count("no frames are sent") == 1
