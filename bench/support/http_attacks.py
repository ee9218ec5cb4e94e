"""Attacks by HTTP: slow or many connections, and requests that cost something. See :mod:`bench.support.attacks`."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from bench.support.attack_target import CAMERA, Target


async def nothing(target: Target) -> None:
    """Only the viewers."""
    await asyncio.sleep(target.ends_s - time.monotonic())


async def connections(target: Target, n: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """One connection after the other, for as long as the attack goes on."""
    while target.goes_on:
        opened = await target.connect(n)
        if opened is None:
            await asyncio.sleep(1)
            continue
        target.counts["connections"] += 1
        yield opened


async def slow_heads(target: Target) -> None:
    """2,000 connections that send a head byte by byte, half of them after a complete request."""

    async def one(n: int) -> None:
        async for reader, writer in connections(target, n):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if n % 2:
                    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    await reader.readuntil(b"}")
                while target.goes_on and not reader.at_eof():
                    writer.write(b"G")
                    await writer.drain()
                    await asyncio.sleep(1)
            writer.close()

    await asyncio.gather(*(one(n) for n in range(2000)))


async def slow_readers(target: Target) -> None:
    """200 connections that request the player's script again and again and read nothing."""
    opened = [await target.connect(n) for n in range(200)]
    writers = [pair[1] for pair in opened if pair is not None]
    request = b"GET /mjpeg/demo HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for writer in writers:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(request)
        target.counts["connections"] += 1
    await asyncio.sleep(max(0.0, target.ends_s - time.monotonic()))
    for writer in writers:
        writer.transport.abort()


async def snapshots(target: Target) -> None:
    """Snapshots of ever new widths."""
    await target.repeat("GET", lambda n: f"/snapshot/{CAMERA}.jpg?width={16 + n % 7000}", 64)


async def mjpeg_widths(target: Target) -> None:
    """60 MJPEG streams of 60 widths above the camera's, and 60 below."""
    await target.repeat("GET", lambda n: f"/mjpeg/{CAMERA}?frame_rate=60&width={16 + 31 * n}", 120)


async def capture_clients(target: Target) -> None:
    """Starts of the capture with ever new client ids."""

    numbers = itertools.count()

    async def one(n: int) -> None:
        async with target.http(n) as http:
            while target.goes_on:
                body = {"client_id": f"new-{next(numbers)}", "metadata": {"x": "y" * 7000}}
                async with http.post(f"/api/cameras/{CAMERA}/capture/start", json=body) as answer:
                    await answer.read()
                    target.counts[str(answer.status)] += 1

    await asyncio.gather(*(one(n) for n in range(16)))


async def hls_reloads(target: Target) -> None:
    """Reloads of the playlist: plain ones, far ahead, and just ahead, which wait."""
    paths = ["live.m3u8", "live.m3u8?_HLS_msn=99999999", "live.m3u8?_HLS_skip=YES", "index.m3u8"]
    await target.repeat("GET", lambda n: f"/hls/{CAMERA}/{paths[n % len(paths)]}", 32)


async def ranges(target: Target) -> None:
    """Requests for hundreds of ranges of recordings, and for single bytes."""
    async with target.http() as http, http.get(f"/api/cameras/{CAMERA}/segments") as answer:
        names = [each["id"] for each in (await answer.json())["segments"]]
    header = "bytes=" + ",".join(f"{n}-{n + 1}" for n in range(0, 1200, 2))
    path = f"/archive/{CAMERA}/{names[0]}.mp4"
    await asyncio.gather(
        target.repeat("GET", lambda _: path, 8, headers={"Range": header[:8000]}),
        target.repeat("GET", lambda _: path, 8, headers={"Range": "bytes=-1"}),
    )


async def clips(target: Target) -> None:
    """Clips of 24 hours (refused) and of two hours, and playlists of a day."""
    now = datetime.now(UTC)

    def path(n: int) -> str:
        hours = (24, 2)[n % 2]
        start = (now - timedelta(hours=hours, seconds=-1)).isoformat().replace("+00:00", "Z")
        end = now.isoformat().replace("+00:00", "Z")
        if n % 3 == 2:
            return f"/hls/{CAMERA}/dvr.m3u8?start={start}"
        return f"/api/cameras/{CAMERA}/clip.mp4?start={start}&end={end}"

    await target.repeat("GET", path, 32)


async def scrapes(target: Target) -> None:
    """Scrapes of /metrics and requests for the status."""
    await target.repeat("GET", lambda n: ("/metrics", "/api/status", "/api/cameras")[n % 3], 16)


async def lingering(target: Target) -> None:
    """1,000 connections whose request was answered, and whose body never comes; each opened again when it is closed."""

    async def one(n: int) -> None:
        async for reader, writer in connections(target, n):
            writer.write(b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(max(0.0, target.ends_s - time.monotonic())):
                    while await reader.read(65536):
                        pass
            writer.close()

    await asyncio.gather(*(one(n) for n in range(1000)))


async def replays(target: Target) -> None:
    """64 MJPEG streams of a recording, of many widths, 60 frames a second."""
    at = (datetime.now(UTC) - timedelta(seconds=8)).isoformat().replace("+00:00", "Z")
    await target.repeat("GET", lambda n: f"/mjpeg/{CAMERA}?at={at}&frame_rate=60&width={16 + 31 * (n % 60)}", 64)


async def recorded_pictures(target: Target) -> None:
    """Snapshots of ever new moments, and thumbnails."""
    now = datetime.now(UTC)
    async with target.http() as http, http.get(f"/api/cameras/{CAMERA}/segments") as answer:
        names = [each["id"] for each in (await answer.json())["segments"]]

    def path(n: int) -> str:
        if n % 4 == 0:
            return f"/archive/{CAMERA}/{names[n // 4 % len(names)]}.jpg"
        at = (now - timedelta(milliseconds=10 * (n % 600))).isoformat().replace("+00:00", "Z")
        return f"/snapshot/{CAMERA}.jpg?at={at}&width={16 + n % 7000}"

    await target.repeat("GET", path, 64)
