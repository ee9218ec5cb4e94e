"""The connection to the EMS, against a real Socket.IO server in a process of its own."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from gateway.backoff import STEADY_S
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import SettingsError
from gateway.service import CaptureService
from gateway.session import SessionState
from signaling.ems import EmsMessaging
from signaling.events import CaptureStatusResponse, FrameMetadata
from signaling.factory import create_messaging
from signaling.messaging import NoMessaging, StreamMessaging
from tests.support.ems import LISTENER, Ems, jpeg_of
from tests.support.eventually import eventually
from tests.support.manual_clock import ManualClock
from tests.support.sources.numbered import HEIGHT, WIDTH, size_of
from web.settings import Settings, load_settings

pytestmark = pytest.mark.integration

CAMERA = {
    "url": "clip://viewer:s3cret@camera/door",
    "engine": "tests.support.sources.numbered:ClipEngine",
    "start": "on-demand",
    "record": "never",
    "capture_linger": 0,
}


class GatewayProcess:
    """Two cameras, and the messaging for them."""

    def __init__(
        self,
        ems_url: str,
        clock: Clock = SYSTEM_CLOCK,
        camera: Mapping[str, object] = CAMERA,
        **settings: Any,
    ) -> None:
        self.settings: Settings = load_settings(
            **{
                "socketio_server_url": ems_url,
                "connection_retry_attempts": 2,
                "connection_retry_delay": 0.05,
                **settings,
            }
        )
        self.service = CaptureService({name: self.settings.camera(name, camera) for name in ("default", "yard")})
        self.messaging: StreamMessaging = create_messaging(self.settings, self.service, clock=clock)

    def state(self, camera_id: str = "default") -> SessionState:
        return self.service.status(camera_id).state

    async def __aenter__(self) -> "GatewayProcess":
        await self.messaging.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        began = asyncio.get_running_loop().time()
        await self.messaging.close()
        assert asyncio.get_running_loop().time() - began < 2
        await self.service.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert [task for task in left if task.get_name() != LISTENER] == []


@pytest.fixture
async def ems() -> AsyncIterator[Ems]:
    async with Ems() as ems:
        yield ems


async def announced(ems: Ems, after: int = 0) -> int:
    """Return once both cameras were announced."""
    first, _ = await ems.expect("capture_status_response", lambda data: data["camera_id"] == "default", after)
    second, _ = await ems.expect("capture_status_response", lambda data: data["camera_id"] == "yard", after)
    return max(first, second)


def ask(client: str = "operator", **metadata: Any) -> dict[str, Any]:
    return {"client_id": client, "metadata": metadata}


async def test_it_connects_as_a_service_and_sends_every_status(ems: Ems) -> None:
    async with GatewayProcess(ems.url) as gateway:
        _, connect = await ems.expect("connect")
        assert "type=service" in connect["query"].split("&")
        await announced(ems)
        status = gateway.messaging.status()
        assert status.connected
        assert status.url == ems.url


async def test_start_gives_status_and_frames_and_stop_ends_them(ems: Ems) -> None:
    async with GatewayProcess(ems.url, frame_rate=20) as gateway:
        at = await announced(ems)
        await ems.emit("capture_start_request", ask(purpose="door bell"))
        at, answer = await ems.expect("capture_status_response", lambda data: data.get("client_id") == "operator", at)
        assert answer["data"]["is_active"] is True
        assert answer["data"]["rtsp_url"] == "clip://camera/door"
        assert answer["data"]["metadata"] == {"purpose": "door bell"}
        CaptureStatusResponse.model_validate(answer["data"])
        await ems.expect("capture_status_response", lambda data: data["state"] == "live", at)
        at, frame = await ems.expect("video_frame_from_service", after=at)
        assert size_of(jpeg_of(frame)) == (WIDTH, HEIGHT)
        assert FrameMetadata.model_validate(frame["data"]["metadata"]).camera_id == "default"
        await ems.expect("video_frame_from_service", lambda data: data["metadata"]["sequence"] > 5, at)
        await ems.emit("capture_stop_request", ask())
        at, _ = await ems.expect("capture_status_response", lambda data: data["state"] == "stopped", at)
        assert gateway.state() is SessionState.STOPPED
        frames = ems.count("video_frame_from_service")
        await ems.emit("capture_status_request", {"requesting_client": "operator"})
        await ems.expect("capture_status_response", lambda data: data.get("client_id") == "operator", at)
        assert ems.count("video_frame_from_service") == frames


async def test_frames_are_encoded_only_when_the_ems_requested_them(ems: Ems) -> None:
    async with GatewayProcess(ems.url) as gateway:
        at = await announced(ems)
        await gateway.service.start_capture("library")
        at, _ = await ems.expect("capture_status_response", lambda data: data["state"] == "live", at)
        assert not gateway.service.camera().jpeg.is_decoding
        assert ems.count("video_frame_from_service") == 0


async def test_a_stop_by_one_client_does_not_stop_the_other(ems: Ems) -> None:
    async with GatewayProcess(ems.url) as gateway:
        at = await announced(ems)
        for client in ("one", "two", "one"):
            await ems.emit("capture_start_request", ask(client, camera_id="yard"))
        await ems.emit("capture_stop_request", ask("one", camera_id="yard"))
        at, answer = await ems.expect(
            "capture_status_response", lambda data: data.get("client_id") == "one" and data["clients"] == 1, at
        )
        assert answer["data"]["is_active"] is True
        await ems.emit("capture_stop_request", ask("one", camera_id="yard"))
        await ems.expect("video_frame_from_service", lambda data: data["metadata"]["camera_id"] == "yard", at)
        await ems.emit("capture_stop_request", ask("two", camera_id="yard"))
        await ems.expect("capture_status_response", lambda data: data["state"] == "stopped", at)
        assert gateway.state("default") is SessionState.STOPPED


async def test_invalid_commands_are_answered_and_change_nothing(ems: Ems) -> None:
    async with GatewayProcess(ems.url):
        at = await announced(ems)
        for event, payload, why in (
            ("capture_start_request", None, "must be an object"),
            ("capture_start_request", {}, "client_id: is missing"),
            ("capture_start_request", {"client_id": 7}, "client_id"),
            ("capture_start_request", ask(camera_id="attic"), "there is no camera 'attic'"),
            ("capture_start_request", ask(camera_id=["yard"]), "camera_id is not a string"),
            ("capture_stop_request", ask(junk="x" * 9000), "more than 8192 bytes"),
            ("capture_status_request", [1, 2], "must be an object"),
        ):
            await ems.emit(event, payload)
            at, answer = await ems.expect("capture_status_response", lambda data: "error" in data, at)
            assert why in answer["data"]["error_message"]
            assert answer["data"]["is_active"] is False
        await ems.emit("webrtc_offer", {"client_id": "a", "sdp": 5})
        at, answer = await ems.expect("webrtc_error", after=at)
        assert answer["data"]["client_id"] == "a"
        await ems.emit("somebody_elses_event", {"x": 1})
        await ems.order(emit=["capture_status_request", {"requesting_client": "a"}], ack=5)
        at, ack = await ems.expect("ack", after=at)
        assert ack["data"][0]["camera_id"] == "default"
        assert ems.count("disconnect") == 0


async def test_the_camera_may_be_named_in_either_place(ems: Ems) -> None:
    async with GatewayProcess(ems.url) as gateway:
        at = await announced(ems)
        beside = {"client_id": "operator", "camera_id": "yard"}
        for event, payload in (
            ("capture_start_request", beside),
            ("capture_status_request", {"requesting_client": "operator", "metadata": {"camera_id": "yard"}}),
            ("capture_stop_request", {**beside, "metadata": {"camera_id": "yard", "reason": "none"}}),
        ):
            await ems.emit(event, payload)
            at, answer = await ems.expect(
                "capture_status_response", lambda data: data.get("client_id") == "operator", at
            )
            assert answer["data"]["camera_id"] == "yard"
        assert answer["data"]["clients"] == 0
        assert gateway.state("default") is gateway.state("yard") is SessionState.STOPPED


async def test_a_refusal_names_the_camera_that_was_asked_for(ems: Ems) -> None:
    async with GatewayProcess(ems.url) as gateway:
        at = await announced(ems)
        for payload, camera_id in (
            ({"client_id": "a", "camera_id": "attic"}, "attic"),
            ({"client_id": "a", "metadata": {"camera_id": "attic"}}, "attic"),
            ({"client_id": "", "camera_id": "yard"}, "yard"),
            ({"client_id": "a", "camera_id": "yard", "metadata": {"camera_id": "default"}}, None),
            ({"client_id": "a", "camera_id": ["yard"]}, None),
            ({"client_id": ""}, "default"),
        ):
            for event in ("capture_start_request", "capture_stop_request"):
                await ems.emit(event, payload)
                at, answer = await ems.expect("capture_status_response", lambda data: "error" in data, at)
                assert answer["data"].get("camera_id") == camera_id
                assert answer["data"]["is_active"] is False
        assert gateway.state("default") is gateway.state("yard") is SessionState.STOPPED


async def test_fields_that_do_not_exist_are_warned_of(ems: Ems) -> None:
    async with GatewayProcess(ems.url):
        at = await announced(ems)
        await ems.emit("capture_status_request", {"requesting_client": "a", "cameraId": "yard"})
        _, answer = await ems.expect("capture_status_response", lambda data: data.get("client_id") == "a", at)
        assert answer["data"]["warnings"] == ["there is no field 'cameraId'; it is ignored"]


GARBAGE = (
    "",
    "9",
    "2",
    "2[]",
    "2[5]",
    "2{}",
    "2[{}]",
    "51-[]",
    "5999999-[]",
    "5999999999-[]",
    "2" + "[" * 20000,
    "zzz",
    "3",
    "2nonsense",
)


async def test_packets_that_are_not_socketio_do_not_end_the_connection(
    ems: Ems, caplog: pytest.LogCaptureFixture
) -> None:
    async with GatewayProcess(ems.url) as gateway:
        at = await announced(ems)
        for raw in GARBAGE:
            await ems.order(raw=raw)
            await ems.emit("capture_status_request", {"requesting_client": "a"})
            at, _ = await ems.expect("capture_status_response", lambda data: data.get("client_id") == "a", at)
        assert ems.count("connect") == 1
        status = gateway.messaging.status()
        assert (status.packets_invalid or 0) > 5
        assert status.model_extra == {}, "every field is in the model, and so in the documents of the API"
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_after_a_restart_of_the_ems_everything_continues(ems: Ems) -> None:
    async with GatewayProcess(ems.url) as gateway:
        at = await announced(ems)
        await ems.emit("capture_start_request", ask(camera_id="yard"))
        at, _ = await ems.expect("video_frame_from_service", after=at)
        await ems.stop()
        await eventually(lambda: not gateway.messaging.status().connected, "the connection is lost")
        assert gateway.state("yard") is SessionState.LIVE
        at = len(ems.seen)
        await ems.start()
        at, _ = await ems.expect(
            "capture_status_response", lambda data: data["camera_id"] == "yard" and data["state"] == "live", at
        )
        await ems.expect("video_frame_from_service", lambda data: data["metadata"]["camera_id"] == "yard", at)
        assert gateway.messaging.status().connects == 2


async def test_after_a_disconnect_by_the_ems_the_gateway_reconnects(ems: Ems) -> None:
    async with GatewayProcess(ems.url):
        at = await announced(ems)
        await ems.order(disconnect=True)
        at, _ = await ems.expect("disconnect", after=at)
        await ems.expect("connect", after=at)
        await announced(ems, at)


@pytest.mark.parametrize("lasted_s", [STEADY_S + 1, 0.0], ids=["steady", "short"])
async def test_only_a_connection_that_lasted_resets_the_count_of_failures(ems: Ems, lasted_s: float) -> None:
    clock = ManualClock()
    async with GatewayProcess(ems.url, clock) as gateway:
        messaging = gateway.messaging
        assert isinstance(messaging, EmsMessaging)
        at = 0
        for _ in range(2):
            at = await announced(ems, at)
            clock.now += lasted_s
            await ems.order(disconnect=True)
            at, _ = await ems.expect("disconnect", after=at)
        await announced(ems, at)
        assert messaging._backoff.failures == (0 if lasted_s else 2)


async def test_an_ems_that_disconnects_at_once_is_retried_with_growing_delays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Ems("--goodbye") as ems, GatewayProcess(ems.url):
        at = 0
        for _ in range(3):
            at, _ = await ems.expect("connect", after=at)
    assert sum("cannot be reached" in record.message for record in caplog.records) <= 1


async def test_an_unreachable_ems_is_reported_once_and_retried(
    free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    ems = Ems(port=free_port)
    async with GatewayProcess(ems.url) as gateway:
        await eventually(lambda: "cannot be reached" in caplog.text, "the log says that the EMS cannot be reached")
        await gateway.service.start_capture()
        await eventually(lambda: gateway.state() is SessionState.LIVE, "the camera is live")
        async with ems:
            await announced(ems)
        errors = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
        assert len(errors) == 1
        assert "2 attempts failed" in errors[0]
        assert "SOCKETIO_SERVER_URL" in errors[0]


async def test_a_reload_changes_the_attempts_and_the_delay(free_port: int, caplog: pytest.LogCaptureFixture) -> None:
    async with GatewayProcess(f"http://127.0.0.1:{free_port}", connection_retry_attempts=1000) as gateway:
        messaging = gateway.messaging
        assert isinstance(messaging, EmsMessaging)
        backoff = messaging._backoff
        await eventually(lambda: backoff.failures >= 3, "three attempts failed")
        assert "cannot be reached" not in caplog.text
        changed = {"connection_retry_attempts": 2, "connection_retry_delay": 0.07}
        messaging.reload(gateway.settings.model_copy(update=changed))
        await eventually(lambda: "cannot be reached" in caplog.text, "the log says that the EMS cannot be reached")
        assert (backoff.retries, backoff.delay_s) == (1, 0.07)
        messaging.reload(gateway.settings.model_copy(update={**changed, "connection_retry_attempts": 1000}))
        failures = backoff.failures
        await eventually(lambda: backoff.failures >= failures + 2, "two more attempts failed")
    assert sum("cannot be reached" in record.message for record in caplog.records) == 1


async def test_the_token_is_sent_to_the_ems_and_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Ems("--token=sesame") as ems:
        async with GatewayProcess(ems.url, socketio_auth_token="wr0ng") as gateway:
            await ems.expect("refused")
            await eventually(lambda: gateway.messaging.status().error, "the error is reported")
            assert "refuses the connection: wrong token" in str(gateway.messaging.status().error)
            await eventually(lambda: "cannot be reached" in caplog.text, "the log says that the EMS cannot be reached")
        async with GatewayProcess(ems.url, socketio_auth_token="sesame"):
            await announced(ems)
    assert "wr0ng" not in caplog.text
    assert "sesame" not in caplog.text


async def test_credentials_in_the_url_are_never_logged(caplog: pytest.LogCaptureFixture, free_port: int) -> None:
    caplog.set_level(logging.DEBUG)
    async with GatewayProcess(f"http://gate:s3cret@127.0.0.1:{free_port}/?token=t0ken") as gateway:
        await eventually(lambda: "cannot be reached" in caplog.text, "the log says that the EMS cannot be reached")
        told = caplog.text + str(gateway.messaging.status())
    assert "s3cret" not in told
    assert "t0ken" not in told


async def test_a_path_in_the_url_is_the_path_of_socketio() -> None:
    async with Ems("--path=ems/socket.io") as ems, GatewayProcess(f"{ems.url}/ems?tenant=7"):
        _, connect = await ems.expect("connect")
        assert "tenant=7&type=service" in connect["query"]


async def test_an_ems_that_does_not_acknowledge_gets_frames_too() -> None:
    async with Ems("--no-ack") as ems, GatewayProcess(ems.url, frame_rate=20) as gateway:
        at = await announced(ems)
        await ems.emit("capture_start_request", ask())
        for _ in range(5):
            at, _ = await ems.expect("video_frame_from_service", after=at)
        assert (gateway.messaging.status().frames_sent or 0) >= 4


async def test_an_ems_that_hangs_gets_few_frames_and_does_not_delay_shutdown(ems: Ems) -> None:
    async with GatewayProcess(ems.url, frame_rate=25) as gateway:
        at = await announced(ems)
        await ems.emit("capture_start_request", ask())
        # Its first acknowledgements have come.
        at, _ = await ems.expect("video_frame_from_service", lambda data: data["metadata"]["sequence"] > 5, at)
        ems.freeze()
        feed = gateway.service.camera().jpeg
        made = feed.frames_encoded
        await eventually(lambda: feed.frames_encoded > made + 20, "frames are encoded")
        sent = gateway.messaging.status().frames_sent
        await eventually(lambda: feed.frames_encoded > made + 40, "frames are encoded")
        assert gateway.messaging.status().frames_sent == sent
        ems.thaw()
        _, frame = await ems.expect("video_frame_from_service", lambda data: data["metadata"]["skipped"] >= 20, at)
        assert frame["data"]["metadata"]["sequence"] > 20
        ems.freeze()
        await eventually(lambda: feed.frames_encoded > made + 60, "frames are encoded")


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nword", b"\x00\xff" * 50, b"HTTP/1.1 500 no\r\n\r\n"]
)
async def test_a_server_that_is_not_socketio_is_retried(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(100)
            writer.write(said)
            await writer.drain()
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, GatewayProcess(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"):
        await eventually(lambda: "cannot be reached" in caplog.text, "the log says that the EMS cannot be reached")
    assert "Traceback" not in caplog.text


async def test_a_server_that_accepts_and_sends_nothing_does_not_delay_closing() -> None:
    accepted = asyncio.Event()
    release = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await release.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        gateway = GatewayProcess(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await gateway.messaging.start()
        await accepted.wait()
        await asyncio.wait_for(gateway.messaging.close(), 2)
        await gateway.service.close()
        release.set()


@pytest.mark.parametrize("url", ["ems.example.org", "ftp://ems", "http://", "http://ems:99999", "http://[ems"])
def test_an_invalid_url_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match="SOCKETIO_SERVER_URL"):
        GatewayProcess(url)


def test_without_an_ems_there_is_no_messaging() -> None:
    service = CaptureService({})
    assert isinstance(create_messaging(load_settings(), service), NoMessaging)
    configured = load_settings(messaging="none", socketio_server_url="http://127.0.0.1:1")
    assert isinstance(create_messaging(configured, service), NoMessaging)


class BrokenAdapter(NoMessaging):
    def __init__(self, *_: object) -> None:
        raise KeyError("broker")


def test_an_adapter_that_cannot_be_made_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match=r"cannot be created: .*broker"):
        create_messaging(load_settings(messaging=f"{__name__}:BrokenAdapter"), CaptureService({}))


@pytest.mark.parametrize(
    "name", ["mqtt", "no.such.module:Adapter", "signaling.messaging:Nothing", "signaling.events:Event"]
)
def test_an_adapter_that_cannot_be_imported_is_a_settings_error(name: str) -> None:
    with pytest.raises(SettingsError, match="MESSAGING"):
        create_messaging(load_settings(messaging=name), CaptureService({}))
