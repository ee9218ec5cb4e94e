"""Run a gateway for hours: viewers come and go on every transport, cameras flap, segments rotate all the time.

    make bench NAME=soak ARGS='[--minutes 40] [--viewers 2]'

The gateway is a process; the viewers are in this one. One camera is steady, one hangs up every few seconds, one is
unreachable. All that send are recorded in segments of a few seconds, of which retention deletes the oldest. On each
transport some viewers come, watch for a while and leave, without end. Every few seconds the gateway's resources are
sampled, and the latency of pictures on arrival. At the end each series has a slope (Theil-Sen, which outliers do not
move) over the time after the warm-up, and a verdict: flat if the growth is within the allowance for noise.
"""

import argparse
import asyncio
import contextlib
import random
import re
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations
from pathlib import Path
from unittest.mock import patch

import aiohttp
import psutil
import socketio
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.support.gateway_process import GatewayProcess

SAMPLE_S = 5.0

WARM_UP_S = 300.0
"""Not counted: caches fill, and so do the live windows and the space that retention allows."""

WARM_UP_MAX = 0.4
"""Of a run."""

SAMPLES_MAX = 400
"""For the slope, which compares all pairs. Of more samples, adjacent ones are averaged."""

WATCH_S = (1.0, 8.0)
"""How long a viewer stays, in seconds."""

CONFIG = """
[cameras.steady]
url = "fake://steady?width=640&height=360&fps=15"
engine = "fake"

[cameras.flapping]
url = "faulty://flapping?flap=4"
engine = "tests.support.fault_injection:FaultyEngine"
connection_retry_attempts = 1000
connection_retry_delay = 0.3

[cameras.dead]
url = "rtsp://127.0.0.1:9/"
"""

ALLOWED = {"rss_mb": 5.0, "threads": 4.0, "descriptors": 4.0, "tasks": 6.0}
"""Growth that is noise: the resources of a viewer more or less at the moment of the sample. Thread pools (6 of the
event loop, 4 writers, 2 decoders) start another thread when all are busy, and so fill up over hours."""

LATENCY_ALLOWED = 30.0
"""ms: the machine does other things, too."""


@dataclass
class Record:
    """The samples: ``series`` by name as (seconds, value), and the latencies since the last sample."""

    series: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    late_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    viewers: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


RunViewer = Callable[[GatewayProcess, aiohttp.ClientSession, str, float, Record], Awaitable[None]]


async def whep(
    gateway: GatewayProcess, http: aiohttp.ClientSession, camera: str, watch_s: float, record: Record
) -> None:
    """A WebRTC viewer that decodes. It measures the time from the offer to the first picture."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        peer.addTransceiver("video", direction="recvonly")
        with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
            await peer.setLocalDescription(await peer.createOffer())
        began = time.monotonic()
        headers = {"Content-Type": "application/sdp"}
        async with http.post(f"{gateway.url}/whep/{camera}", data=peer.localDescription.sdp, headers=headers) as reply:
            reply.raise_for_status()
            answer, location = await reply.text(), reply.headers["Location"]
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        track = peer.getReceivers()[0].track
        async with asyncio.timeout(20):
            await track.recv()
        record.late_ms["whep first picture"].append((time.monotonic() - began) * 1000)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(watch_s):
                while True:
                    await track.recv()
        # Half of them close the connection, half vanish.
        if random.random() < 0.5:
            async with http.delete(f"{gateway.url}{location}"):
                pass
    finally:
        await peer.close()


_PDT = re.compile(r"#EXT-X-PROGRAM-DATE-TIME:(\S+)")
_PART = re.compile(r"#EXT-X-PART:DURATION=([0-9.]+)")


async def hls(
    gateway: GatewayProcess, http: aiohttp.ClientSession, camera: str, watch_s: float, record: Record
) -> None:
    """An LL-HLS player with blocking reloads that fetches each part. It measures the age of a part's last picture."""
    base = f"{gateway.url}/hls/{camera}/"
    async with http.get(base + "index.m3u8") as reply:
        reply.raise_for_status()
        name = next(line for line in (await reply.text()).splitlines() if line and not line.startswith("#"))
    async with http.get(base + name) as reply:
        text = await reply.text()
    until = time.monotonic() + watch_s
    while time.monotonic() < until:
        segments, _, tail = text.rpartition("#EXTINF")
        first = re.search(r"MEDIA-SEQUENCE:(\d+)", text)
        assert first is not None
        msn = int(first[1]) + segments.count("#EXTINF") + bool(segments)
        query = {"_HLS_msn": str(msn), "_HLS_part": str(tail.count("#EXT-X-PART:"))}
        async with http.get(base + name, params=query) as reply:
            reply.raise_for_status()
            text = await reply.text()
            arrived = time.time()
        at = _PDT.findall(text)[-1]
        open_segment = text[text.rindex(at) :]
        end = datetime.fromisoformat(at).timestamp() + sum(map(float, _PART.findall(open_segment)))
        record.late_ms["hls part"].append((arrived - end) * 1000)
        hinted = re.search(r'PRELOAD-HINT:TYPE=PART,URI="([^"]+)"', text)
        if hinted is not None:
            async with http.get(base + hinted[1]) as reply:
                await reply.read()


async def mjpeg(
    gateway: GatewayProcess, http: aiohttp.ClientSession, camera: str, watch_s: float, record: Record
) -> None:
    """An MJPEG viewer. It measures the age of its pictures."""
    async with http.get(f"{gateway.url}/mjpeg/{camera}") as reply:
        reply.raise_for_status()
        until = time.monotonic() + watch_s
        with contextlib.suppress(TimeoutError):
            while time.monotonic() < until:
                async with asyncio.timeout(5):  # a flapping camera may be away
                    line = await reply.content.readline()
                if not line:
                    return
                if line.startswith(b"X-Captured-At: "):
                    captured = datetime.fromisoformat(line.split(b" ")[1].strip().decode()).timestamp()
                    record.late_ms["mjpeg"].append((time.time() - captured) * 1000)


async def browser(
    gateway: GatewayProcess, http: aiohttp.ClientSession, camera: str, watch_s: float, record: Record
) -> None:
    """A Socket.IO client that receives frames. It measures their age."""
    client = socketio.AsyncClient(reconnection=False, handle_sigint=False)

    async def frame(data: dict[str, object]) -> bool:
        metadata = data["metadata"]
        assert isinstance(metadata, dict)
        captured = datetime.fromisoformat(metadata["timestamp"]).timestamp()
        record.late_ms["socket.io"].append((time.time() - captured) * 1000)
        return True

    client.on("video_frame_from_service", frame)
    try:
        await client.connect(gateway.url, wait_timeout=20)
        await client.call("frames_subscribe", {"camera_id": camera}, timeout=20)
        await asyncio.sleep(watch_s)
    finally:
        await client.disconnect()


async def archive(gateway: GatewayProcess, http: aiohttp.ClientSession, camera: str, watch_s: float, _: Record) -> None:
    """A user of the archive: pages, a thumbnail, a download, a clip, a replay."""
    api = f"{gateway.url}/api/cameras/{camera}"
    async with http.get(api + "/segments", params={"limit": "20"}) as reply:
        reply.raise_for_status()
        segments = (await reply.json())["segments"]
    if not segments:
        return
    segment = random.choice(segments[len(segments) // 2 :])
    paths = [segment["url"], segment["thumbnail"], f"/hls/{camera}/dvr.m3u8"]
    paths.append(f"/api/cameras/{camera}/clip.mp4?start={segment['start']}&end={segment['end']}".replace("+", "%2B"))
    for path in paths:
        async with http.get(gateway.url + path) as reply:
            await reply.read()
            # Retention deletes the oldest meanwhile: a 404 is no failure.
            if reply.status >= 500 and reply.status != 503:
                raise RuntimeError(f"{reply.status} for {path}")
    await asyncio.sleep(watch_s / 4)


VIEWERS: dict[str, RunViewer] = {"whep": whep, "hls": hls, "mjpeg": mjpeg, "socket.io": browser, "archive": archive}


async def run_viewers(
    name: str, gateway: GatewayProcess, http: aiohttp.ClientSession, record: Record, until: float
) -> None:
    """Run one viewer after the other on a transport."""
    while time.monotonic() < until:
        camera = random.choices(["steady", "flapping", "dead"], [6, 4, 1])[0]
        try:
            await VIEWERS[name](gateway, http, camera, random.uniform(*WATCH_S), record)
            record.viewers[name] += 1
        except Exception as error:
            # For a camera that is away or unreachable, a refusal is right.
            if camera == "steady":
                record.failures[f"{name}: {type(error).__name__} {str(error)[:100]}"] += 1
            await asyncio.sleep(1)


async def sample(gateway: GatewayProcess, http: aiohttp.ClientSession, record: Record, until: float) -> None:
    """Sample the gateway's resources every few seconds."""
    process, began = psutil.Process(gateway.pid), time.monotonic()
    while time.monotonic() < until:
        await asyncio.sleep(SAMPLE_S)
        async with http.get(gateway.url + "/metrics") as reply:
            metrics = dict(re.findall(r"^(liveedge_\w+) (\S+)$", await reply.text(), re.MULTILINE))
        now_s = time.monotonic() - began
        values = {
            "rss_mb": process.memory_info().rss / 1e6,
            "threads": process.num_threads(),
            "descriptors": process.num_fds(),
            "tasks": float(metrics["liveedge_tasks"]),
        }
        for name, late in record.late_ms.items():
            if late:
                values[f"{name}, ms"] = statistics.median(late)
                late.clear()
        for name, value in values.items():
            record.series[name].append((now_s, value))


def theil_sen(points: list[tuple[float, float]]) -> float:
    """The median of the slopes between all pairs of points."""
    if len(points) > SAMPLES_MAX:
        step = -(-len(points) // SAMPLES_MAX)
        groups = [points[at : at + step] for at in range(0, len(points), step)]
        points = [(statistics.fmean(x for x, _ in group), statistics.median(y for _, y in group)) for group in groups]
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1]
    return statistics.median(slopes) if slopes else 0.0


def report(record: Record) -> bool:
    """Print slopes and verdicts. True if all is flat and every viewer was served."""
    print("viewers:", ", ".join(f"{name} {count}" for name, count in record.viewers.items()))
    for failure, count in record.failures.most_common(10):
        print(f"  failed {count} times: {failure}")
    print(f"{'':22}{'first':>9}{'median':>9}{'last':>9}{'slope/h':>10}{'growth':>9}")
    all_flat = True
    for name, points in record.series.items():
        warm_up_s = min(WARM_UP_S, points[-1][0] * WARM_UP_MAX)
        steady = [point for point in points if point[0] >= warm_up_s]
        if len(steady) < 3:
            continue
        slope = theil_sen(steady)
        growth = slope * (steady[-1][0] - steady[0][0])
        values = [value for _, value in steady]
        middle = statistics.median(values)
        scatter = statistics.median(abs(value - middle) for value in values)
        is_flat = growth <= max(ALLOWED.get(name, LATENCY_ALLOWED), 2 * scatter)
        all_flat &= is_flat
        print(
            f"{name:22}{values[0]:9.1f}{middle:9.1f}{values[-1]:9.1f}{slope * 3600:10.1f}{growth:9.1f}"
            f"  {'flat' if is_flat else 'NOT FLAT'}"
        )
    return all_flat and not record.failures


async def soak(minutes: float, viewers: int, csv: Path | None = None) -> bool:
    """Run it all; true if everything was flat."""
    record = Record()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "liveedge.toml").write_text(CONFIG)
        settings = {"ARCHIVE_SEGMENT_SECONDS": 3, "ARCHIVE_MAX_BYTES": 6_000_000, "CONNECTIONS_PER_ADDRESS": 1000}
        with GatewayProcess(folder, **settings) as gateway:
            timeout = aiohttp.ClientTimeout(total=60)
            until = time.monotonic() + minutes * 60
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http,
                asyncio.TaskGroup() as group,
            ):
                group.create_task(sample(gateway, http, record, until))
                for transport in VIEWERS:
                    for _ in range(1 if transport == "archive" else viewers):
                        group.create_task(run_viewers(transport, gateway, http, record, until))
            log = gateway.log()
    if csv is not None:
        rows = [f"{name},{at:.1f},{value:.2f}\n" for name, points in record.series.items() for at, value in points]
        csv.write_text("".join(rows))
    faults = log.count("Traceback")
    if faults:
        print(f"the log has {faults} tracebacks; the first:\n{log[log.index('Traceback') :][:3000]}")
    return report(record) and not faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--viewers", type=int, default=2, help="places on each transport")
    parser.add_argument("--csv", type=Path, help="where all samples go: name,seconds,value")
    options = parser.parse_args()
    raise SystemExit(0 if asyncio.run(soak(options.minutes, options.viewers, options.csv)) else 1)


if __name__ == "__main__":
    main()
