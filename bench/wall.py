"""Show a wall of cameras in Chromium for hours, and tell whether memory grows: of the page and of the gateway.

    make bench NAME=wall ARGS='[--tiles 16] [--hours 8] [--size 320x180] [--fps 5] [--page 1600x900] [--csv FILE]'

The cameras are small and cheap (:mod:`bench.support.rtsp_farm`), one for each tile; the page is the gateway's own, with
its players and without changes, and every tile plays over WebRTC. On a machine that cannot play all tiles they connect
again and again, which measures something else: choose a smaller size, rate and page there. Every half minute garbage is
collected and a sample is taken:

heap     JavaScript's heap, MB
nodes    DOM nodes, in the document or not; listeners likewise
peers    RTCPeerConnections that are not garbage
page     memory of the page's process, MB: USS, which it shares with no other process, PSS, which counts shared pages in
         part and so moves with other browsers on the machine, and RSS; "gpu" that of the compositor
gateway  its USS, PSS and RSS, its tasks and descriptors
playing  tiles that have presented another picture since the sample before

At the end each series has a slope (Theil-Sen, which outliers do not move) after the warm-up, with its interval of 95 %
(Sen 1968, §4). Memory has risen where the whole interval is above what is allowed an hour. It exits with 1 then, and if
a tile did not play.

The warm-up is long at 5 pictures a second. Chromium keeps the last 10,000 events of each connection in case somebody
wants a log of them (libwebrtc, RtcEventLogImpl::kMaxEventsInHistory), and each packet is one, of which it keeps all
bytes. That is up to 15 MB for each tile, and it is there after as many packets. With --fps 25 it is after seven
minutes.
"""

import argparse
import asyncio
import math
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import psutil

from bench.support.devtools import Tab, tab
from bench.support.rtsp_farm import farm
from tests.support.browser import count_kept
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess

SAMPLE_S = 30.0

WARM_UP_S = 600.0
"""Not counted: the live windows fill, and V8 compiles what runs often."""

EVENTS_KEPT = 10_000
"""By each connection; see the module. A picture is one packet at least."""

START_S = 180.0
"""For all tiles to play, on a busy machine."""

SAMPLES_MAX = 500
"""For the slope, which compares all pairs. Of more samples, adjacent ones are averaged."""

CAMERA = ("--kilobits", "60", "--gop", "10")

ALLOWED = {"heap": 0.25, "nodes": 2.0, "listeners": 2.0, "peers": 0.02, "descriptors": 0.5, "tasks": 0.5}
"""Growth an hour that nobody notices: 2 MB of the heap in a working day."""

ALLOWED_MB = 2.0
"""The same for the memory of a process: 16 MB in a working day, of a browser that has hundreds."""

COUNT_FRAMES = """() => [...document.querySelectorAll("live-edge-player")].map((player) =>
  player.surface?.getVideoPlaybackQuality?.().totalVideoFrames ?? 0)"""

Points = list[tuple[float, float]]


@dataclass
class Record:
    """The samples: ``series`` by name as (hours, value), and the fewest tiles that played."""

    series: dict[str, Points] = field(default_factory=lambda: defaultdict(list))
    playing_min: int | None = None


class Wall:
    """The page, and what is measured of it."""

    def __init__(self, page: Tab) -> None:
        self._page = page
        self._frames: list[int] = []

    async def playing(self) -> int:
        """How many tiles have presented pictures since the call before."""
        before, self._frames = self._frames, await self._page.evaluate(COUNT_FRAMES)
        return sum(now > then for now, then in zip(self._frames, before or [0] * len(self._frames), strict=False))

    async def sample(self) -> dict[str, float]:
        """The page's memory, after its garbage was collected."""
        peers = await count_kept(self._page, "RTCPeerConnection")
        found = (await self._page.send("Performance.getMetrics"))["metrics"]
        metrics = {each["name"]: each["value"] for each in found}
        values = {
            "heap": metrics["JSHeapUsedSize"] / 1e6,
            "nodes": metrics["Nodes"],
            "listeners": metrics["JSEventListeners"],
            "peers": float(peers),
        }
        return values | _memory_mb("page", self._page.process()) | _memory_mb("gpu", self._page.compositor())


def _memory_mb(name: str, process: psutil.Process) -> dict[str, float]:
    memory = process.memory_full_info()
    return {f"{name} {kind}": getattr(memory, kind.lower()) / 1e6 for kind in ("USS", "PSS", "RSS")}


def _gateway(gateway: GatewayProcess) -> dict[str, float]:
    process = psutil.Process(gateway.pid)
    text = gateway.fetch("/metrics")[2].decode()
    tasks = next(line for line in text.splitlines() if line.startswith("liveedge_tasks "))
    values = {"tasks": float(tasks.split()[1]), "descriptors": float(process.num_fds())}
    return values | _memory_mb("gateway", process)


def slope(points: Points) -> tuple[float, float, float]:
    """Theil-Sen: the median of the slopes between all pairs of points, and the interval of 95 % around it."""
    if len(points) > SAMPLES_MAX:
        step = -(-len(points) // SAMPLES_MAX)
        groups = [points[at : at + step] for at in range(0, len(points), step)]
        points = [(statistics.fmean(x for x, _ in group), statistics.median(y for _, y in group)) for group in groups]
    slopes = sorted((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1)
    count, pairs = len(points), len(slopes)
    reach = 1.96 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low, high = max(0, math.floor((pairs - reach) / 2)), min(pairs - 1, math.ceil((pairs + reach) / 2))
    return statistics.median(slopes), slopes[low], slopes[high]


def report(record: Record, tiles: int, fps: int) -> bool:
    """Print slopes and verdicts. True if nothing rises and every tile played all the time."""
    warm_up = max(WARM_UP_S, EVENTS_KEPT / fps) / 3600
    print(f"{'':14}{'first':>9}{'median':>9}{'last':>9}{'slope/h':>10}{'95 %':>22}")
    is_flat = True
    for name, points in record.series.items():
        steady = [point for point in points if point[0] >= warm_up]
        if len(steady) < 3:
            print(f"{name:14} too few samples: let it run for longer than {warm_up:.2f} hours")
            return False
        middle, low, high = slope(steady)
        values = [value for _, value in steady]
        rises = low > ALLOWED.get(name, ALLOWED_MB)
        is_flat &= not rises
        print(
            f"{name:14}{values[0]:9.1f}{statistics.median(values):9.1f}{values[-1]:9.1f}{middle:10.2f}"
            f"{f'{low:.2f} to {high:.2f}':>22}  {'RISES' if rises else 'flat'}"
        )
    print(f"tiles that played, at least: {record.playing_min} of {tiles}")
    return is_flat and record.playing_min == tiles


async def show(gateway: GatewayProcess, tiles: int, hours: float, size: str) -> Record:
    """Show the wall, and take samples."""
    record = Record()
    async with tab(f"--window-size={size.replace('x', ',')}") as page:
        await page.send("Performance.enable")
        await page.send("Page.navigate", {"url": f"{gateway.url}/#/wall"})
        wall = Wall(page)

        async def all_play() -> bool:
            await asyncio.sleep(1)
            return await wall.playing() == tiles

        await eventually(all_play, f"{tiles} tiles play", START_S)
        began_s = time.monotonic()
        while (now_h := (time.monotonic() - began_s) / 3600) < hours:
            await asyncio.sleep(SAMPLE_S)
            playing = await wall.playing()
            record.playing_min = playing if record.playing_min is None else min(playing, record.playing_min)
            values: dict[str, Any] = await wall.sample() | await asyncio.to_thread(_gateway, gateway)
            for name, value in values.items():
                record.series[name].append((now_h, value))
    return record


def run(options: argparse.Namespace) -> bool:
    """Run it all; true if everything was flat."""
    tiles: int = options.tiles
    csv: Path | None = options.csv
    camera = (*CAMERA, "--size", options.size, "--fps", str(options.fps))
    with tempfile.TemporaryDirectory() as name, farm(*camera) as port:
        folder = Path(name)
        tables = [f'[cameras.cam{number}]\nurl = "rtsp://127.0.0.1:{port}/{number}"\n' for number in range(tiles)]
        (folder / "liveedge.toml").write_text("\n".join(tables))
        with GatewayProcess(folder, RECORD="never", START="always") as gateway:
            record = asyncio.run(show(gateway, tiles, options.hours, options.page))
    if csv is not None:
        rows = [f"{name},{at:.4f},{value:.2f}\n" for name, points in record.series.items() for at, value in points]
        csv.write_text("".join(rows))
    return report(record, tiles, options.fps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=16)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--size", default="320x180", help="of each camera, pixels")
    parser.add_argument("--fps", type=int, default=5)
    parser.add_argument("--page", default="1600x900", help="its size, pixels")
    parser.add_argument("--csv", type=Path, help="where all samples go: name,hours,value")
    options = parser.parse_args()
    raise SystemExit(0 if run(options) else 1)


if __name__ == "__main__":
    main()
