"""Measure a hundred joins within a second, while twenty viewers watch a 4 Mbit/s camera (30 fps, keyframes of 80 KB).

    make bench NAME=join_storm ARGS='[--viewers 100] [--watching 20]'

A new viewer has its picture when every packet of its first frame, the keyframe, has arrived; the clock starts with its
POST. The offers are made before, and spread over one second. A join is an answered offer, ICE, DTLS and the replay of
the GOP. The load runs on the same machine and takes more CPU than the server: much of the times is its own.
"""

import argparse
import asyncio
import time

import aiohttp
from aiortc import RTCPeerConnection

from bench.support import webrtc_load as load

GOAL_PICTURE_S = 2.0
GOAL_CPU_MS = 4.0
GOAL_GAP_MS = 200.0

PATIENCE_S = 10.0
"""A new viewer without a picture by then has lost a packet: the load does not ask for it again."""


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--watching", type=int, default=20)
    options = parser.parse_args()
    with load.server("liveedge") as server:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            old = [await load.join(http, server.url) for _ in range(options.watching)]
            await load.wait_for_media(old)
            peers = [await load.offer() for _ in range(options.viewers)]
            await asyncio.sleep(2)
            steady = await load.cpu_share(server, 3)
            for viewer in old:
                viewer.arrivals.longest_gap_s = 0.0
            cpu, began = server.cpu_s(), time.monotonic()
            pictures: list[float] = []

            async def come(place: int, peer: RTCPeerConnection) -> load.Viewer:
                await asyncio.sleep(place / options.viewers)
                started = time.monotonic()
                viewer = await load.join(http, server.url, peer)
                while viewer.arrivals.first_frame_s is None and time.monotonic() - started < PATIENCE_S:
                    await asyncio.sleep(0.005)
                if viewer.arrivals.first_frame_s is not None:
                    pictures.append(viewer.arrivals.first_frame_s - started)
                return viewer

            new = list(await asyncio.gather(*(come(place, peer) for place, peer in enumerate(peers))))
            elapsed = time.monotonic() - began
            spent = server.cpu_s() - cpu
            gap_ms = max(viewer.arrivals.longest_gap_s for viewer in old) * 1000
            # What sending to the new viewers costs meanwhile is no part of joining: take half of the full load's share.
            both = await load.cpu_share(server, 3)
            joining_ms = (spent - elapsed * (steady + both) / 2) / options.viewers * 1000
            packets = load.percentile([float(viewer.arrivals.first_frame_packets) for viewer in new], 50)
            await load.close(old + new)
    print(f"{options.viewers} joins while {options.watching} watch; a first keyframe has {packets:.0f} packets")
    if len(pictures) < len(new):
        print(
            f"{len(new) - len(pictures)} new viewers had no complete keyframe: packets were lost before they were read"
        )
    p50, last = load.percentile(pictures, 50), max(pictures)
    name = f"`bench.join_storm`, {options.viewers} joins, {options.watching} watching: first keyframe"
    load.row(name, f"p50 {p50:.2f} s, last {last:.2f} s", load.verdict(last, GOAL_PICTURE_S, "s"))
    load.row("CPU a join", f"{joining_ms:.1f} ms", load.verdict(joining_ms, GOAL_CPU_MS, "ms"))
    load.row("longest pause of an old viewer", f"{gap_ms:.0f} ms", load.verdict(gap_ms, GOAL_GAP_MS, "ms"))


if __name__ == "__main__":
    asyncio.run(main())
