"""Measure the delay of a frame from the camera to WebRTC's sendmsg, with and without LL-HLS and archive (a ratio).

    make bench NAME=latency ARGS='[--viewers 1,100] [--seconds 8] [--rounds 3]'

One server captures a camera of 4 Mbit/s at 30 fps. In each round, the same number of viewers is measured twice: with
WebRTC as the only output, and with LL-HLS and the recorder attached to the camera before the first viewer joins. Rounds
alternate, so that slow changes of the machine affect both. All viewers are at the live edge.

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
from typing import Any

import aiohttp

from bench.support import webrtc_load as load

GOALS_MS = {1: 2.0, 100: 25.0}
SETTLE_S = 4.0
"""Longer than the replays of a hundred new viewers, and than the load's handshakes."""

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


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", default="1,100", help="numbers of viewers")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of two measurements each")
    options = parser.parse_args()
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
