"""Measure what many LL-HLS players of one camera cost, and how soon each gets a new part.

    make bench NAME=hls_load ARGS='[--players 200] [--seconds 20] [--kilobits 2000]'

Players request as much as hls.js: a blocking playlist reload with delta updates, and the hinted part at the same time,
over two persistent connections. They run in their own process and speak just enough HTTP. The gateway's CPU is that of
its whole process; the camera's packets are made beforehand and cost almost nothing. A part exists when the live window
has it; both processes read the same monotonic clock.

``MEDIAMTX=path`` measures something else: the CPU per request of a whole gateway and of that MediaMTX, in turns of
``--seconds``, ``--rounds`` each, with the same RTSP camera and the same players.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import psutil

from bench.support.padded_source import ENGINE, PaddedSource
from hls.live.segment import LivePart
from hls.live.segment_buffer import SegmentBuffer
from tests.support.gateway_process import GatewayProcess
from tests.support.hls_server import hls_server, source_camera
from tests.support.rtsp import RtspServer, free_port

_HINT = re.compile(rb'PRELOAD-HINT:TYPE=PART,URI="([^"]+)"')
_MEDIA_SEQUENCE = re.compile(rb"MEDIA-SEQUENCE:(\d+)")
_LENGTH = re.compile(rb"Content-Length: (\d+)")
_LOCATION = re.compile(rb"Location: (\S+)")
_COOKIE = re.compile(rb"Set-Cookie: ([^;\r]+)")


async def serve(kilobits: int) -> None:
    """The gateway's part: print its address, and at the end when each part existed and the CPU time."""
    PaddedSource.bits_per_s = kilobits * 1000
    exists: dict[str, float] = {}
    add_part = SegmentBuffer.add_part

    def record_time(buffer: SegmentBuffer, part: LivePart) -> None:
        add_part(buffer, part)
        exists[part.name] = time.monotonic()

    SegmentBuffer.add_part = record_time  # type: ignore[assignment,method-assign]
    camera = source_camera("packets://gop=30", engine=ENGINE)
    async with hls_server({"yard": camera}) as server:
        await server.live.multivariant_playlist("yard")
        print(json.dumps({"url": server.url}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(json.dumps(exists), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


class Connection:
    """One persistent HTTP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.cookie = ""

    async def get(self, path: str) -> tuple[int, bytes]:
        cookie = f"Cookie: {self.cookie}\r\n" if self.cookie else ""
        self._writer.write(
            f"GET {path} HTTP/1.1\r\nHost: gateway\r\n{cookie}Accept-Encoding: identity\r\n\r\n".encode()
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        if (set_cookie := _COOKIE.search(head)) is not None:
            self.cookie = set_cookie[1].decode()
        if (location := _LOCATION.search(head)) is not None:
            return await self.get(location[1].decode())
        found = _LENGTH.search(head)
        if found is None and b"chunked" in head.lower():
            return int(head[9:12]), await self._chunks()
        body = await self._reader.readexactly(int(found[1])) if found is not None else b""
        return int(head[9:12]), body

    async def _chunks(self) -> bytes:
        body = b""
        while (size := int(await self._reader.readline(), 16)) > 0:
            body += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return body


async def play(
    host: str,
    port: int,
    until_s: float,
    arrivals: list[tuple[str, float]],
    refusals: list[int],
    folder: str = "/hls/yard/",
) -> None:
    """One player of the camera in ``folder``."""
    playlists = Connection(*await asyncio.open_connection(host, port))
    media = Connection(*await asyncio.open_connection(host, port))
    _, text = await playlists.get(f"{folder}index.m3u8")
    media.cookie = playlists.cookie
    name = next(line for line in text.decode().splitlines() if line and not line.startswith("#"))
    live, query = f"{folder}{name.partition('?')[0]}", f"{name.partition('?')[2]}&".lstrip("&")
    _, text = await playlists.get(f"{live}?{query}")
    while time.monotonic() < until_s:
        hint = _hint(text)
        msn, part = _next(text)
        (status, text), (got, _) = await asyncio.gather(
            playlists.get(f"{live}?{query}_HLS_msn={msn}&_HLS_part={part}&_HLS_skip=YES"),
            _timed(media, folder, hint, arrivals),
        )
        refusals.extend(each for each in (status, got) if each != 200)
        if status != 200:
            return


async def _timed(media: Connection, folder: str, name: str, arrivals: list[tuple[str, float]]) -> tuple[int, bytes]:
    answer = await media.get(f"{folder}{name}")
    arrivals.append((name, time.monotonic()))
    return answer


def _hint(text: bytes) -> str:
    found = _HINT.search(text)
    assert found is not None
    return found[1].decode()


def _next(text: bytes) -> tuple[int, int]:
    """Media sequence and part number of the next part."""
    first = _MEDIA_SEQUENCE.search(text)
    assert first is not None
    skipped = re.search(rb"SKIPPED-SEGMENTS=(\d+)", text)
    whole, _, tail = text.rpartition(b"#EXTINF")
    done = whole.count(b"#EXTINF") + bool(whole) + (int(skipped[1]) if skipped else 0)
    return int(first[1]) + done, tail.count(b"#EXT-X-PART:")


def quantile(values: list[float], part: float) -> float:
    """A quantile of sorted values."""
    return values[min(len(values) - 1, int(part * len(values)))]


async def load(
    url: str, players: int, seconds: float, folder: str = "/hls/yard/"
) -> tuple[list[tuple[str, float]], list[int]]:
    """Run all players; return the arrivals of parts, and the answers that were not 200."""
    host, _, port = url.removeprefix("http://").partition(":")
    arrivals: list[tuple[str, float]] = []
    refusals: list[int] = []
    until_s = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for _ in range(players):
            group.create_task(play(host, int(port), until_s, arrivals, refusals, folder))
    return arrivals, refusals


def compare(mediamtx: str, players: int, seconds: float, rounds: int) -> None:
    """Print the CPU per request of both servers, in turns."""
    with tempfile.TemporaryDirectory() as folder, RtspServer() as camera, ExitStack() as stack:
        url = camera.url("/gop1")
        settings = {"RTSP_URL": url, "RECORD": "never", "START": "always", "CONNECTIONS_PER_ADDRESS": 4 * players}
        gateway = stack.enter_context(GatewayProcess(Path(folder), **settings))
        port = free_port()
        path = Path(folder) / "mediamtx.yml"
        path.write_text(
            f"logLevel: error\nrtsp: no\nrtmp: no\nwebrtc: no\nsrt: no\nmoq: no\nhlsAddress: 127.0.0.1:{port}\n"
            "hlsAlwaysRemux: yes\nhlsPartDuration: 200ms\npaths:\n  yard:\n"
            f"    source: {url}\n    rtspTransport: tcp\n"
        )
        peer = stack.enter_context(subprocess.Popen([mediamtx, str(path)], cwd=folder, stdout=subprocess.DEVNULL))
        stack.callback(peer.terminate)
        time.sleep(10)
        servers = {
            "liveedge": (gateway.pid, gateway.url, "/hls/default/"),
            "MediaMTX": (peer.pid, f"http://127.0.0.1:{port}", "/yard/"),
        }
        costs_us: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(rounds):
            for name, (pid, address, place) in servers.items():
                before_s = cpu_s(pid)
                arrivals, refusals = asyncio.run(load(address, players, seconds, place))
                requests = max(1, 2 * len(arrivals))
                costs_us[name].append((cpu_s(pid) - before_s) / requests * 1e6)
                if refusals:
                    print(f"{name}: {len(refusals)} answers were not 200: {set(refusals)}")
        for name, costs in costs_us.items():
            each = " ".join(f"{cost:.0f}" for cost in costs)
            print(f"{name:10} {players} players: median {median(costs):.0f} µs of CPU a request; {each}")


def cpu_s(pid: int) -> float:
    """CPU time of a process, in seconds. The kernel's ticks, which psutil has, are too coarse for some seconds."""
    times = [(path / "schedstat").read_text().split()[0] for path in Path(f"/proc/{pid}/task").iterdir()]
    return sum(map(int, times)) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=4, help="how often each server has its turn, with MEDIAMTX")
    parser.add_argument("--kilobits", type=int, default=2000, help="the camera's bit rate, kbit/s")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.kilobits))
        return
    if mediamtx := os.environ.get("MEDIAMTX"):
        compare(mediamtx, options.players, options.seconds, options.rounds)
        return
    command = [sys.executable, "-m", "bench.hls_load", "--serve", "--kilobits", str(options.kilobits)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    watched = psutil.Process(process.pid)
    before, began_s = watched.cpu_times(), time.monotonic()
    arrivals, refusals = asyncio.run(load(url, options.players, options.seconds))
    after, took_s = watched.cpu_times(), time.monotonic() - began_s
    memory = watched.memory_info().rss
    process.stdin.write("\n")
    process.stdin.flush()
    exists: dict[str, float] = json.loads(process.stdout.readline())
    process.stdin.close()
    process.wait(10)
    late_ms = sorted((at_s - exists[name]) * 1000 for name, at_s in arrivals if name in exists)
    cpu = (after.user + after.system - before.user - before.system) / took_s
    print(f"{options.players} players, {options.kilobits} kbit/s, {took_s:.0f} s, {len(arrivals)} parts delivered")
    print(f"gateway: {cpu:.0%} of a core, {memory / 1e6:.0f} MB; {len(refusals)} answers were not 200 {set(refusals)}")
    print(
        "a part after it exists: " + ", ".join(f"p{p * 100:g} {quantile(late_ms, p):.1f} ms" for p in (0.5, 0.95, 0.99))
    )


if __name__ == "__main__":
    main()
