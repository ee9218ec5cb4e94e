"""Measure what the activity of a recording costs: CPU per second of one camera, of sizes that an encoder made.

    make bench NAME=activity ARGS='[--seconds 600] [--fps 25]'

Goal: at most 0.02 % of a core a camera, with the level of its sound. The scores are computed twice, with and without
what happens, since a busy second may cost more. Reading a day from the index and finding the next period is beside it.
"""

import argparse
import random
import time

import av

from gateway.clock import CLOCK_RATE
from gateway.codec.loudness import loudness
from hls.archive.activity import ActivityMeter
from hls.archive.activity_table import RecordedActivity
from hls.archive.baseline import NOTHING_LEARNED
from hls.playback.activity import _begins, _steps

GOAL_PERCENT = 0.02
SOUND_RATE_HZ, SOUND_FRAME = 16_000, 1024
DAY_S, FILE_S = 86_400, 600


def frames_of(seconds: int, fps: int, *, busy: bool) -> list[tuple[int, int, bool]]:
    """Time in 90 kHz, size and kind of each frame, with a keyframe every two seconds."""
    dice = random.Random(1)
    return [
        (
            number * CLOCK_RATE // fps,
            round(dice.lognormvariate(0, 1.0 if busy else 0.1) * (90_000 if number % (2 * fps) == 0 else 4000)),
            number % (2 * fps) == 0,
        )
        for number in range(seconds * fps)
    ]


def meter_us(frames: list[tuple[int, int, bool]], seconds: int) -> float:
    """CPU of the scores, µs a second of the camera."""
    meter = ActivityMeter(NOTHING_LEARNED)
    began = time.process_time()
    for frame in frames:
        meter.add(*frame)
    meter.finished()
    return (time.process_time() - began) / seconds * 1e6


def sound_us(seconds: int) -> float:
    """CPU of the level of the sound, µs a second of the camera: of frames as the encoder takes them."""
    frame = av.AudioFrame("fltp", "mono", SOUND_FRAME)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    count = seconds * SOUND_RATE_HZ // SOUND_FRAME
    began = time.process_time()
    for _ in range(count):
        loudness(frame)
    return (time.process_time() - began) / seconds * 1e6


def day_ms() -> tuple[float, float]:
    """A day in 1000 steps, and the search in a day without activity, in ms of CPU; without the query."""
    day = [
        RecordedActivity(f"segment_{number}", number * FILE_S * CLOCK_RATE, b"\1" * FILE_S, b"")
        for number in range(DAY_S // FILE_S)
    ]
    began = time.process_time()
    _steps([day, []], 0, DAY_S // 1000 * CLOCK_RATE, 1005)
    stepped = time.process_time()
    seconds, _ = _steps([day, []], 0, CLOCK_RATE, DAY_S)
    _begins(seconds, 11, forward=True)
    return (stepped - began) * 1e3, (time.process_time() - stepped) * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--fps", type=int, default=25)
    args = parser.parse_args()
    quiet, busy = (
        min(meter_us(frames_of(args.seconds, args.fps, busy=each), args.seconds) for _ in range(3))
        for each in (False, True)
    )
    sound = min(sound_us(args.seconds) for _ in range(3))
    total = (max(quiet, busy) + sound) / 1e4
    print(f"scores at {args.fps} frames/s: {quiet:.0f} µs a second of a quiet camera, {busy:.0f} µs of a busy one")
    print(f"level of the sound: {sound:.0f} µs a second")
    print(f"together at most {total:.4f} % of a core a camera; goal {GOAL_PERCENT} %")
    print("a day: {:.1f} ms for 1000 steps, {:.1f} ms to search all of it".format(*day_ms()))
    return 0 if total <= GOAL_PERCENT else 1


if __name__ == "__main__":
    raise SystemExit(main())
