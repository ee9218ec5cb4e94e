"""Measure JPEG frames over Socket.IO: their latency, and their cost beside a simple implementation.

    make bench NAME=frames ARGS='[--seconds 10]'

The simple implementation is ``cv2.VideoCapture``, ``cv2.imencode`` of each frame that is due, and ``emit`` to each
client. Each server runs in its own process, whose CPU time is measured; the clients are real, in this process. CPU is
compared on an RTSP camera (1280x720, 30 fps). Latency is from the clock in the picture of the ``fake`` camera to the
arrival of the whole JPEG at the client. Camera, gateway and clients share a machine, and so its clock.
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import socketio
from aiohttp import web

from gateway.capture.engines import timecode
from gateway.service import CaptureService
from signaling.browser import BrowserSignaling
from web.settings import load_settings

WARM_UP_S = 3.0
FRAME = "video_frame_from_service"


# --- the two servers


async def serve(app: web.Application) -> None:
    """Serve until standard input ends; print the port."""
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    # Threads inside FFmpeg do not end cleanly.
    os._exit(0)


async def serve_liveedge(url: str, fps: float) -> None:
    engine = "fake" if url.startswith("fake:") else "auto"
    settings = load_settings(frame_rate=fps, start="on-demand", record="never")
    service = CaptureService({"default": settings.camera("default", {"url": url, "engine": engine})})
    app = web.Application()
    BrowserSignaling(settings, service).attach(app)
    await serve(app)


async def serve_simple(url: str, fps: float) -> None:
    server = socketio.AsyncServer(async_mode="aiohttp")
    loop = asyncio.get_running_loop()

    def capture(sid: str) -> None:
        camera = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
        due = time.monotonic()
        while camera.isOpened():
            ok, picture = camera.read()
            now = time.monotonic()
            if ok and now >= due - 0.005:
                due = max(due + 1 / fps, now - 1 / fps)
                _, data = cv2.imencode(".jpg", picture)
                asyncio.run_coroutine_threadsafe(server.emit(FRAME, {"frame_data": data.tobytes()}, to=sid), loop)

    def connect(sid: str, *_: object) -> None:
        threading.Thread(target=capture, args=(sid,), daemon=True).start()

    server.on("connect", connect)
    app = web.Application()
    server.attach(app)
    await serve(app)


# --- the clients


@contextlib.contextmanager
def child(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process, and its first line of output. It ends when its standard input closes."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.communicate()


class Receiver:
    """One client that counts frames. With ``reads_clock`` it reads the time in each picture."""

    def __init__(self, *, reads_clock: bool) -> None:
        self.frames = 0
        self.late_ms: list[float] = []
        self._reads_clock = reads_clock
        # The client offers compression, like browsers and the official client. A server that accepts it pays for it.
        offer = {"compress": 15}
        self._client = socketio.AsyncClient(handle_sigint=False, reconnection=False, websocket_extra_options=offer)
        self._client.on(FRAME, self._on_frame)

    async def start(self, port: str, *, subscribe: bool) -> None:
        await self._client.connect(f"http://127.0.0.1:{port}", transports=["websocket"], wait_timeout=10)
        if subscribe:
            await self._client.call("frames_subscribe", {}, timeout=20)

    async def stop(self) -> None:
        await self._client.disconnect()

    def _on_frame(self, frame: dict[str, Any]) -> None:
        now_ms = time.time() * 1000
        self.frames += 1
        if self._reads_clock:
            luma = cv2.imdecode(np.frombuffer(frame["frame_data"], np.uint8), cv2.IMREAD_GRAYSCALE)
            made_ms = timecode.read(luma)  # type: ignore[arg-type]
            if made_ms is not None:
                self.late_ms.append(now_ms - made_ms)


@contextlib.asynccontextmanager
async def receivers(port: str, count: int, *, subscribe: bool, reads_clock: bool) -> AsyncIterator[list[Receiver]]:
    made = [Receiver(reads_clock=reads_clock and number == 0) for number in range(count)]
    for receiver in made:
        await receiver.start(port, subscribe=subscribe)
    try:
        yield made
    finally:
        for receiver in made:
            await receiver.stop()


async def measure(
    role: str, url: str, fps: float, count: int, seconds: float, *, reads_clock: bool = False
) -> tuple[float, float, list[float]]:
    """CPU of the server (of one core), frames a second at each client, and latencies of one client in ms."""
    with child(sys.executable, "-m", "bench.frames", "--role", role, "--url", url, "--fps", str(fps)) as (
        process,
        port,
    ):
        async with receivers(port, count, subscribe=role == "liveedge", reads_clock=reads_clock) as clients:
            await asyncio.sleep(WARM_UP_S)
            for client in clients:
                client.frames, client.late_ms = 0, []
            server = psutil.Process(process.pid)
            before, began = server.cpu_times(), time.monotonic()
            await asyncio.sleep(seconds)
            after, took = server.cpu_times(), time.monotonic() - began
            cpu = (after.user + after.system - before.user - before.system) / took
            return cpu, sum(client.frames for client in clients) / count / took, clients[0].late_ms


async def main(seconds: float) -> None:
    print("CPU, 1280x720 at 30 fps from RTSP")
    with child("/usr/bin/python3", str(Path(__file__).parent / "support" / "rtsp_camera.py")) as (_, url):
        for fps in (10.0, 30.0):
            for count, goal in ((1, 0.5), (20, 0.1)):
                cpu, rate, _ = await measure("liveedge", url, fps, count, seconds)
                simple_cpu, simple_rate, _ = await measure("simple", url, fps, count, seconds)
                frame_ms = 1000 * cpu / rate / count
                simple_ms = 1000 * simple_cpu / simple_rate / count
                print(
                    f"  {fps:2.0f} fps, {count:2d} clients: a delivered frame takes {frame_ms:.2f} ms of CPU, in the"
                    f" simple implementation {simple_ms:.2f} ms: {frame_ms / simple_ms:.2f} x (goal {goal} x);"
                    f" of a core {cpu:.0%} and {simple_cpu:.0%};"
                    f" frames/s at each client {rate:.1f} and {simple_rate:.1f}",
                    flush=True,
                )
    print("latency, from the clock in the picture to the client (goal: p95 of 150 ms)")
    for fps in (10.0, 30.0):
        for count in (1, 20):
            camera = "fake://clock?width=1280&height=720&fps=30"
            _, _, late = await measure("liveedge", camera, fps, count, seconds, reads_clock=True)
            p50, p95 = (float(value) for value in np.quantile(late, (0.5, 0.95)))
            print(f"  {fps:2.0f} fps, {count:2d} clients: p50 {p50:.0f} ms, p95 {p95:.0f} ms", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--role", choices=("liveedge", "simple"), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--fps", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        asyncio.run((serve_liveedge if options.role == "liveedge" else serve_simple)(options.url, options.fps))
    else:
        asyncio.run(main(options.seconds))
