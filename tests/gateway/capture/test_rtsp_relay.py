"""The relay between libav and a camera: whom it serves, and what it lets through."""

import asyncio
from urllib.parse import urlsplit

import pytest

from gateway.capture.engine import CaptureSource
from gateway.capture.rtsp_relay import RtspRelay
from gateway.capture.url import parse
from gateway.capture.watch import BYTES_WITHOUT_PACKET_MAX, Watch
from gateway.errors import CameraTimeoutError, NoVideoError
from tests.support.rtsp_camera import Asked, Reply, RtpSender, RtspCamera, Sent, sdp, video_section
from tests.support.rtsp_media import media

DESCRIPTION = sdp(video_section())


def watch(timeout_s: float = 10.0) -> Watch:
    return Watch(timeout_s, "camera", CameraTimeoutError("late"), lambda: CameraTimeoutError("silent"))


async def started(camera: RtspCamera, watched: Watch) -> tuple[RtspRelay, str]:
    url = camera.url("admin:secret")
    relay = RtspRelay(parse(url), CaptureSource("camera", url), watched)
    return relay, await relay.start()


async def ask(name: str, *requests: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect as libav does, and send requests for these addresses."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(name).port)
    for number, request in enumerate(requests, start=1):
        writer.write(f"{request} RTSP/1.0\r\nCSeq: {number + 70}\r\n\r\n".encode())
    return reader, writer


async def play(name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Begin to play as libav does."""
    reader, writer = await ask(name, f"DESCRIBE {name}")
    transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
    writer.write(f"SETUP {name}/track0 RTSP/1.0\r\nCSeq: 98\r\n{transport}\r\n\r\n".encode())
    writer.write(f"PLAY {name} RTSP/1.0\r\nCSeq: 99\r\n\r\n".encode())
    return reader, writer


async def test_only_who_knows_the_secret_is_served() -> None:
    with RtspCamera(DESCRIPTION, media(), credentials=("admin", "secret")) as camera:
        relay, name = await started(camera, watch())
        other, writer = await ask(name, f"OPTIONS {name[:-22]}")
        assert await other.read() == b""
        assert camera.asked == []
        writer.close()
        await relay.close()


async def test_only_the_first_connection_is_served() -> None:
    with RtspCamera(DESCRIPTION, media(), credentials=("admin", "secret")) as camera:
        relay, name = await started(camera, watch())
        first, one = await ask(name, f"DESCRIBE {name}")
        head = await first.readuntil(b"\r\n\r\n")
        assert head.startswith(b"RTSP/1.0 200 OK\r\nCSeq: 71\r\n")
        assert b"admin" not in head
        with pytest.raises(ConnectionRefusedError):
            await ask(name, f"DESCRIBE {name}")
        one.close()
        await relay.close()
    assert "secret" not in str(camera.asked)


async def test_a_library_that_collects_gets_no_more() -> None:
    def endless() -> list[Sent]:
        # Every packet of one picture that never ends.
        sender = RtpSender()
        payload = bytes(range(1, 250)) * 240
        return [sender.packet(payload, 0, 0.0) for _ in range(BYTES_WITHOUT_PACKET_MAX // len(payload) + 200)]

    with RtspCamera(DESCRIPTION, endless()) as camera:
        relay, name = await started(camera, watch())
        reader, writer = await play(name)
        received = 0
        try:
            while data := await reader.read(1 << 20):
                received += len(data)
        except ConnectionError:
            pass
        writer.close()
        await relay.close()
    assert isinstance(relay.error, NoVideoError)
    assert received < BYTES_WITHOUT_PACKET_MAX + (4 << 20)


async def test_a_library_that_does_not_read_stops_the_camera() -> None:
    payload = bytes(60_000)
    sender = RtpSender()
    sent = [sender.packet(payload, number, 0.0) for number in range(700)]
    with RtspCamera(DESCRIPTION, sent) as camera:
        watched = watch()
        relay, name = await started(camera, watched)
        _, writer = await play(name)
        before = -1
        while watched.counted != before:
            before = watched.counted
            await asyncio.sleep(0.3)
        # What the sockets hold, and no more.
        assert 0 < watched.counted < 20 << 20
        writer.close()
        await relay.close()


async def test_silence_ends_it() -> None:
    with RtspCamera(DESCRIPTION) as camera:
        relay, name = await started(camera, watch(0.3))
        reader, writer = await ask(name, f"DESCRIBE {name}")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(100_000)
        writer.close()
        await relay.close()
    assert str(relay.error) == "late"


@pytest.mark.parametrize(("asks", "says"), [(["SETUP", "TEARDOWN"], "404"), (["TEARDOWN"], None)])
async def test_a_refused_goodbye_is_no_reason(asks: list[str], says: str | None) -> None:
    def refuses(asked: Asked, number: int) -> Reply | None:
        return {"SETUP": Reply(404), "TEARDOWN": Reply(454)}.get(asked.method)

    with RtspCamera(DESCRIPTION, answer=refuses) as camera:
        relay, name = await started(camera, watch())
        reader, writer = await ask(name, *(f"{method} {name}" for method in asks))
        for _ in asks:
            await reader.readuntil(b"\r\n\r\n")
    # The camera has hung up.
    assert await reader.read() == b""
    assert says in str(relay.refusal) if says else relay.refusal is None
    writer.close()
    await relay.close()
