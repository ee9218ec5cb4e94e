"""Downloads over HTTP: ranges and conditions by RFC 9110, and clients that leave in the middle of an answer."""

import asyncio
import logging
import os
import re
import socket
import struct
from collections.abc import AsyncIterator
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path

import pytest

from gateway.clock import CLOCK_RATE
from tests.support.auth_gateway import DEMO, OFF, Client, auth_gateway
from tests.support.eventually import eventually
from tests.support.recording import index_of, record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode
from web.gateway import GATEWAY

START = START_90K // CLOCK_RATE
FILE = "/archive/door/segment_20261122T185000Z.mp4"
CLIP = f"/api/cameras/door/clip.mp4?start={START}&end={START + 5}"
THUMBNAIL = FILE.replace("mp4", "jpg")


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """A gateway without authentication, with 10 s of the door in two files, and the camera ``demo``."""
    data = tmp_path / "data"
    data.mkdir()
    index_of(data, record(data, encode(EncoderSettings(seconds=10)), segment_s=6)).close()
    cameras = {"door": {"url": "fake://door", "engine": "fake", "start": "on-demand", "record": "never"}, **DEMO}
    async with auth_gateway(tmp_path, cameras=cameras, **OFF) as made:
        yield made


@pytest.mark.parametrize("url", [FILE, CLIP, THUMBNAIL])
async def test_ranges_of_every_download(client: Client, url: str) -> None:
    async with client.get(url) as answer:
        data, etag, kind = await answer.read(), answer.headers["ETag"], answer.content_type
        assert answer.headers["Accept-Ranges"] == "bytes"

    async def get(**headers: str) -> tuple[int, bytes]:
        async with client.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}) as each:
            return each.status, await each.read()

    assert await get(Range="bytes=5-9") == (206, data[5:10])
    assert await get(Range="bytes=-7") == (206, data[-7:])
    for ignored in ("lines=1-2", "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 400, 2))):
        assert await get(Range=ignored) == (200, data)
    async with client.get(url, headers={"Range": f"bytes={len(data)}-"}) as answer:
        assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(data)}")
    async with client.get(url, headers={"Range": "bytes=0-9,20-29,-4"}) as answer:
        body = await answer.read()
        boundary = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", answer.headers["Content-Type"])
        assert (answer.status, int(answer.headers["Content-Length"])) == (206, len(body))
        assert boundary is not None
        assert "Content-Range" not in answer.headers
    parts = body.split(f"--{boundary[1]}".encode())
    assert (parts[0], parts[-1]) == (b"", b"--\r\n")
    for part, (start, end) in zip(parts[1:-1], [(0, 10), (20, 30), (len(data) - 4, len(data))], strict=True):
        head = f"\r\nContent-Type: {kind}\r\nContent-Range: bytes {start}-{end - 1}/{len(data)}\r\n\r\n"
        assert part == head.encode() + data[start:end] + b"\r\n"
    # A bomb of overlapping ranges is one range.
    assert await get(Range="bytes=" + ",".join(["0-"] * 64)) == (206, data)
    assert await get(Range="bytes=5-9", If_Range=etag) == (206, data[5:10])
    for stale in ('"other"', f"W/{etag}", "yesterday", formatdate(0, usegmt=True)):
        assert await get(Range="bytes=5-9", If_Range=stale) == (200, data), stale
    # RFC 9110 §13.2.2: conditions come before ranges, and the ETag before the date.
    assert await get(Range="bytes=5-9", If_None_Match=etag) == (304, b"")
    assert await get(If_None_Match=f'"other", W/{etag}') == (304, b"")
    assert await get(Range="bytes=999999999-", If_None_Match="*") == (304, b"")
    assert (await get(Range="bytes=5-9", If_Match='"other"'))[0] == 412
    assert (await get(If_Match=f"W/{etag}"))[0] == 412
    assert await get(Range="bytes=5-9", If_Match=etag) == (206, data[5:10])
    assert await get(Range="bytes=5-9", If_Match=f'"", {etag}') == (206, data[5:10])
    assert (await get(If_None_Match=f", {etag}"))[0] == 304
    async with client.head(url, headers={"Range": "bytes=5-9"}) as answer:
        assert (answer.status, int(answer.headers["Content-Length"])) == (200, len(data)), "only GET has ranges"


@pytest.mark.parametrize("url", [FILE, THUMBNAIL])
async def test_dates_of_files(client: Client, url: str) -> None:
    async with client.get(url) as answer:
        data, modified = await answer.read(), answer.headers["Last-Modified"]
    past = formatdate(parsedate_to_datetime(modified).timestamp() - 60, usegmt=True)
    for headers, status in (
        ({"If-Modified-Since": modified}, 304),
        ({"If-Modified-Since": past}, 200),
        ({"If-Modified-Since": modified, "If-None-Match": '"other"'}, 200),
        ({"If-Unmodified-Since": past}, 412),
        ({"If-Unmodified-Since": past, "If-Match": "*"}, 200),
        ({"Range": "bytes=0-0", "If-Range": past}, 200),
    ):
        async with client.get(url, headers=headers) as answer:
            assert answer.status == status, headers
    folder = client.app[GATEWAY].archive.data_dir
    for file in folder.rglob(f"{Path(url).name}"):
        os.utime(file, (1_000_000_000, 1_000_000_000))
    async with client.get(url, headers={"Range": "bytes=0-3", "If-Range": formatdate(1e9, usegmt=True)}) as answer:
        assert (answer.status, await answer.read()) == (206, data[:4])


STREAMS = [
    FILE,
    CLIP,
    THUMBNAIL,
    f"/hls/door/dvr.m3u8?start={START}&end={START + 9}",
    "/hls/demo/index.m3u8",
    "/hls/demo/live.m3u8",
    "/snapshot/demo.jpg",
    f"/snapshot/door.jpg?at={START + 2}",
    "/mjpeg/demo",
    f"/mjpeg/door?at={START + 1}",
    "/static/player.js",
    "/metrics",
    "/openapi.json",
]


async def test_a_client_that_leaves_costs_no_traceback_and_no_descriptor(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async with client.get("/mjpeg/demo") as answer:  # the camera runs, and threads have what they open once
        await answer.content.readany()
    for url in STREAMS[:4]:
        await (await client.get(url)).read()
    await client.session.close()

    def descriptors() -> set[str]:
        links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
        found = (os.readlink(link) for link in links if os.path.islink(link))
        return {link for link in found if link.endswith((".mp4", ".jpg"))}

    # Other tests of this process may have left files open.
    before = descriptors()
    host, port = client.server.host, client.server.port
    with caplog.at_level(logging.WARNING):
        for url in STREAMS:
            for ranges in ("", "Range: bytes=0-99,200-\r\n"):
                for read, is_reset in ((0, False), (0, True), (1, True), (20_000, False), (20_000, True)):
                    peer = socket.socket()
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    peer.setblocking(False)
                    loop = asyncio.get_running_loop()
                    await loop.sock_connect(peer, (host, port))
                    await loop.sock_sendall(peer, f"GET {url} HTTP/1.1\r\nHost: {host}\r\n{ranges}\r\n".encode())
                    if read:
                        await asyncio.wait_for(loop.sock_recv(peer, read), 60)
                    if is_reset:
                        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    peer.close()
        await eventually(lambda: descriptors() <= before, "every file is closed")
    texts = [record.getMessage() for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
    assert not texts
