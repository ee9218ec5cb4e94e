"""Measure what a crash costs: ``kill -9`` at random moments, and what is left of the recording.

    make bench NAME=crash ARGS='[--times 50] [--at-once 5]'

A recorder in its own process writes 25 fps, a keyframe every 2 s, segments of 2 s, each fragment synced, and prints
which frame it has written. A few of them run side by side; each is killed at its own moment. After each kill the
archive is recovered as at a start, every file decoded, and the invariants proven. Goal: at most 0.6 s lost each
time, every file plays, the check is clean without repair.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.clock import CLOCK_RATE
from hls.archive.check import check_archive
from hls.archive.recovery import recover
from tests.support import recording
from tests.support.ffprobe import decode
from tests.support.recording import index_of
from tests.support.sources.encoded import START_90K
from web.settings import load_settings

GOAL_S = 0.6


def crash(data_dir: Path, after_s: float) -> tuple[float, int, list[str]]:
    """Run and kill one recorder: seconds lost, number of files, and their faults."""
    process = subprocess.Popen([sys.executable, recording.__file__, str(data_dir)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    handed_over_90k = int(process.stdout.readline())
    time.sleep(after_s)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for line in process.stdout:
        if line.endswith("\n"):
            handed_over_90k = int(line)
    process.stdout.close()
    index = index_of(data_dir)
    recover(data_dir, index)
    segments = index.page("door", None, None, 100)
    index.close()
    wrong = [f"{segment.name}: {said}" for segment in segments if (said := decode(segment.path(data_dir)))]
    wrong += [str(finding) for finding in check_archive(load_settings(data_dir=data_dir))]
    shutil.rmtree(data_dir)
    kept_to_90k = segments[-1].end_90k if segments else START_90K
    return (handed_over_90k - kept_to_90k) / CLOCK_RATE, len(segments), wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--at-once", type=int, default=5, help="recorders side by side")
    options = parser.parse_args()
    moments = random.Random(1)
    losses: list[float] = []
    faults = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.at_once) as recorders:
        folders = [Path(folder) / str(number) for number in range(options.times)]
        for lost_s, files, wrong in recorders.map(crash, folders, [moments.uniform(0.0, 7.0) for _ in folders]):
            losses.append(lost_s)
            faults += len(wrong)
            for said in wrong:
                print(f"  {said}")
            print(f"lost {lost_s:5.2f} s, {files} file(s)", flush=True)
    losses.sort()
    print(f"{len(losses)} crashes in {time.monotonic() - began:.0f} s")
    print(f"lost {losses[len(losses) // 2]:.2f} s in the middle, {losses[-1]:.2f} s at most")
    print(f"files that do not play, and findings of the check: {faults}")
    print("goal met" if losses[-1] <= GOAL_S and not faults else f"goal missed: {GOAL_S} s, and nothing wrong")


if __name__ == "__main__":
    main()
