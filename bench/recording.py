"""Measure what recording costs: 20 cameras of 2 Mbit/s, LL-HLS and archive, without viewers.

    make bench NAME=recording ARGS='[--cameras 20] [--seconds 30]'

Each stage runs in its own process: cameras alone (the cost of the generated cameras and the hub), with live windows,
and with the archive. Goal for all but the cameras: at most 25 % of a core, and 25 MB a camera.
"""

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from pathlib import Path

import psutil

from bench.support.padded_source import ENGINE
from gateway.service import CaptureService
from hls.archive.service import Archive
from hls.live.service import LiveService
from web.settings import load_settings

GOAL_CORE = 0.25
GOAL_MB = 25.0
WARM_UP_S = 8.0


async def stage(name: str, data_dir: Path, cameras: int, seconds: float) -> tuple[float, float, float]:
    """CPU seconds a second, MB of memory, and MB on disk of one stage."""
    process = psutil.Process()
    # The memory of the loaded program does not count, only that of the cameras.
    before_mb = process.memory_info().rss / 1e6
    settings = load_settings(
        data_dir=data_dir,
        cameras={
            f"camera{number}": {"url": "packets://width=640,height=360", "engine": ENGINE} for number in range(cameras)
        },
        record="always",
        archive_min_free_bytes=0,
    )
    service = CaptureService(settings.camera_settings())
    live = LiveService(service)
    archive = Archive(settings, service)
    if name == "archive":
        await archive.start()
    if name in ("live", "archive"):
        for camera in service.cameras.values():
            live.add_camera(camera)
    service.start()
    await asyncio.sleep(WARM_UP_S)
    cpu, began = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    share = (time.process_time() - cpu) / (time.monotonic() - began)
    memory_mb = process.memory_info().rss / 1e6 - before_mb
    await live.close()
    await service.close()
    await archive.close()
    disk_mb = sum(path.stat().st_size for path in data_dir.rglob("*.mp4")) / 1e6
    return share, memory_mb, disk_mb


def run_stage(name: str, cameras: int, seconds: float) -> tuple[float, float, float]:
    """Run :func:`stage` in this process, with its own directory."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(stage(name, Path(folder), cameras, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    base = 0.0
    for name in ("cameras", "live", "archive"):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            share, memory_mb, disk_mb = pool.apply(run_stage, (name, options.cameras, options.seconds))
        base = base or share
        per_camera = memory_mb / options.cameras
        print(
            f"{name:8} {share * 100:5.1f} % of a core, {(share - base) * 100:5.1f} % above the cameras;"
            f" {per_camera:5.1f} MB a camera; {disk_mb:6.1f} MB on disk",
            flush=True,
        )
    met = share - base <= GOAL_CORE and per_camera <= GOAL_MB
    print("goal met" if met else f"goal of {GOAL_CORE * 100:.0f} % and {GOAL_MB:.0f} MB a camera missed")


if __name__ == "__main__":
    main()
