"""The connection to the EMS: how it begins, ends and comes back, against real servers."""

import asyncio
import contextlib
import logging

import pytest

from gateway.backoff import STEADY_S
from gateway.errors import SettingsError
from gateway.session import SessionState
from signaling.ems import EmsMessaging
from tests.support.ems import Ems
from tests.support.ems_gateway import EmsGateway, announced, ask
from tests.support.eventually import eventually
from tests.support.manual_clock import ManualClock

pytestmark = pytest.mark.integration


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
    async with EmsGateway(ems.url) as gateway:
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
    async with EmsGateway(ems.url) as gateway:
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
    async with EmsGateway(ems.url):
        at = await announced(ems)
        await ems.order(disconnect=True)
        at, _ = await ems.expect("disconnect", after=at)
        await ems.expect("connect", after=at)
        await announced(ems, at)


@pytest.mark.parametrize("lasted_s", [STEADY_S + 1, 0.0], ids=["steady", "short"])
async def test_only_a_connection_that_lasted_resets_the_count_of_failures(ems: Ems, lasted_s: float) -> None:
    clock = ManualClock()
    async with EmsGateway(ems.url, clock) as gateway:
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
    async with Ems("--goodbye") as ems, EmsGateway(ems.url):
        at = 0
        for _ in range(3):
            at, _ = await ems.expect("connect", after=at)
    assert sum("cannot be reached" in record.message for record in caplog.records) <= 1


async def test_an_unreachable_ems_is_reported_once_and_retried(
    free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    ems = Ems(port=free_port)
    async with EmsGateway(ems.url) as gateway:
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
    async with EmsGateway(f"http://127.0.0.1:{free_port}", connection_retry_attempts=1000) as gateway:
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
        async with EmsGateway(ems.url, socketio_auth_token="wr0ng") as gateway:
            await ems.expect("refused")
            await eventually(lambda: gateway.messaging.status().error, "the error is reported")
            assert "refuses the connection: wrong token" in str(gateway.messaging.status().error)
            await eventually(lambda: "cannot be reached" in caplog.text, "the log says that the EMS cannot be reached")
        async with EmsGateway(ems.url, socketio_auth_token="sesame"):
            await announced(ems)
    assert "wr0ng" not in caplog.text
    assert "sesame" not in caplog.text


async def test_credentials_in_the_url_are_never_logged(caplog: pytest.LogCaptureFixture, free_port: int) -> None:
    caplog.set_level(logging.DEBUG)
    async with EmsGateway(f"http://gate:s3cret@127.0.0.1:{free_port}/?token=t0ken") as gateway:
        await eventually(lambda: "cannot be reached" in caplog.text, "the log says that the EMS cannot be reached")
        told = caplog.text + str(gateway.messaging.status())
    assert "s3cret" not in told
    assert "t0ken" not in told


async def test_a_path_in_the_url_is_the_path_of_socketio() -> None:
    async with Ems("--path=ems/socket.io") as ems, EmsGateway(f"{ems.url}/ems?tenant=7"):
        _, connect = await ems.expect("connect")
        assert "tenant=7&type=service" in connect["query"]


async def test_an_ems_that_hangs_gets_few_frames_and_does_not_delay_shutdown(ems: Ems) -> None:
    async with EmsGateway(ems.url, frame_rate=25) as gateway:
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
    async with server, EmsGateway(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"):
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
        gateway = EmsGateway(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await gateway.messaging.start()
        await accepted.wait()
        await asyncio.wait_for(gateway.messaging.close(), 60)
        await gateway.service.close()
        release.set()


@pytest.mark.parametrize("url", ["ems.example.org", "ftp://ems", "http://", "http://ems:99999", "http://[ems"])
def test_an_invalid_url_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match="SOCKETIO_SERVER_URL"):
        EmsGateway(url)
