"""The gateway's own Socket.IO server, with real clients."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from gateway.clock import CLOCK_RATE
from gateway.session import SessionState
from signaling.answers import CaptureStatusResponse, FramesSubscribed
from signaling.frames import FrameRequest, FrameStreams
from tests.support.eventually import eventually
from tests.support.sources.numbered import HEIGHT, WIDTH, size_of

if TYPE_CHECKING:
    from tests.signaling.conftest import SignalingServer


class Inbox:
    """What a client was sent."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    def handler(self, event: str, answer: object = None) -> Callable[[Any], Any]:
        def take(data: Any) -> Any:
            self.seen.append((event, data))
            return answer

        return take

    def of(self, event: str) -> list[Any]:
        return [data for name, data in self.seen if name == event]


ASK = {"requesting_client": "a"}
STATUS, FRAME = "capture_status_response", "video_frame_from_service"


async def test_a_client_receives_every_status_and_every_change(server: "SignalingServer") -> None:
    inbox = Inbox()
    await server.client(on={STATUS: inbox.handler(STATUS)})
    await eventually(
        lambda: {data["camera_id"] for data in inbox.of(STATUS)} == {"default", "yard"}, "both cameras are announced"
    )
    await server.service.start_capture(camera_id="yard")
    await eventually(lambda: any(data["state"] == "live" for data in inbox.of(STATUS)), "a camera is announced as live")
    assert all(data["rtsp_url"] == "clip://camera/door" for data in inbox.of(STATUS))
    for data in inbox.of(STATUS):
        CaptureStatusResponse.model_validate(data)


async def test_a_client_that_does_not_read_is_disconnected_and_counted(
    server: "SignalingServer", monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await server.client()
    assert server.browser.slow_clients_disconnected == 0
    monkeypatch.setattr("signaling.browser_clients.QUEUE_MAX", -1)  # every client has more packets waiting
    await client.emit("capture_status_request", ASK)
    await eventually(lambda: server.browser.status().clients == 0, "the client is disconnected")
    assert server.browser.slow_clients_disconnected == 1


async def test_commands_are_answered_by_acknowledgement_and_by_event(server: "SignalingServer") -> None:
    inbox = Inbox()
    client = await server.client(on={STATUS: inbox.handler(STATUS)})
    started = await client.call(
        "capture_start_request", {"client_id": "tab", "metadata": {"why": "to see"}}, timeout=10
    )
    assert started["is_active"]
    assert started["metadata"] == {"why": "to see"}
    await eventually(lambda: started in inbox.of(STATUS), "the answer is broadcast as well")
    await eventually(lambda: server.service.status().state is SessionState.LIVE, "the camera is live")
    status = await client.call("capture_status_request", {"requesting_client": "tab"}, timeout=10)
    assert status["metadata"] == {"why": "to see"}
    assert status["live_edge"]["media_sequence"] == 7
    assert status["live_edge"]["time"].endswith("Z")
    stopped = await client.call("capture_stop_request", {"client_id": "tab"}, timeout=10)
    assert (stopped["is_active"], stopped["state"]) == (False, "stopped")


@pytest.mark.parametrize(
    ("event", "payload", "error"),
    [
        ("capture_start_request", {}, "bad_request"),
        ("capture_start_request", "door", "bad_request"),
        ("capture_start_request", {"client_id": "a", "metadata": {"camera_id": "attic"}}, "not_found"),
        ("frames_subscribe", {"frame_rate": 0}, "bad_request"),
        ("frames_subscribe", {"width": 1e3}, "bad_request"),
        ("frames_subscribe", {"camera_id": "attic"}, "not_found"),
        ("webrtc_offer", {"client_id": "a", "sdp": "v=0"}, "not_found"),
        ("no_such_command", {}, "not_found"),
        ("connect", {}, "not_found"),
    ],
)
async def test_a_refused_command_is_acknowledged_with_the_reason(
    server: "SignalingServer", event: str, payload: object, error: str
) -> None:
    client = await server.client()
    if event == "connect":
        await client.emit(event, payload)
        await client.emit("disconnect", "a reason")
    else:
        answer = await client.call(event, payload, timeout=10)
        assert answer["error"] == error
        assert answer["message"]
    assert (await client.call("capture_status_request", {"requesting_client": "a"}, timeout=10))[
        "camera_id"
    ] == "default"


async def test_frames_come_one_for_each_acknowledgement_and_hold_the_camera(server: "SignalingServer") -> None:
    inbox = Inbox()
    client = await server.client(on={FRAME: inbox.handler(FRAME)})
    answer = await client.call("frames_subscribe", {"camera_id": "yard", "frame_rate": 25, "width": 80}, timeout=10)
    assert FramesSubscribed.model_validate(answer) == FramesSubscribed(camera_id="yard", frame_rate=25, width=80)
    await eventually(lambda: len(inbox.of(FRAME)) >= 5, "frames arrive")
    assert server.service.status("yard").viewers == {"jpeg": 1}
    frame = inbox.of(FRAME)[-1]
    assert size_of(frame["frame_data"]) == (80, 60)
    assert frame["metadata"]["camera_id"] == "yard"
    assert await client.call("frames_subscribe", {"camera_id": "yard"}, timeout=10)
    await eventually(lambda: size_of(inbox.of(FRAME)[-1]["frame_data"]) == (WIDTH, HEIGHT), "frames have the new size")
    assert await client.call("frames_unsubscribe", {"camera_id": "yard"}, timeout=10) == {"ok": True}
    assert server.service.status("yard").viewers == {}
    count = len(inbox.of(FRAME))
    await client.call("capture_status_request", {"requesting_client": "a"}, timeout=10)
    assert len(inbox.of(FRAME)) == count


async def test_without_an_acknowledgement_no_second_frame_comes_and_commands_pass(server: "SignalingServer") -> None:
    arrived: list[Any] = []
    go_on = asyncio.Event()

    async def take(data: Any) -> None:
        arrived.append(data)
        await go_on.wait()

    client = await server.client(on={FRAME: take})
    feed = server.service.camera().jpeg
    for _ in range(5):
        await client.call("frames_subscribe", {"frame_rate": 25}, timeout=10)
    await eventually(lambda: feed.frames_encoded > 20, "frames are encoded")
    assert (await client.call("capture_status_request", {"requesting_client": "a"}, timeout=10))["state"] == "live"
    assert len(arrived) == 1
    go_on.set()
    await eventually(lambda: len(arrived) >= 3, "frames arrive")
    assert arrived[1]["metadata"]["sequence"] > 10
    await eventually(
        lambda: server.browser.status().frames_sent >= 3, "the frames are counted"
    )  # it is counted once it is sent


async def test_commands_of_one_client_are_executed_in_order(server: "SignalingServer") -> None:
    client = await server.client()
    for _ in range(10):
        await client.emit("capture_start_request", {"client_id": "tab"})
        await client.emit("capture_stop_request", {"client_id": "tab"})
    last = await client.call("capture_status_request", {"requesting_client": "tab"}, timeout=10)
    assert (last["state"], last["clients"]) == ("stopped", 0)


async def test_too_many_commands_at_once_are_refused_with_the_reason(server: "SignalingServer") -> None:
    client = await server.client()
    answers: list[Any] = []
    async with server.browser.control.queues.turn(client.get_sid()):
        for _ in range(100):
            await client.emit("capture_status_request", {"requesting_client": "a"}, callback=answers.append)
        await eventually(lambda: len(answers) >= 37, "some commands are answered")
    await eventually(lambda: len(answers) == 100, "all commands are answered")
    refused = [answer for answer in answers if answer.get("error") == "unavailable"]
    assert len(refused) == 37


async def test_a_capture_request_survives_a_short_absence_and_ends_after_the_grace() -> None:
    from tests.signaling.conftest import SignalingServer

    server = SignalingServer(grace_s=0.5)
    await server.start()
    try:
        first = await server.client()
        await first.call("capture_start_request", {"client_id": "tab"}, timeout=10)
        await first.disconnect()
        second = await server.client()
        await second.call("capture_start_request", {"client_id": "tab"}, timeout=10)
        await eventually(lambda: not server.browser._client_ids.waiting, "no grace period is running")
        assert server.service.status().clients == 1
        other = await server.client()
        await other.call("capture_start_request", {"client_id": "tab"}, timeout=10)
        await second.disconnect()
        await eventually(lambda: len(server.browser._clients) == 1, "the clients are connected")
        assert not server.browser._client_ids.waiting
        await other.disconnect()
        await eventually(lambda: server.service.status().clients == 0, "the capture has no clients")
        await eventually(lambda: server.service.status().state is SessionState.STOPPED, "the capture has stopped")
    finally:
        await server.close()


async def test_the_ems_and_a_browser_with_the_same_client_id_are_two_clients(server: "SignalingServer") -> None:
    await server.service.start_capture("tab")
    client = await server.client()
    answer = await client.call("capture_stop_request", {"client_id": "tab"}, timeout=10)
    assert answer["is_active"] is True
    assert answer["clients"] == 1


@pytest.mark.parametrize("transports", [["polling"], ["websocket"]])
async def test_either_transport_carries_commands_and_frames(server: "SignalingServer", transports: list[str]) -> None:
    inbox = Inbox()
    client = await server.client(on={FRAME: inbox.handler(FRAME)}, transports=transports)
    await client.call("frames_subscribe", {}, timeout=10)
    await eventually(lambda: len(inbox.of(FRAME)) >= 3, "frames arrive")
    assert size_of(inbox.of(FRAME)[0]["frame_data"]) == (WIDTH, HEIGHT)


GARBAGE = (
    "2[]",
    "2[5]",
    "2[{}]",
    "2{",
    "2[[]]",
    "5999999-[]",
    '51-["capture_start_request",{}]',
    "0/other,",
    "3",
    "1/x,",
    "9",
    "zzz",
    "2" + "[" * 20000,
)


async def test_garbage_does_not_end_the_connection(server: "SignalingServer", caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "signaling.socket_server")
    address = f"{server.url}/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as http, http.ws_connect(address) as socket:
        assert (await socket.receive_str()).startswith("0")
        await socket.send_str("40")
        while not (await socket.receive_str()).startswith("40"):
            pass
        for garbage in GARBAGE:
            await socket.send_str("4" + garbage)
            await socket.send_bytes(b"\x00" * 10)
        await socket.send_str('427["capture_status_request",{"requesting_client":"a"}]')
        while not (await socket.receive_str()).startswith("437["):
            pass
    await eventually(lambda: not server.browser._clients, "the client has disconnected")
    assert server.browser.invalid_packets > 5
    invalid = [record for record in caplog.records if "that is not" in record.getMessage()]
    assert {getattr(record, "client", None) for record in invalid} == {"127.0.0.1"}
    assert "Traceback" not in caplog.text


async def test_frames_that_cannot_be_sent_are_logged_with_the_client(
    server: "SignalingServer", caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(data: object, arrived: object) -> None:
        raise ValueError("cannot be sent")

    camera = server.service.camera("default")
    streams = FrameStreams(fail, "192.0.2.7")
    await streams.start(FrameRequest(camera, 25, None, is_viewer=True))
    await eventually(lambda: "sending frames to a client failed" in caplog.text, "the failure is logged")
    await streams.close()
    [record] = [record for record in caplog.records if "sending frames" in record.getMessage()]
    assert getattr(record, "client", None) == "192.0.2.7"


async def test_nothing_is_compressed_though_browsers_offer_it(server: "SignalingServer") -> None:
    address = f"{server.url}/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as http, http.ws_connect(address, compress=15) as socket:
        assert not socket.compress
        assert (await socket.receive_str()).startswith("0")


@pytest.mark.integration
async def test_a_client_that_does_not_read_is_disconnected_and_others_are_not_affected(
    server: "SignalingServer",
) -> None:
    client = await server.client()
    _, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rsplit(":", 1)[1]), limit=1024)
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    writer.write(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"{key}\r\n".encode()
    )

    def frame(text: str) -> bytes:
        data = text.encode()
        assert len(data) < 65536
        head = bytes([0x81, 0x80 | 126]) + len(data).to_bytes(2, "big")
        return head + b"\0\0\0\0" + data

    writer.write(frame("40"))
    await eventually(lambda: len(server.browser._clients) == 2, "the clients are connected")
    answer = {"requesting_client": "x" * 128, "camera_id": "yard"}
    command = frame('42["capture_status_request",' + json.dumps(answer) + "]")
    # Answers of some hundred bytes fill the sockets' buffers (megabytes), and then the queue.
    while len(server.browser._clients) == 2:
        with contextlib.suppress(TimeoutError, ConnectionError):
            writer.write(command * 200)
            async with asyncio.timeout(0.05):
                await writer.drain()
    assert (await client.call("capture_status_request", {"requesting_client": "a"}, timeout=10))[
        "camera_id"
    ] == "default"
    writer.close()


async def test_closing_does_not_wait_for_clients(server: "SignalingServer") -> None:
    gone = asyncio.Event()

    def leave(*_: object) -> None:
        gone.set()

    await server.client(on={"disconnect": leave})
    began = asyncio.get_running_loop().time()
    await server.browser.close()
    assert asyncio.get_running_loop().time() - began < 2
    await gone.wait()


async def test_frames_are_at_the_live_edge_after_a_reconnect(server: "SignalingServer") -> None:
    await server.service.start_capture("somebody else")
    hub = server.service.camera().hub
    inbox = Inbox()
    first = await server.client(on={FRAME: inbox.handler(FRAME)})
    await first.call("frames_subscribe", {}, timeout=10)
    await eventually(lambda: inbox.of(FRAME), "a frame arrives")
    await server.browser._sio.abort(first.get_sid())
    await eventually(lambda: "jpeg" not in server.service.status().viewers, "the JPEG viewer has left")
    published = hub.packets_published
    await eventually(lambda: hub.packets_published >= published + 50, "the camera goes on")
    again = Inbox()
    second = await server.client(on={FRAME: again.handler(FRAME)})
    await second.call("frames_subscribe", {}, timeout=10)
    await eventually(lambda: again.of(FRAME), "a frame arrives")
    metadata = again.of(FRAME)[0]["metadata"]
    assert hub.newest is not None
    captured_90k = round(datetime.fromisoformat(metadata["timestamp"]).timestamp() * CLOCK_RATE)
    assert hub.newest.captured_at_90k - captured_90k < CLOCK_RATE
    assert metadata["timestamp"] > inbox.of(FRAME)[-1]["metadata"]["timestamp"]
    assert metadata["skipped"] == 0
