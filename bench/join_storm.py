"""A hundred viewers within a second, while twenty watch.

    uv run python -m bench.join_storm [--viewers 100] [--watching 20]

A newcomer has its first picture when more packets have arrived than a keyframe has. The offers are made before, and
spread over one second; a join is an offer answered, ICE, DTLS and the replay of the GOP. The load runs on the same
machine and takes more CPU than the server.
"""

import argparse
import asyncio
import time

import aiohttp

from bench.support import webrtc_load as load

GOAL_PICTURE_S = 2.0
GOAL_CPU_MS = 4.0
GOAL_GAP_MS = 200.0
KEYFRAME_PACKETS = 30
"""More than the film's keyframe has: a first picture is complete."""


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--watching", type=int, default=20)
    options = parser.parse_args()
    with load.server("liveedge", "--gop", "30") as server:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            old = [await load.join(http, server.url) for _ in range(options.watching)]
            await load.wait_for_media(old)
            peers = [await load.offer() for _ in range(options.viewers)]
            await asyncio.sleep(3)
            steady = await _cpu_share(server, 3)
            for viewer in old:
                viewer.arrivals.longest_gap_s = 0.0
            cpu, began = server.cpu_s(), time.monotonic()
            pictures: list[float] = []

            async def come(place: int, peer: object) -> load.Viewer:
                await asyncio.sleep(place / options.viewers)
                started = time.monotonic()
                viewer = await load.join(http, server.url, peer)  # type: ignore[arg-type]
                while viewer.arrivals.packets < KEYFRAME_PACKETS:
                    await asyncio.sleep(0.005)
                pictures.append(time.monotonic() - started)
                return viewer

            new = list(await asyncio.gather(*(come(place, peer) for place, peer in enumerate(peers))))
            elapsed = time.monotonic() - began
            spent = server.cpu_s() - cpu
            gap = max(viewer.arrivals.longest_gap_s for viewer in old)
            # What sending to the newcomers costs meanwhile is no part of joining: take half of the full load's share.
            both = await _cpu_share(server, 3)
            joining_ms = (spent - elapsed * (steady + both) / 2) / options.viewers * 1000
            print(
                f"{options.viewers} joins in {elapsed:.2f} s while {options.watching} watch:"
                f" first picture p50 {load.percentile(pictures, 50):.2f} s,"
                f" last {max(pictures):.2f} s ({_verdict(max(pictures), GOAL_PICTURE_S)} s)"
            )
            print(f"server CPU a join: {joining_ms:.1f} ms ({_verdict(joining_ms, GOAL_CPU_MS)} ms)")
            print(f"longest pause of an old viewer: {gap * 1000:.0f} ms ({_verdict(gap * 1000, GOAL_GAP_MS)} ms)")
            await load.close(old + new)


async def _cpu_share(server: load.Server, seconds: float) -> float:
    cpu, began = server.cpu_s(), time.monotonic()
    await asyncio.sleep(seconds)
    return (server.cpu_s() - cpu) / (time.monotonic() - began)


def _verdict(value: float, goal: float) -> str:
    return f"{'meets' if value <= goal else 'misses'} the goal of {goal:.0f}"


if __name__ == "__main__":
    asyncio.run(main())
