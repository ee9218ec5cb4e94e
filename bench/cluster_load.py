"""Measure how many cameras and viewers more fit on a machine with WORKERS=2 than with one process.

    make bench NAME=cluster_load ARGS='[--cameras 32] [--viewers 192] [--workers 2] [--seconds 8] [--rounds 3]'

The same load runs for one process and for several, in turns: real RTSP cameras of 720p30 over TCP in a process of
their own (:mod:`bench.support.rtsp_farm`), recording and live HLS of each, and viewers over WebRTC, each of which opens
a connection of its own for its offer, so that any worker may get it.

A process that has used up its core delivers pictures late. So the busiest process is the limit, and the load that fits
is in proportion to 1 / its CPU time. The ratio is the CPU time of the one process, divided by that of the busiest of
the workers: it has what forwarding, the coordinators and an uneven share cost. It is not the load at which pictures
come late: cameras and viewers need CPU too, and on a machine of two cores they get what the gateway leaves. The kernel
drops most packets of the viewers before they are read, so that they need little. That they get the rest is checked: no
viewer may have a pause of more than a second.

What a process costs without load, and its wake-ups, count the more the less load there is. So the load is to be such
that the one process uses 70 to 95 % of its core; a row says whether it did. CPU times depend on what else the machine
does: compare rounds, and measure on a machine that is quiet.

*Overhead* is the CPU time of all workers and their parent together, compared with the one process. Goals: ratio 1.8 for
two workers, overhead below 10 %.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import aiohttp
import psutil

from bench.support import webrtc_load as load
from bench.support.rtsp_farm import farm
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess

GOAL_RATIO, GOAL_OVERHEAD = 1.8, 0.10

LATE_S = 1.0

SETTLE_S = 4.0
"""After the last join: handshakes, and whole GOPs for new viewers."""


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, as the scheduler accounts them (in ns, proc(5))."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread that has ended
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


async def measure(port: int, workers: int, options: argparse.Namespace) -> list[float]:
    """The CPU of each process in cores, the busiest first; the parent's is last where there is one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cameras = [f"cam{number}" for number in range(options.cameras)]
        tables = [f'[cameras.{camera}]\nurl = "rtsp://127.0.0.1:{port}/{camera}"\n' for camera in cameras]
        (folder / "liveedge.toml").write_text("\n".join(tables))
        with GatewayProcess(folder, WORKERS=workers, START="always", RECORD=options.record) as gateway:

            def is_live() -> bool:
                whole = gateway.json("/api/status")
                owners = whole["cluster"]["owners"].values() if workers > 1 else ["one"] * len(cameras)
                shares = [list(owners).count(each) for each in set(owners)]
                is_even = None not in owners and len(shares) == workers and max(shares) - min(shares) <= 1
                return is_even and all(camera["state"] == "live" for camera in whole["cameras"])

            await eventually(lambda: asyncio.to_thread(is_live), "all cameras are live", 60)
            connector = aiohttp.TCPConnector(force_close=True)
            async with aiohttp.ClientSession(connector=connector) as http:
                paths = [f"{gateway.url}/whep/{cameras[n % len(cameras)]}" for n in range(options.viewers)]
                viewers = [await load.join(http, path) for path in paths]
                await load.wait_for_media(viewers)
                for viewer in viewers:
                    load.sample(viewer)
                await asyncio.sleep(SETTLE_S)
                children = [child.pid for child in psutil.Process(gateway.pid).children()] if workers > 1 else []
                pids = [*children, gateway.pid]
                for viewer in viewers:
                    viewer.arrivals.longest_gap_s = 0.0
                began_s, before = time.monotonic(), [cpu_s(pid) for pid in pids]
                await asyncio.sleep(options.seconds)
                used = [cpu_s(pid) - was for pid, was in zip(pids, before, strict=True)]
                took_s = time.monotonic() - began_s
                late = sum(viewer.arrivals.longest_gap_s > LATE_S for viewer in viewers)
                await load.close(viewers)
        if late:
            print(f"  {late} of {len(viewers)} viewers had a pause of more than {LATE_S:.0f} s: the machine was busy")
        shares = [each / took_s for each in used]
        return [*sorted(shares[:-1], reverse=True), shares[-1]]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=32)
    parser.add_argument("--viewers", type=int, default=192, help="in all; each camera has as many, or one more")
    parser.add_argument("--kilobits", type=int, default=1500, help="of a camera")
    parser.add_argument("--record", default="always", choices=("always", "never"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ones, ratios, overheads, balances = [], [], [], []
    with farm("--kilobits", str(options.kilobits)) as port:
        for _ in range(options.rounds):
            (one,) = await measure(port, 1, options)
            several = await measure(port, options.workers, options)
            ones.append(one)
            ratios.append(one / several[0])
            overheads.append(sum(several) / one - 1)
            balances.append(several[-2] / several[0])
            shown = " + ".join(f"{each:.1%}" for each in several)
            print(f"  one process {one:.1%} of a core; {options.workers} workers and their parent {shown}", flush=True)
    ratio, overhead = statistics.median(ratios), statistics.median(overheads)
    what = f"`bench.cluster_load`, {options.cameras} cameras, {options.viewers} viewers, {options.workers} workers"
    goal = GOAL_RATIO * options.workers / 2
    is_met = "met" if ratio >= goal else "missed"
    load.row(f"{what}: load that fits, to one process", f"{ratio:.2f} times", f"{goal:.1f}: {is_met}")
    load.row(f"{what}: the one process", f"{statistics.median(ones):.0%} of a core", "70 to 95 %")
    load.row(f"{what}: CPU more in all", f"{overhead:.1%}", f"{GOAL_OVERHEAD:.0%}")
    load.row(f"{what}: least busy worker to the busiest", f"{statistics.median(balances):.0%}")


if __name__ == "__main__":
    asyncio.run(main())
