"""Attacks by cameras: many, unreachable ones, and ones that flood. See :mod:`bench.support.attacks`."""

import asyncio
import contextlib
import functools
import itertools
import re
import time

from bench.support.attack_target import Target


async def cameras(target: Target) -> None:
    """Cameras added and removed, as fast as it goes."""
    async with target.http() as http:
        for n in itertools.count():
            if not target.goes_on:
                return
            camera = {"camera_id": f"new{n}", "url": "rtsp://127.0.0.1:9/", "record": "never"}
            async with http.post("/api/cameras", json=camera) as answer:
                target.counts[str(answer.status)] += 1
            async with http.delete(f"/api/cameras/new{n}") as answer:
                target.counts[str(answer.status)] += 1


async def unreachable(target: Target) -> None:
    """150 cameras that are always on: half refuse the connection, half accept it and answer nothing."""
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with target.http() as http:
        for n in range(150):
            camera = {"camera_id": f"away{n}", "url": f"rtsp://127.0.0.1:{(9, port)[n % 2]}/", "start": "always"}
            async with http.post("/api/cameras", json=camera) as answer:
                target.counts[str(answer.status)] += 1
        await asyncio.sleep(max(0.0, target.ends_s - time.monotonic()))
        for n in range(150):
            async with http.delete(f"/api/cameras/away{n}") as answer:
                target.counts[str(answer.status)] += 1
    silent.close()


async def talkative_cameras(target: Target) -> None:
    """Two cameras that send answers and requests of RTSP without end, and no video."""
    floods = (b"RTSP/1.0 100 Continue\r\nCSeq: NUMBER\r\n\r\n" * 100, b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n" * 100)

    async def serve(flood: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target.counts["connections"] += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            number = re.findall(rb"CSeq: (\d+)", await reader.readuntil(b"\r\n\r\n"))
            while target.goes_on:
                writer.write(flood.replace(b"NUMBER", number[0]))
                await writer.drain()
        writer.close()

    async with contextlib.AsyncExitStack() as stack, target.http() as http:
        for n, flood in enumerate(floods):
            server = await asyncio.start_server(functools.partial(serve, flood), "127.0.0.1", 0)
            stack.callback(server.close)
            url = f"rtsp://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            camera = {"camera_id": f"talk{n}", "url": url, "start": "always", "capture_engine": "rtsp"}
            async with http.post("/api/cameras", json=camera) as answer:
                target.counts[str(answer.status)] += 1
        await asyncio.sleep(max(0.0, target.ends_s - time.monotonic()))
        for n in range(len(floods)):
            async with http.delete(f"/api/cameras/talk{n}") as answer:
                target.counts[str(answer.status)] += 1
