"""Measure what a transcode of 1080p25 H.265 costs, and whether it delays another camera's packets.

    make bench NAME=transcode ARGS='[--seconds 12] [--rounds 4]'

One gateway has a camera of 4 Mbit/s with a viewer, and an H.265 camera of 1920x1080 at 25 fps, whose viewer gets it
transcoded to 1280x720. A frame's delay begins when the camera gives it to its socket, and ends when ``sendmsg`` of its
last packet has returned. In each round the viewer of the first camera is measured without and with the transcode, in
turns, so that slow changes of the machine affect both. A round has some 350 frames of each, too few for a p99: its p95
counts. Compared are the medians of the rounds, and the lowest and the highest round tell how much they mean. The cost
is the CPU time of the process that transcodes, by the frames that it encoded in the same time.
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from bench.latency import Frames, percentiles, take
from bench.support import webrtc_load as load
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess

SETTLE_S = 3.0
GOAL_RATIO = 1.5
"""p95 with the transcode, against that without."""

FILE_S, REPEATS = 6, 30
"""Seconds that are encoded, and how often they follow one another in the file."""


def write_camera(path: Path) -> None:
    """A file that plays as a camera: 1080p25, H.265, a keyframe every 2 s, 4 Mbit/s."""
    source = f"testsrc2=size=1920x1080:rate=25:duration={FILE_S},noise=alls=12:allf=t"
    encoder = ["-c:v", "libx265", "-preset", "ultrafast", "-tune", "zerolatency", "-b:v", "4M"]
    options = ["-x265-params", "log-level=none:keyint=50:min-keyint=50:vbv-maxrate=4000:vbv-bufsize=4000"]
    command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p"]
    once = path.with_stem("once")
    subprocess.run([*command, *encoder, *options, str(once)], check=True)
    repeat = ["ffmpeg", "-loglevel", "error", "-y", "-stream_loop", str(REPEATS - 1), "-i", str(once), "-c", "copy"]
    subprocess.run([*repeat, str(path)], check=True)


@dataclass
class Cost:
    """What the process that transcodes has used: CPU and time in seconds, and frames that it encoded."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    frames: float = 0.0

    def __str__(self) -> str:
        if not self.frames:
            return "no frame was encoded"
        return (
            f"{100 * self.cpu_s / self.wall_s:.0f} % of a core,"
            f" {1000 * self.cpu_s / self.frames:.1f} ms of CPU a frame, {self.frames / self.wall_s:.1f} frames/s"
        )

    def add(self, before: "Cost", now: "Cost") -> None:
        """Add the difference of two readings."""
        self.cpu_s += now.cpu_s - before.cpu_s
        self.wall_s += now.wall_s - before.wall_s
        self.frames += now.frames - before.frames


def reading(process: psutil.Process, gateway: GatewayProcess) -> Cost:
    """The counters at this moment."""
    times = process.cpu_times()
    return Cost(times.user + times.system, time.monotonic(), count_frames(gateway))


async def measure(gateway: GatewayProcess, measured_to: Path, seconds: float) -> Frames:
    """The watched camera's frames of this time."""
    await take(gateway, measured_to)
    await asyncio.sleep(seconds)
    measured = await take(gateway, measured_to)
    return [frame for frame in measured["frames"] if frame["camera"] == "watched"]


def worker_of(gateway: GatewayProcess) -> psutil.Process | None:
    """The process that transcodes."""
    children = psutil.Process(gateway.pid).children(recursive=True)
    return next((each for each in children if "worker.py" in " ".join(each.cmdline())), None)


async def main(seconds: float, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name, load.rtsp_cameras("loop", "--bit-rate", "4000000") as watched:
        folder = Path(name)
        write_camera(folder / "hevc.mp4")
        settings = folder / "liveedge.toml"
        settings.write_text(
            f'[cameras.watched]\nurl = "{watched[0]}"\n[cameras.hevc]\nurl = "file://{folder}/hevc.mp4"\n'
        )
        settings.chmod(0o600)
        measured_to = folder / "delays.json"
        gateway = GatewayProcess(folder, RECORD="never", START="always", CAPTURE_LINGER="0")
        gateway.prefix = (sys.executable, "-m", "bench.support.timed_gateway", str(measured_to))
        rounds_of: dict[bool, list[Frames]] = {False: [], True: []}
        cost = Cost()
        with gateway:
            for camera_id in ("watched", "hevc"):
                gateway.wait_for_state("live", camera_id)
            async with aiohttp.ClientSession() as http:
                viewer = await load.join(http, f"{gateway.url}/whep/watched")
                await load.wait_for_media([viewer])
                for number in range(rounds):
                    for with_transcode in (False, True) if number % 2 == 0 else (True, False):
                        others = [await load.join(http, f"{gateway.url}/whep/hevc")] if with_transcode else []
                        await load.wait_for_media(others)
                        # The transcode begins with the frames of the current GOP, faster than the camera.
                        await asyncio.sleep(SETTLE_S)
                        process = worker_of(gateway)
                        before = reading(process, gateway) if process is not None else None
                        rounds_of[with_transcode].append(await measure(gateway, measured_to, seconds))
                        if process is not None and before is not None:
                            cost.add(before, reading(process, gateway))
                        for other in others:
                            await other.peer.close()
                        await eventually(lambda: worker_of(gateway) is None, "the transcode has ended")
                await load.close([viewer])
            os.kill(gateway.pid, signal.SIGTERM)
    load.row("`bench.transcode`, 1080p25 H.265 to 720p H.264", str(cost))
    alone, beside = ([percentiles(each, "from_capture_ms") for each in rounds_of[key]] for key in (False, True))
    alone_ms, beside_ms = ([p95 for _, p95, _ in each] for each in (alone, beside))
    load.row(
        "`bench.transcode`, another camera's viewer, without and with the transcode",
        f"p50 {spread([p50 for p50, _, _ in alone])} and {spread([p50 for p50, _, _ in beside])} ms,"
        f" p95 {spread(alone_ms)} and {spread(beside_ms)} ms; {rounds} rounds",
        load.verdict(statistics.median(beside_ms) / statistics.median(alone_ms), GOAL_RATIO, "x p95"),
    )


def spread(values: Sequence[float]) -> str:
    """The median, the least and the greatest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def count_frames(gateway: GatewayProcess) -> float:
    """How many frames have been encoded."""
    text = gateway.fetch("/metrics")[2].decode()
    line = next(line for line in text.splitlines() if line.startswith('liveedge_transcode_frames_total{camera="hevc"}'))
    return float(line.split()[-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=12, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=4, help="of two measurements each")
    options = parser.parse_args()
    asyncio.run(main(options.seconds, options.rounds))
