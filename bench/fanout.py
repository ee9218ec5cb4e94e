"""Measure what a viewer costs: server CPU at 1, 20, 40 and 80 viewers of one 4 Mbit/s, 30 fps RTSP camera.

    make bench NAME=fanout ARGS='[--viewers 1,20,40,80] [--seconds 4]'

The same is measured for stock aiortc that passes packets through (PyAV in, RTCRtpSender out), and for Janus where it
is installed (apt-get install janus). All get the same RTSP camera and the same viewers, one after the other in one
run; on a shared machine only the ratios hold. The figure is the CPU of the server's processes for each viewer, as the
scheduler accounts it. It is not CPU for each packet, because packets differ in size. The CPU without viewers, for the
camera, is measured before and subtracted. In brackets: the ratio with the camera. The CPU of load and camera is not
part of it.

aiortc is measured up to 20 viewers and Janus up to 40: more do not fit beside the load on two cores, and their cost for
each viewer does not fall with more.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from bench.support import janus
from bench.support import webrtc_load as load

GOALS = {"aiortc": 0.10, "janus": 0.20}
VIEWERS_MAX = {"aiortc": 20, "janus": 40}
START_S = 2.0
"""The time until a new server does nothing but capture its camera."""

SETTLE_S = 1.5
"""From the last join to the measurement, which excludes handshakes and replays."""


@dataclass(frozen=True)
class Cost:
    """CPU of one viewer in per cent of a core, without and with its share of the camera; in microseconds a packet."""

    fanout: float
    whole: float
    packet_us: float


async def measure(kind: str, counts: list[int], seconds: float, url: str) -> dict[int, Cost]:
    """The cost of a viewer, by number of viewers."""
    costs: dict[int, Cost] = {}
    process = janus.server(url) if kind == "janus" else load.server(kind, "--url", url)
    with process as server:
        async with aiohttp.ClientSession() as http:
            session = janus.Session(http, server.address)
            join: Callable[[], Awaitable[load.Viewer]] = session.join
            if kind == "janus":
                await session.open()
            else:
                join = lambda: load.join(http, server.url)  # noqa: E731
            await asyncio.sleep(START_S)
            idle = await load.cpu_share(server, 1.5 * seconds)
            for count in counts:
                viewers = list(await asyncio.gather(*(join() for _ in range(count))))
                await load.wait_for_media(viewers)
                await asyncio.sleep(SETTLE_S)
                before, began = sum(viewer.arrivals.packets for viewer in viewers), time.monotonic()
                share = await load.cpu_share(server, seconds)
                rate = (sum(viewer.arrivals.packets for viewer in viewers) - before) / (time.monotonic() - began)
                costs[count] = Cost((share - idle) / count * 100, share / count * 100, (share - idle) / rate * 1e6)
                print(
                    f"{kind:9} {count:3} viewers: {share * 100:6.1f} % of a core (idle {idle * 100:.1f} %),"
                    f" {rate:7.0f} packets/s, {costs[count].packet_us:5.1f} us a packet",
                    flush=True,
                )
                await load.close(viewers)
            await session.close()
    return costs


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", default="1,20,40,80")
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    counts = [int(count) for count in options.viewers.split(",")]
    peers = ["aiortc", "janus"] if janus.library() else ["aiortc"]
    costs: dict[str, dict[int, Cost]] = {}
    with load.rtsp_camera() as url:
        for kind in ("liveedge", *peers):
            fitting = [count for count in counts if count <= VIEWERS_MAX.get(kind, count)]
            costs[kind] = await measure(kind, fitting or [VIEWERS_MAX[kind]], options.seconds, url)
    ours = costs["liveedge"]
    figures = [f"{count}: {cost.fanout:.2f} % ({cost.packet_us:.1f} us)" for count, cost in ours.items()]
    load.row("`bench.fanout`, CPU a viewer (a packet)", ", ".join(figures))
    for peer, name in (("aiortc", "stock aiortc"), ("janus", "Janus")):
        if peer not in costs:
            print(f"{name} is not installed (apt-get install {peer}) and was not measured")
            continue
        ratios = []
        for count, cost in ours.items():
            theirs = costs[peer][count if count in costs[peer] else max(costs[peer])]
            ratios.append(f"{count}: {cost.fanout / theirs.fanout:.2f} x ({cost.whole / theirs.whole:.2f} x)")
        most = max(costs[peer])
        load.row(
            f"against {name} (at {most}: {costs[peer][most].fanout:.2f} %)", ", ".join(ratios), f"{GOALS[peer]:.2f} x"
        )


if __name__ == "__main__":
    asyncio.run(main())
