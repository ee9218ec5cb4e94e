"""Measure what a well-behaved viewer loses while others abuse the gateway, and what memory they leave behind.

    make bench NAME=abuse ARGS='[--seconds 8] [--only slow_heads,snapshots]'

A gateway of its own records the camera ``demo`` (25 frames a second). One viewer by WebRTC, one by MJPEG, and a client
that opens a connection for each request watch in this process. For each attack of bench/support/attacks.py, which runs
in a process of its own: the longest pause of both viewers and the longest request, the worst lag of the event loop, and
the memory before and some seconds after. The goal is nothing over 200 ms, and memory that is flat. At the end the
gateway is stopped by SIGSTOP for ten seconds, with the viewers on it.
"""

import argparse
import asyncio
import contextlib
import os
import re
import signal
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import psutil

from bench.support import webrtc_load
from bench.support.attack_target import CAMERA
from bench.support.attacks import ATTACKS
from tests.support.gateway_process import GatewayProcess
from tests.support.rtsp import free_port

SETTLE_S = 3.0
FREEZE_S = 10.0

CONFIG = """
[cameras.demo]
url = "fake://demo?width=640&height=360&fps=25&gop=25"
engine = "fake"
record = "always"
frame_rate = 25
"""


class Watch:
    """The viewers, and the longest time that each was without what it wanted, in ms."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pauses: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._webrtc: webrtc_load.Viewer | None = None

    async def start(self) -> None:
        async with aiohttp.ClientSession() as http:
            self._webrtc = await webrtc_load.join(http, f"{self.url}/whep/{CAMERA}")
            await webrtc_load.wait_for_media([self._webrtc])
        self._tasks = [asyncio.create_task(self._mjpeg()), asyncio.create_task(self._requests())]
        await asyncio.sleep(1)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._webrtc is not None:
            await webrtc_load.close([self._webrtc])

    def reset(self) -> None:
        assert self._webrtc is not None
        self.pauses = {"mjpeg": 0.0, "request": 0.0}
        self._webrtc.arrivals.longest_gap_s = 0.0

    def results(self) -> dict[str, float]:
        assert self._webrtc is not None
        gap_s = max(self._webrtc.arrivals.longest_gap_s, time.monotonic() - self._webrtc.arrivals.last_s)
        return {"webrtc": gap_s * 1e3, **self.pauses}

    def _note(self, what: str, seconds: float) -> None:
        self.pauses[what] = max(self.pauses.get(what, 0.0), seconds * 1e3)

    async def _mjpeg(self) -> None:
        last_s = time.monotonic()
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with aiohttp.ClientSession() as http, http.get(f"{self.url}/mjpeg/{CAMERA}") as answer:
                    async for chunk in answer.content.iter_any():
                        if b"X-Sequence" in chunk:
                            self._note("mjpeg", time.monotonic() - last_s)
                            last_s = time.monotonic()
            await asyncio.sleep(0.01)

    async def _requests(self) -> None:
        while True:
            began_s = time.monotonic()
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with aiohttp.ClientSession() as http, http.get(f"{self.url}/health") as answer:
                    await answer.read()
            self._note("request", time.monotonic() - began_s)
            await asyncio.sleep(0.05)


async def lag_ms(url: str) -> float:
    """The worst lag of the event loop since the last call."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as answer:
        found = re.search(r"^liveedge_event_loop_lag_seconds (\S+)", await answer.text(), re.MULTILINE)
    assert found is not None
    return float(found[1]) * 1e3


async def measure(gateway: GatewayProcess, watch: Watch, name: str, seconds: float) -> None:
    process = psutil.Process(gateway.pid)
    before = process.memory_info().rss / 1e6
    await lag_ms(gateway.url)
    await asyncio.sleep(0.5)
    watch.reset()
    cpu_s = sum(process.cpu_times()[:2])
    attacker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.support.attacks", name, gateway.url),
        *(gateway.environment["WEBRTC_UDP_PORT"], str(seconds)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await attacker.communicate()
    results = watch.results()
    cpu = (sum(process.cpu_times()[:2]) - cpu_s) / seconds
    lag = await lag_ms(gateway.url)
    await asyncio.sleep(SETTLE_S)
    after = process.memory_info().rss / 1e6
    row(name, results, lag, cpu, f"{before:.0f} → {after:.0f} MB", out.decode().strip())


async def freeze(gateway: GatewayProcess, watch: Watch) -> None:
    process = psutil.Process(gateway.pid)
    before = process.memory_info().rss / 1e6
    os.kill(gateway.pid, signal.SIGSTOP)
    await asyncio.sleep(FREEZE_S)
    os.kill(gateway.pid, signal.SIGCONT)
    began = time.monotonic()
    assert watch._webrtc is not None
    packets = watch._webrtc.arrivals.packets
    while watch._webrtc.arrivals.packets < packets + 5 and time.monotonic() < began + 20:
        await asyncio.sleep(0.01)
    back_ms = (time.monotonic() - began) * 1e3
    await asyncio.sleep(1)
    watch.reset()
    await asyncio.sleep(3)
    after = process.memory_info().rss / 1e6
    row("SIGSTOP for 10 s", watch.results(), 0.0, 0.0, f"{before:.0f} → {after:.0f} MB", f"back after {back_ms:.0f} ms")


def row(name: str, results: dict[str, float], lag: float, cpu: float, memory: str, note: str) -> None:
    """One line of a table in Markdown."""
    pauses = " | ".join(f"{results[each]:.0f}" for each in ("webrtc", "mjpeg", "request"))
    print(f"| {name} | {pauses} | {lag:.0f} | {cpu:.2f} | {memory} | {note} |", flush=True)


async def main(options: argparse.Namespace) -> None:
    names = options.only.split(",") if options.only else [*ATTACKS]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "liveedge.toml").write_text(CONFIG)
        gateway = GatewayProcess(Path(folder), ARCHIVE_SEGMENT_SECONDS=10, WEBRTC_UDP_PORT=free_port())
        with gateway:
            gateway.wait_for_state("live", CAMERA)
            watch = Watch(gateway.url)
            await watch.start()
            print("| attack | WebRTC, ms | MJPEG, ms | request, ms | lag, ms | CPU | memory | answers |")
            print("|---|---|---|---|---|---|---|---|")
            for name in names:
                if name in ATTACKS:
                    await measure(gateway, watch, name, options.seconds)
            if not options.only or "freeze" in names:
                await freeze(gateway, watch)
            await watch.stop()
            print(f"log: {len(gateway.log())} bytes, {gateway.log().count('Traceback')} tracebacks")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8, help="how long each attack lasts")
    parser.add_argument("--only", default="", help="attacks, or freeze, with commas; all by default")
    asyncio.run(main(parser.parse_args()))
