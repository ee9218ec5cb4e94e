"""Measure what a camera costs that nobody watches: LL-HLS and recording, CPU and memory, beside MediaMTX.

    make bench NAME=density ARGS='[--cameras 20,50] [--sound no,yes] [--seconds 20] [--settle 30]'
    MEDIAMTX=/path/to/mediamtx make bench NAME=density

The cameras are 720p30 of 750 kbit/s with a GOP of two seconds, over TCP, and run in a process of their own
(:mod:`bench.support.rtsp_farm`). The gateway is ``liveedge serve`` with its defaults. MediaMTX pulls the same sources,
always remuxes them to LL-HLS, and records them as fMP4; its other servers are off. Both run at the same time: on a
machine that is busy or changes its clock, figures of one after the other do not compare.

CPU is that of the whole process, user and system. A wakeup is a voluntary context switch of any of its threads. Of
memory, PSS counts shared pages in part; RSS is what tools show. Both are the mean of a sample a second, because a heap
with garbage collection rises and falls; and the live windows are full before that. Goal: at most as much CPU and memory
as MediaMTX, and at most 0.2 % of a core more for a camera with G.711.
"""

import argparse
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.support.rtsp_farm import farm
from tests.support.gateway_process import GatewayProcess

GOAL_SOUND_PERCENT = 0.2

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Percent of a core, switches and wakeups a second, and megabytes; ``disk_mb`` recorded in all."""

    cpu: float
    switches: float
    wakeups: float
    rss_mb: float
    pss_mb: float
    disk_mb: float

    def __str__(self) -> str:
        return (
            f"{self.cpu:6.2f} % of a core, {self.rss_mb:6.1f} MB RSS, {self.pss_mb:6.1f} MB PSS,"
            f" {self.switches:6.0f} switches/s, {self.wakeups:6.0f} wakeups/s, {self.disk_mb:6.1f} MB on disk"
        )


def cpu_s(pid: int) -> float:
    """User and system CPU of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _switches(pid: int) -> tuple[int, int]:
    """Voluntary and involuntary context switches of all threads."""
    found = [0, 0]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if "ctxt_switches" in line:
                found[line.startswith("nonvoluntary")] += int(line.split()[1])
    return found[0], found[1]


def _memory_mb(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":")) * 1024 / 1e6


def measure(pid: int, recorded: Path, settle_s: float, seconds: float) -> Cost:
    """The cost of a process, after a while."""
    time.sleep(settle_s)
    before_s, (voluntary, involuntary), began_s = cpu_s(pid), _switches(pid), time.monotonic()
    rss_mb: list[float] = []
    pss_mb: list[float] = []
    while not rss_mb or time.monotonic() - began_s < seconds:
        time.sleep(1.0)
        rss_mb.append(_memory_mb(pid, "Rss"))
        pss_mb.append(_memory_mb(pid, "Pss"))
    took_s = time.monotonic() - began_s
    used_s = cpu_s(pid) - before_s
    after = _switches(pid)
    return Cost(
        cpu=100 * used_s / took_s,
        switches=(sum(after) - voluntary - involuntary) / took_s,
        wakeups=(after[0] - voluntary) / took_s,
        rss_mb=sum(rss_mb) / len(rss_mb),
        pss_mb=sum(pss_mb) / len(pss_mb),
        disk_mb=sum(path.stat().st_size for path in recorded.rglob("*.mp4")) / 1e6,
    )


def of_liveedge(port: int, cameras: int, settle_s: float, seconds: float) -> Cost:
    """The cost of the gateway."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables = [f'[cameras.cam{n}]\nurl = "rtsp://127.0.0.1:{port}/cam{n}"\n' for n in range(cameras)]
        (folder / "liveedge.toml").write_text("\n".join(tables))
        with GatewayProcess(folder, RECORD="always") as gateway:
            cost = measure(gateway.pid, folder / "data", settle_s, seconds)
            live = sum(camera["state"] == "live" for camera in gateway.json("/api/cameras")["cameras"])
            if live < cameras:
                print(f"  only {live} of {cameras} cameras are live\n{gateway.log()[-2000:]}")
            return cost


_MEDIAMTX = """logLevel: warn
rtsp: no
rtmp: no
srt: no
webrtc: no
moq: no
hls: yes
hlsAddress: 127.0.0.1:0
hlsVariant: lowLatency
hlsAlwaysRemux: yes
pathDefaults:
  record: yes
  recordPath: {folder}/recorded/%path/%Y-%m-%d_%H-%M-%S-%f
  recordFormat: fmp4
  rtspTransport: tcp
paths:
"""


def of_mediamtx(program: Path, port: int, cameras: int, settle_s: float, seconds: float) -> Cost:
    """The cost of MediaMTX with the same cameras and outputs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [f"  cam{n}:\n    source: rtsp://127.0.0.1:{port}/cam{n}\n" for n in range(cameras)]
        settings = folder / "mediamtx.yml"
        settings.write_text(_MEDIAMTX.format(folder=folder) + "".join(paths))
        with (folder / "log").open("w") as log:
            process = subprocess.Popen([program.resolve(), settings], stdout=log, stderr=log, cwd=folder)
        try:
            return measure(process.pid, folder / "recorded", settle_s, seconds)
        finally:
            process.terminate()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", default="20,50")
    parser.add_argument("--sound", default="no,yes")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--settle", type=float, default=30.0, help="seconds before the measurement")
    options = parser.parse_args()
    program = os.environ.get("MEDIAMTX")
    for cameras in map(int, options.cameras.split(",")):
        without_sound: Cost | None = None
        for sound in options.sound.split(","):
            with farm(*(["--sound"] if sound == "yes" else [])) as port:
                arguments = (port, cameras, options.settle, options.seconds)
                with ThreadPoolExecutor(1) as pool:
                    peer = pool.submit(of_mediamtx, Path(program), *arguments) if program else None
                    ours = of_liveedge(*arguments)
                print(f"{cameras} cameras, sound: {sound}\n  liveedge  {ours}", flush=True)
                if peer is not None:
                    theirs = peer.result()
                    print(f"  MediaMTX  {theirs}")
                    print(
                        f"  ratio     {ours.cpu / theirs.cpu:.2f} times the CPU,"
                        f" {ours.rss_mb / theirs.rss_mb:.2f} times the RSS,"
                        f" {ours.pss_mb / theirs.pss_mb:.2f} times the PSS; goal 1.00",
                        flush=True,
                    )
            if sound == "no":
                without_sound = ours
            elif without_sound is not None:
                more = (ours.cpu - without_sound.cpu) / cameras
                print(f"  sound adds {more:.2f} % of a core a camera; goal {GOAL_SOUND_PERCENT} %", flush=True)


if __name__ == "__main__":
    main()
