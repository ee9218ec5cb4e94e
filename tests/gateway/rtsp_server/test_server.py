"""The RTSP server with real connections: our own engine as its reader, and clients that do not behave."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import NoReturn

import pytest

from gateway.camera_settings import CameraSettings
from gateway.clock import SYSTEM_CLOCK
from gateway.codec.annexb import nal_units
from gateway.errors import ForbiddenError, LiveedgeError, SettingsError, UnauthorizedError
from gateway.media import Packet
from gateway.rtsp.auth import Authenticator, Credentials, parse_challenges
from gateway.rtsp_server import connection as connection_module
from gateway.rtsp_server import opened_stream
from gateway.rtsp_server.server import RtspServer
from gateway.service import CaptureService
from gateway.settings import load_settings
from tests.support.eventually import eventually
from tests.support.manual_clock import OffsetClock

SOURCE = {"url": "fake://x?width=320&height=180&fps=25&gop=25&audio=alaw", "engine": "fake", "start": "on-demand"}


class Open:
    """Access for everybody to ``camera_id`` but for one token."""

    def __init__(self) -> None:
        self.is_required = False
        self.token = "let-me-in-let-me-in"
        self.revoke: list[Callable[[LiveedgeError], None]] = []

    def require_view(self, camera_id: str) -> None:
        if camera_id == "secret":
            raise ForbiddenError("this token is not for this camera")

    def require_publish(self, camera_id: str) -> None:
        self.require_view(camera_id)

    def on_revoke(
        self, callback: Callable[[LiveedgeError], None], camera_id: str, *, publishes: bool = False
    ) -> Callable[[], None]:
        self.revoke.append(callback)
        return lambda: self.revoke.remove(callback)

    def digest_tokens(self, user: str) -> Sequence[str]:
        return [self.token]

    async def anonymous(self, address: str) -> "Open":
        if self.is_required:
            raise UnauthorizedError("this needs a token")
        return self

    async def by_token(self, token: str, address: str) -> "Open":
        return self if token == self.token else await self.refuse(token, address)

    async def refuse(self, proof: str, address: str) -> NoReturn:
        raise UnauthorizedError("this token is unknown", is_invalid=True)


class Site:
    """A server, its cameras, and raw connections to it."""

    def __init__(self, cameras: Mapping[str, CameraSettings]) -> None:
        self.service = CaptureService(cameras)
        self.access, self.clock = Open(), OffsetClock()
        self.server = RtspServer(self.service, self.clock)
        self.writers: list[asyncio.StreamWriter] = []

    @property
    def base(self) -> str:
        return f"rtsp://127.0.0.1:{self.server.port}"

    async def connect(self) -> "Line":
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        self.writers.append(writer)
        return Line(self.base, reader, writer)


class Line:
    """A connection that sends what the test says."""

    def __init__(self, base: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.base, self.reader, self.writer = base, reader, writer
        self.sequence = 0

    async def ask(
        self, method: str, path: str = "/door", body: str = "", **headers: str
    ) -> tuple[int, dict[str, str], str]:
        self.sequence += 1
        lines = [f"{method} {self.base}{path} RTSP/1.0", f"CSeq: {self.sequence}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        return await self.answer()

    async def answer(self) -> tuple[int, dict[str, str], str]:
        async with asyncio.timeout(60):
            while (first := await self.reader.readexactly(1)) == b"$":
                head = await self.reader.readexactly(3)
                await self.reader.readexactly(int.from_bytes(head[1:], "big"))
            head = first + await self.reader.readuntil(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers: dict[str, str] = {}
        for name, _, value in (line.partition(":") for line in lines if line):
            before = headers.get(name.lower())
            headers[name.lower()] = value.strip() if before is None else f"{before}, {value.strip()}"
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        assert headers["cseq"] == str(self.sequence)
        return int(status.split(" ")[1]), headers, body.decode()

    async def frame(self) -> int:
        """The channel of the next interleaved frame."""
        return (await self.frame_with_data())[0]

    async def frame_with_data(self) -> tuple[int, bytes]:
        """The next interleaved frame."""
        async with asyncio.timeout(60):
            head = await self.reader.readexactly(4)
            data = await self.reader.readexactly(int.from_bytes(head[2:], "big"))
        assert head[:1] == b"$"
        return head[1], data

    async def is_closed(self) -> bool:
        async with asyncio.timeout(60):
            while await self.reader.read(65536):
                pass
        return True


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        table = {"record": "never", "capture_linger": 0}
        cameras = {"door": SOURCE, "secret": SOURCE, "dead": {**SOURCE, "url": "rtsp://127.0.0.1:9/", "engine": "rtsp"}}
        found = Site({name: load_settings().camera(name, {**each, **table}) for name, each in cameras.items()})
        found.service.start()
        stack.push_async_callback(found.service.close)
        await found.server.start("127.0.0.1", 0, found.access)
        stack.push_async_callback(found.server.close)
        yield found
        for writer in found.writers:
            writer.close()


TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"


async def playing(site: Site) -> Line:
    line = await site.connect()
    await line.ask("DESCRIBE")
    _, headers, _ = await line.ask("SETUP", "/door/trackID=0", Transport=TCP)
    status, _, _ = await line.ask("PLAY", Session=headers["session"])
    assert status == 200
    return line


async def test_our_own_engine_reads_what_the_camera_sent(site: Site) -> None:
    sent: list[Packet] = []
    camera = site.service.camera("door")
    camera.hub.attach(sent.append)
    table = {"url": f"{site.base}/door", "engine": "rtsp", "record": "never"}
    copy = CaptureService({"copy": load_settings().camera("copy", table)})
    got: list[Packet] = []
    copy.camera("copy").hub.attach(got.append)
    copy.start()
    try:
        await eventually(lambda: sum(packet.is_video for packet in got) > 60, "two seconds of the camera are read")
    finally:
        await copy.close()
    assert got[0].is_keyframe
    assert (got[0].info.video.codec, got[0].info.video.width) == ("h264", 320)
    assert camera.viewers in ({}, {"rtsp": 1})
    by_data = {_slices(packet.data): packet for packet in sent if packet.is_video}
    frames = [packet for packet in got if packet.is_video]
    assert all(_slices(packet.data) in by_data for packet in frames)
    late = frames[30:]
    captured = [packet.captured_at_90k - by_data[_slices(packet.data)].captured_at_90k for packet in late]
    assert max(captured) - min(captured) < 90_000, "and its times"
    assert {packet.info.audio.codec for packet in got if packet.info.audio} == {"pcm_alaw"}
    await eventually(lambda: not camera.is_wanted, "the camera is left when its reader leaves")


def _slices(data: bytes) -> bytes:
    """What is the same on both sides: parameter sets and delimiters may be added."""
    return b"".join(unit for unit in nal_units(data) if unit[0] & 0x1F in (1, 5))


async def test_requests_that_cannot_be_served_get_the_status_of_the_rfc(site: Site) -> None:
    line = await site.connect()
    status, headers, _ = await line.ask("OPTIONS", "*")
    assert status == 200
    assert "DESCRIBE" in headers["public"]
    for method, path, extra, wanted in (
        ("DESCRIBE", "/nobody", {}, 404),
        ("DESCRIBE", "/door/sub", {}, 404),
        ("DESCRIBE", "/", {}, 404),
        ("DESCRIBE", "/door/sub/more/x", {}, 404),
        ("DESCRIBE", "/secret", {}, 403),
        ("DESCRIBE", "/door", {"Require": "www.onvif.org/ver20/backchannel"}, 551),
        ("RECORD", "/door", {}, 455),
        ("ANNOUNCE", "/door", {}, 405),
        ("REDIRECT", "/door", {}, 501),
        ("PLAY", "/door", {}, 455),
        ("PAUSE", "/door", {}, 455),
        ("PLAY", "/door", {"Session": "nope"}, 454),
        ("SETUP", "/door/trackID=7", {"Transport": TCP}, 404),
        ("SETUP", "/door", {"Transport": TCP}, 459),
        ("SETUP", "/door/trackID=0", {"Transport": "RTP/AVP;multicast"}, 461),
    ):
        status, _, text = await line.ask(method, path, **extra)
        assert (method, path, status) == (method, path, wanted)
        assert text, "the body says why"
    assert (await line.ask("DESCRIBE"))[0] == 200, "the connection is still good"


async def test_a_camera_that_does_not_start_is_503_with_retry_after(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened_stream, "START_TIMEOUT_S", 0.2)
    line = await site.connect()
    status, headers, text = await line.ask("DESCRIBE", "/dead")
    assert (status, headers["retry-after"]) == (503, "2")
    assert "dead" in text


async def test_pause_play_and_teardown(site: Site) -> None:
    line = await playing(site)
    camera = site.service.camera("door")
    assert camera.viewers == {"rtsp": 1}
    assert (await line.ask("PLAY"))[0] == 200, "PLAY while it plays is no error"
    assert (await line.ask("SETUP", "/door/trackID=1", Transport="RTP/AVP/TCP;unicast"))[0] == 455
    assert (await line.ask("PAUSE"))[0] == 200
    assert camera.viewers == {}
    assert (await line.ask("PLAY"))[0] == 200
    assert (await line.ask("GET_PARAMETER"))[0] == 200
    assert (await line.ask("TEARDOWN"))[0] == 200
    assert camera.viewers == {}
    assert (await line.ask("PLAY"))[0] == 455
    await eventually(lambda: not camera.is_wanted, "nothing holds the camera")


async def test_picture_and_sound_are_together_from_the_first_packet(site: Site) -> None:
    first = await playing(site)  # the stream has sound to report on
    while await first.frame() != 0:
        pass
    line = await site.connect()
    await line.ask("DESCRIBE")
    for track in range(2):
        transport = f"RTP/AVP/TCP;unicast;interleaved={2 * track}-{2 * track + 1}"
        _, headers, _ = await line.ask("SETUP", f"/door/trackID={track}", Transport=transport)
    _, headers, _ = await line.ask("PLAY", Session=headers["session"])
    begins = [int(each) for each in re.findall(r"rtptime=(\d+)", headers["rtp-info"])]
    reports: dict[int, tuple[float, int]] = {}
    while len(reports) < 2:
        channel, data = await line.frame_with_data()
        assert channel in (1, 3), "reports come before the media"
        reports[channel] = int.from_bytes(data[8:16], "big") / 2**32, int.from_bytes(data[16:20], "big")
    moments = [
        reports[2 * track + 1][0] + (begin - reports[2 * track + 1][1]) / rate
        for track, (begin, rate) in enumerate(zip(begins, (90_000, 8000), strict=True))
    ]
    assert moments[0] == pytest.approx(moments[1], abs=0.001)


async def test_teardown_of_a_track_leaves_the_others(site: Site) -> None:
    line = await site.connect()
    await line.ask("DESCRIBE")
    await line.ask("SETUP", "/door/trackID=0", Transport=TCP)
    await line.ask("SETUP", "/door/trackID=1", Transport="RTP/AVP/TCP;unicast;interleaved=2-3")
    assert (await line.ask("PLAY"))[0] == 200
    status, headers, _ = await line.ask("TEARDOWN", "/door/trackID=0")
    assert (status, "session" in headers) == (200, True)
    assert site.service.camera("door").viewers == {"rtsp": 1}
    channels = {await line.frame() for _ in range(30)}
    assert channels <= {2, 3}
    assert (await line.ask("TEARDOWN", "/door/trackID=0"))[0] == 455
    assert (await line.ask("TEARDOWN", "/door/trackID=1"))[0] == 200, "the last one ends the session"
    assert site.service.camera("door").viewers == {}
    assert (await line.ask("PLAY"))[0] == 455


async def test_another_version_of_rtsp_is_refused_in_ours(site: Site) -> None:
    line = await site.connect()
    line.sequence = 1
    line.writer.write(f"DESCRIBE {site.base}/door RTSP/2.0\r\nCSeq: 1\r\n\r\n".encode())
    status, headers, text = await line.answer()
    assert (status, headers["cseq"]) == (505, "1")
    assert "RTSP/1.0" in text
    assert (await line.ask("DESCRIBE"))[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01" * 40_000,
        b"OPTIONS * RTSP/1.0\r\n" + b"X: " + b"y" * 20_000,
        b"OPTIONS * RTSP/1.0\r\nContent-Length: 999999999\r\n\r\n",
        b"DESCRIBE rtsp://x/door RTSP/1.0\r\nCSeq: 1\r\n\r\n" * 200,
    ],
    ids=["HTTP", "no text", "long head", "long body", "many requests"],
)
async def test_what_is_no_rtsp_ends_the_connection(site: Site, data: bytes) -> None:
    line = await site.connect()
    line.writer.write(data)
    assert await line.is_closed()
    assert (await (await site.connect()).ask("DESCRIBE"))[0] == 200


async def test_answers_that_nobody_reads_do_not_pile_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "BUFFER_MAX_BYTES", 1000)
    line = await site.connect()
    await eventually(lambda: len(site.server) == 1, "it is connected")
    (connection,) = site.server._connections
    assert connection._transport is not None
    line.writer.transport.pause_reading()  # type: ignore[attr-defined]
    while not connection.is_full and not connection._transport.is_closing():
        line.writer.write(f"OPTIONS * RTSP/1.0\r\nCSeq: {'9' * 2000}\r\n\r\n".encode())
        await asyncio.sleep(0)
    assert connection.is_full
    assert connection._transport.get_write_buffer_size() < 10_000
    line.writer.transport.abort()


async def test_a_reader_whose_token_ends_is_disconnected_and_so_is_one_of_a_camera_that_is_removed(site: Site) -> None:
    first, second = await playing(site), await playing(site)
    site.access.revoke[0](UnauthorizedError("the token has expired"))
    assert await first.is_closed()
    await site.service.remove_camera("door")
    site.server.close_camera("door", "the camera was removed")
    assert await second.is_closed()
    await eventually(lambda: not len(site.server), "no connection is left")
    assert not site.access.revoke


async def test_a_client_that_does_not_read_gives_back_what_it_holds_when_it_is_disconnected(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "CLOSE_S", 0.2)
    line, camera = await playing(site), site.service.camera("door")
    (connection,) = site.server._connections
    assert connection._transport is not None
    line.writer.transport.pause_reading()  # type: ignore[attr-defined]
    while not connection.is_full:
        connection._transport.write(bytes(1 << 20))
        await asyncio.sleep(0)
    site.access.revoke[0](UnauthorizedError("the token has expired"))
    assert camera.viewers == {}
    assert not site.access.revoke
    assert len(site.server) == 1, "it may still read what was sent"
    await eventually(lambda: not len(site.server), "it is not waited for")
    assert not connection._parser.get_buffer(), "its buffer is free"


async def test_an_answer_to_the_nonce_of_another_connection_is_stale_and_no_wrong_password(site: Site) -> None:
    site.access.is_required = True
    client = Authenticator(Credentials("x", site.access.token))
    for line in [await site.connect() for _ in range(2)]:
        header = client.authorization("DESCRIBE", f"{site.base}/door")
        _, headers, _ = await line.ask("DESCRIBE", **({"Authorization": header} if header else {}))
        assert ("stale=TRUE" in headers["www-authenticate"]) is (header is not None)
        assert client.accept(parse_challenges([headers["www-authenticate"]]))
        header = client.authorization("DESCRIBE", f"{site.base}/door")
        assert header is not None
        assert (await line.ask("DESCRIBE", Authorization=header))[0] == 200


async def test_play_is_refused_where_the_camera_has_another_format_than_described(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await playing(site)
    line = await site.connect()
    await line.ask("DESCRIBE")
    await line.ask("SETUP", "/door/trackID=0", Transport=TCP)
    with monkeypatch.context() as patched:
        patched.setattr(opened_stream, "describe", lambda *_: None)
        assert (await line.ask("PLAY"))[0] == 455
    assert (await line.ask("PLAY"))[0] == 200


async def test_connections_that_do_nothing_are_closed(site: Site) -> None:
    idle, reading = await site.connect(), await playing(site)
    await eventually(lambda: len(site.server) == 2, "both are connected")
    for connection in tuple(site.server._connections):
        connection.check(SYSTEM_CLOCK.monotonic() + connection_module.IDLE_S + 1)
    assert await idle.is_closed()
    assert (await reading.ask("OPTIONS"))[0] == 200


async def test_one_network_does_not_take_all_connections(site: Site) -> None:
    site.server._connections_max = lambda: 8
    lines = [await site.connect() for _ in range(7)]
    assert await lines[-1].is_closed()
    assert site.server.connections_refused == 1
    assert site.server._make_connection("198.51.100.7") is not None, "another network still gets in"
    assert (await lines[0].ask("OPTIONS", "*"))[0] == 200


async def test_a_port_that_is_in_use_is_a_setting_to_change(site: Site) -> None:
    other = RtspServer(site.service, SYSTEM_CLOCK)
    assert site.server.port is not None
    with pytest.raises(SettingsError, match="RTSP_PORT"):
        await other.start("127.0.0.1", site.server.port, site.access)
    await other.close()
