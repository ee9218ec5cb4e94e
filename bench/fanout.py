"""What a viewer costs: server CPU at 1, 20, 40 and 80 viewers of one 4 Mbit/s, 30 fps camera, against stock aiortc.

    uv run python -m bench.fanout [--viewers 1,20,40,80] [--seconds 8]

Both servers are fed the same film in the same way and measured in the same run; on a shared machine only the ratio
holds. What the server costs without viewers (the camera) is taken off. aiortc is measured up to 20 viewers: more do not
fit beside the load in a small machine, and its cost a packet does not change.
"""

import argparse
import asyncio
import time

import aiohttp

from bench.support import webrtc_load as load

GOAL = 0.10
AIORTC_VIEWERS_MAX = 20


async def measure(kind: str, counts: list[int], seconds: float) -> dict[int, float]:
    """CPU microseconds a packet, by number of viewers."""
    costs: dict[int, float] = {}
    with load.server(kind) as server:
        async with aiohttp.ClientSession() as http:
            await asyncio.sleep(1)
            idle = await cpu_share(server, seconds / 2)
            for count in counts:
                viewers = list(await asyncio.gather(*(load.join(http, server.url) for _ in range(count))))
                await load.wait_for_media(viewers)
                await asyncio.sleep(3)
                before, began = sum(viewer.arrivals.packets for viewer in viewers), time.monotonic()
                share = await cpu_share(server, seconds) - idle
                elapsed = time.monotonic() - began
                rate = (sum(viewer.arrivals.packets for viewer in viewers) - before) / elapsed
                costs[count] = share / rate * 1e6
                print(
                    f"{kind:9} {count:3} viewers: {share * 100:6.1f} % of a core (idle {idle * 100:.1f} %),"
                    f" {rate:7.0f} packets/s, {costs[count]:5.1f} us a packet",
                    flush=True,
                )
                await load.close(viewers)
    return costs


async def cpu_share(server: load.Server, seconds: float) -> float:
    """CPU seconds a second."""
    cpu, began = server.cpu_s(), time.monotonic()
    await asyncio.sleep(seconds)
    return (server.cpu_s() - cpu) / (time.monotonic() - began)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", default="1,20,40,80")
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    counts = [int(count) for count in options.viewers.split(",")]
    theirs = await measure("aiortc", [count for count in counts if count <= AIORTC_VIEWERS_MAX], options.seconds)
    ours = await measure("liveedge", counts, options.seconds)
    for count, cost in ours.items():
        at = count if count in theirs else max(theirs)
        ratio = cost / theirs[at]
        verdict = "met" if ratio <= GOAL else "missed"
        print(f"{count:3} viewers: {ratio:.3f} x stock aiortc at {at} viewers (goal {GOAL:.2f}: {verdict})")


if __name__ == "__main__":
    asyncio.run(main())
