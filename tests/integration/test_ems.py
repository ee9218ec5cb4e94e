"""The whole gateway and an EMS that controls it: a real Socket.IO server in its own process."""

import asyncio
from collections.abc import Callable
from io import BytesIO

import av

from tests.support.ems import Ems, jpeg_of
from tests.support.eventually import eventually_sync
from tests.support.gateway_process import GatewayProcess
from tests.support.rtsp import RtspServer

Gateways = Callable[..., GatewayProcess]

PASSWORD = "p@ss:word"


async def test_an_ems_starts_and_stops_a_capture_and_gets_status_and_frames(
    gateways: Gateways, rtsp_server: RtspServer
) -> None:
    async with Ems() as ems:
        gateway = await asyncio.to_thread(gateways, RTSP_URL=rtsp_server.guarded_url(), SOCKETIO_SERVER_URL=ems.url)
        _, connected = await ems.expect("connect")
        assert "type=service" in connected["query"]
        await ems.emit("capture_status_request", {"requesting_client": "guard"})
        _, status = await ems.expect("capture_status_response")
        assert status["data"]["is_active"] is False
        assert PASSWORD not in str(status)
        assert status["data"]["rtsp_url"].startswith("rtsp://127.0.0.1:")

        await ems.emit("capture_start_request", {"client_id": "guard", "metadata": {"reason": "alarm"}})
        await ems.expect("capture_status_response", lambda data: data["is_active"] and data["state"] == "live")
        after, frame = await ems.expect("video_frame_from_service")
        with av.open(BytesIO(jpeg_of(frame)), "r", format="jpeg_pipe") as picture:
            decoded = next(picture.decode(video=0))
        assert (decoded.width, decoded.height) == (320, 240)
        assert frame["data"]["metadata"]["camera_id"] == "default"

        await ems.emit("capture_stop_request", {"client_id": "guard"})
        await ems.expect("capture_status_response", lambda data: data["state"] == "stopped", after)
        assert gateway.camera()["state"] == "stopped"
        assert PASSWORD not in gateway.log()


async def test_the_ems_gets_the_status_of_a_failed_camera(gateways: Gateways, free_port: int) -> None:
    async with Ems() as ems:
        await asyncio.to_thread(
            gateways,
            RTSP_URL=f"rtsp://viewer:{PASSWORD}@127.0.0.1:{free_port}/x",
            SOCKETIO_SERVER_URL=ems.url,
            CONNECTION_RETRY_ATTEMPTS=1,
            CONNECTION_RETRY_DELAY=0.1,
        )
        await ems.expect("connect")
        await ems.emit("capture_start_request", {"client_id": "guard"})
        _, failed = await ems.expect("capture_status_response", lambda data: data["state"] == "failed")
        assert failed["data"]["is_active"] is False
        assert "nothing listens" in failed["data"]["error_message"]
        assert PASSWORD not in str(failed)


async def test_an_ems_that_is_unreachable_at_start_is_logged_and_connected_later(
    gateways: Gateways, rtsp_server: RtspServer, free_port: int
) -> None:
    gateway = await asyncio.to_thread(
        gateways,
        RTSP_URL=rtsp_server.url(),
        SOCKETIO_SERVER_URL=f"http://127.0.0.1:{free_port}",
        CONNECTION_RETRY_ATTEMPTS=1,
        CONNECTION_RETRY_DELAY=0.1,
    )
    assert gateway.json("/health") == {"status": "ok"}
    await asyncio.to_thread(eventually_sync, lambda: "EMS" in gateway.log(), "the log names the EMS")
    assert "Traceback" not in gateway.log()
    async with Ems(port=free_port) as ems:
        await ems.expect("connect")
        await ems.expect("capture_status_response")


async def test_an_invalid_command_is_answered_and_ends_nothing(gateways: Gateways) -> None:
    async with Ems() as ems:
        await asyncio.to_thread(gateways, SOCKETIO_SERVER_URL=ems.url)
        after, _ = await ems.expect("connect")
        wrong: list[object] = [
            None,
            7,
            "x",
            [],
            {},
            {"client_id": 5},
            {"client_id": "a", "metadata": {"camera_id": "no"}},
        ]
        for data in wrong:
            await ems.emit("capture_start_request", data)
            after, _ = await ems.expect("capture_status_response", lambda answer: answer.get("error_message"), after)
        await ems.emit("capture_start_request", {"client_id": "guard"})
        await ems.expect("capture_status_response", lambda answer: answer["state"] == "live", after)
        assert ems.count("connect") == 1
