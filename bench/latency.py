"""Measure the delay of a frame from the camera to WebRTC's sendmsg: beside LL-HLS and archive, and beside 20 cameras.

    make bench NAME=latency ARGS='[--viewers 1,100] [--seconds 8] [--rounds 3]'
    make bench NAME=latency ARGS='--cameras 20 [--viewers 10] [--seconds 30] [--sound]'

With ``--cameras``, a whole gateway records that many RTSP cameras of another process, 15 Mbit/s together, with LL-HLS,
and one camera more of 4 Mbit/s, which is watched. A frame's delay there begins when the camera gives it to its socket,
and ends when ``sendmsg`` of its last packet has returned for the last viewer. Of the event loop the bench prints what
kept it longest, and how long it collected garbage.

Without it, one server captures a camera of 4 Mbit/s at 30 fps. In each round, the same number of viewers is measured
twice: with WebRTC as the only output, and with LL-HLS and the recorder attached to the camera before the first viewer
joins. Rounds alternate, so that slow changes of the machine affect both. All viewers are at the live edge.

A frame's delay ends when ``sendmsg`` of its last packet has returned for the last viewer. Three figures are printed:

publish  from the moment when the hub publishes the packet
capture  from the moment when the capture thread hands it over, which adds the time until the event loop takes it
CPU      the event loop's CPU time since *publish*: the delay if the machine did nothing else. The load, and whatever
         else runs beside it, changes the first two and hardly this one.

Keyframes (80 KB, one in 60 frames) count: what exceeds the token bucket is sent at 50 Mbit/s on purpose. The last
figure of a row is without them.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

from bench.support import webrtc_load as load
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess

GOALS_MS = {1: 2.0, 100: 25.0}
SETTLE_S = 4.0
"""Longer than the replays of a hundred new viewers, and than the load's handshakes."""

GOAL_BESIDE_MS = 5.0

WATCHED = "watched"

TOGETHER_BPS = 15_000_000
"""Of all recorded cameras."""

SLOWEST_SHOWN = 15

PERCENTS = (50, 95, 99)

FIGURES = {"publish": "from_publish_ms", "capture": "from_capture_ms", "CPU": "cpu_ms"}
"""Keys of a frame (:meth:`~bench.support.frame_delays.FrameDelays.take`) by their names in the report."""

Frames = list[dict[str, Any]]


async def measure(http: aiohttp.ClientSession, server: load.Server, count: int, seconds: float, attach: bool) -> Frames:
    """Frames that ``count`` new viewers get in ``seconds``; see bench.support.frame_delays."""
    async with http.post(f"{server.address}/outputs/{'attach' if attach else 'detach'}") as reply:
        reply.raise_for_status()
    viewers = [await load.join(http, server.url) for _ in range(count)]
    await load.wait_for_media(viewers)
    await asyncio.sleep(SETTLE_S)
    await http.get(f"{server.address}/delays")
    await asyncio.sleep(seconds)
    async with http.get(f"{server.address}/delays") as reply:
        measured = await reply.json()
    await load.close(viewers)
    async with http.post(f"{server.address}/outputs/detach") as reply:
        reply.raise_for_status()
    if measured["behind"]:
        print(f"viewers were behind the live edge {measured['behind']} times meanwhile: measure again")
    if attach and not (measured["parts"] and measured["bytes_written"]):
        raise SystemExit(f"LL-HLS made {measured['parts']} parts, the recorder wrote {measured['bytes_written']} bytes")
    frames: Frames = measured["frames"]
    return frames


def percentiles(frames: Frames, figure: str) -> list[float]:
    """p50, p95 and p99 of a figure, in ms."""
    return [load.percentile([frame[figure] for frame in frames], percent) for percent in PERCENTS]


def text(values: list[float], unit: str) -> str:
    return ", ".join(f"p{percent} {value:.2f} {unit}" for percent, value in zip(PERCENTS, values, strict=True))


def report(count: int, alone: Frames, attached: Frames) -> None:
    """Print the rows of one number of viewers."""
    viewers = f"{count} viewer{'s' * (count > 1)}"
    for name, frames in (("WebRTC alone", alone), ("with LL-HLS and archive", attached)):
        deltas = [frame for frame in frames if not frame["is_keyframe"]]
        p99, deltas_p99 = (percentiles(each, "from_publish_ms")[-1] for each in (frames, deltas))
        load.row(
            f"`bench.latency`, {viewers}, {name}",
            "; ".join(f"{label} {text(percentiles(frames, figure), 'ms')}" for label, figure in FIGURES.items())
            + f"; without keyframes publish p99 {deltas_p99:.2f} ms; {len(frames)} frames",
            load.verdict(p99, GOALS_MS[count], "ms p99") if count in GOALS_MS else "",
        )
    ratios = []
    for label, figure in FIGURES.items():
        pairs = zip(percentiles(attached, figure), percentiles(alone, figure), strict=True)
        ratios.append(f"{label} {text([with_outputs / without for with_outputs, without in pairs], 'x')}")
    load.row(f"{viewers}: with LL-HLS and archive, against WebRTC alone", "; ".join(ratios))


async def beside_cameras(options: argparse.Namespace) -> None:
    """The second measurement; see the module."""
    sound = ["--sound"] if options.sound else []
    others = ["--cameras", str(options.cameras), "--bit-rate", str(TOGETHER_BPS // options.cameras), *sound]
    with (
        tempfile.TemporaryDirectory() as name,
        load.rtsp_cameras("loop", *sound) as watched,
        load.rtsp_cameras("loop", *others) as recorded,
    ):
        folder = Path(name)
        tables = [f'[cameras.{WATCHED}]\nurl = "{watched[0]}"\n']
        tables += [f'[cameras.recorded{number}]\nurl = "{url}"\n' for number, url in enumerate(recorded)]
        settings = folder / "liveedge.toml"
        settings.write_text("\n".join(tables))
        settings.chmod(0o600)
        measured_to = folder / "delays.json"
        gateway = GatewayProcess(folder, RECORD="always", START="always")
        gateway.prefix = (sys.executable, "-m", "bench.support.timed_gateway", str(measured_to))
        with gateway:
            for camera_id in (WATCHED, *(f"recorded{number}" for number in range(options.cameras))):
                gateway.wait_for_state("live", camera_id)
            async with aiohttp.ClientSession() as http:
                for count in (int(count) for count in options.viewers.split(",")):
                    url = f"{gateway.url}/whep/{WATCHED}"
                    viewers = [await load.join(http, url) for _ in range(count)]
                    await load.wait_for_media(viewers)
                    await asyncio.sleep(SETTLE_S)
                    await take(gateway, measured_to)
                    await asyncio.sleep(options.seconds)
                    report_beside(count, options.cameras, await take(gateway, measured_to))
                    await load.close(viewers)


async def take(gateway: GatewayProcess, measured_to: Path) -> dict[str, Any]:
    """What the gateway has measured since the last call."""
    measured_to.unlink(missing_ok=True)
    os.kill(gateway.pid, signal.SIGUSR1)
    await eventually(measured_to.exists, "the gateway has written what it measured")
    found: dict[str, Any] = json.loads(measured_to.read_text())
    return found


def report_beside(count: int, cameras: int, measured: dict[str, Any]) -> None:
    """Print the rows of :func:`beside_cameras`."""
    frames: Frames = measured["frames"]
    if measured["behind"]:
        print(f"viewers were behind the live edge {measured['behind']} times meanwhile")
    for label, chosen in (
        ("all frames", frames),
        ("without keyframes", [frame for frame in frames if not frame["is_keyframe"]]),
    ):
        p50, p95, p99 = percentiles(chosen, "from_capture_ms")
        worst = max(frame["from_capture_ms"] for frame in chosen)
        load.row(
            f"`bench.latency`, {count} viewers beside {cameras} cameras that are recorded, {label}",
            f"socket to sendmsg p50 {p50:.2f} ms, p95 {p95:.2f} ms, p99 {p99:.2f} ms, worst {worst:.1f} ms;"
            f" from publish {text(percentiles(chosen, 'from_publish_ms'), 'ms')};"
            f" CPU {text(percentiles(chosen, 'cpu_ms'), 'ms')}; {len(chosen)} frames",
            load.verdict(p99, GOAL_BESIDE_MS, "ms p99"),
        )
    by_name: dict[str, list[float]] = {}
    cpu_by_name: dict[str, list[float]] = {}
    for name, took_ms, cpu_ms in measured["callbacks"]:
        by_name.setdefault(name, []).append(took_ms)
        cpu_by_name.setdefault(name, []).append(cpu_ms)
    print("what kept the event loop for a millisecond or longer: worst (of CPU), how often, together (CPU)")
    for name, took in sorted(by_name.items(), key=lambda item: -sum(item[1]))[:SLOWEST_SHOWN]:
        cpu = cpu_by_name[name]
        print(f"  {max(took):6.1f} ms ({max(cpu):5.1f}) {len(took):5} x {sum(took):7.0f} ms ({sum(cpu):6.0f})  {name}")
    collections = measured["collections"]
    worst = max(collections, default=0)
    print(f"garbage collections of a millisecond or longer: {len(collections)}, worst {worst:.1f} ms")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", help="numbers of viewers: 1,100, or 10 beside cameras")
    parser.add_argument("--seconds", type=float, help="of each measurement: 8, or 30 beside cameras")
    parser.add_argument("--rounds", type=int, default=3, help="of two measurements each; not beside cameras")
    parser.add_argument("--cameras", type=int, help="record so many cameras beside the one that is watched")
    parser.add_argument("--sound", action="store_true", help="cameras with G.711; beside cameras only")
    options = parser.parse_args()
    options.viewers = options.viewers or ("10" if options.cameras else "1,100")
    options.seconds = options.seconds or (30 if options.cameras else 8)
    if options.cameras:
        await beside_cameras(options)
        return
    with load.server("liveedge", "--delays") as server:
        async with aiohttp.ClientSession() as http:
            for count in (int(count) for count in options.viewers.split(",")):
                frames: dict[bool, Frames] = {False: [], True: []}
                for number in range(options.rounds):
                    # The order changes from round to round, for what the first measurement warms up.
                    for attach in (False, True) if number % 2 == 0 else (True, False):
                        frames[attach] += await measure(http, server, count, options.seconds, attach)
                report(count, frames[False], frames[True])


if __name__ == "__main__":
    asyncio.run(main())
