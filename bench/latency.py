"""How long a frame is on its way through the gateway: from the hub to the last viewer's ``sendmsg``.

    uv run python -m bench.latency [--viewers 1,100] [--seconds 10]

Measured in the server, over every frame while all viewers are at the live edge. The load runs beside it on the same
machine; the CPU time says what the clock would without. Of a keyframe beyond the pace's bucket it is the first part:
the rest is sent at 50 Mbit/s on purpose.
"""

import argparse
import asyncio

import aiohttp

from bench.support import webrtc_load as load

GOALS_MS = {1: 2.0, 100: 25.0}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", default="1,100")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    with load.server("liveedge") as server:
        async with aiohttp.ClientSession() as http:
            for count in (int(count) for count in options.viewers.split(",")):
                viewers = [await load.join(http, server.url) for _ in range(count)]
                await load.wait_for_media(viewers)
                await asyncio.sleep(3)
                await http.get(f"{server.address}/delays")
                await asyncio.sleep(options.seconds)
                async with http.get(f"{server.address}/delays") as reply:
                    at_live_edge: int
                    measured: list[tuple[float, float]]
                    at_live_edge, measured = await reply.json()
                delays, cpu = [clock for clock, _ in measured], [spent for _, spent in measured]
                p50, p99 = load.percentile(delays, 50), load.percentile(delays, 99)
                goal = GOALS_MS.get(count)
                verdict = "" if goal is None else f" (goal p99 {goal:.0f} ms: {'met' if p99 <= goal else 'missed'})"
                print(
                    f"{count:3} viewers ({at_live_edge} at the live edge), {len(delays)} frames:"
                    f" p50 {p50:.2f} ms, p99 {p99:.2f} ms, longest {max(delays):.2f} ms{verdict};"
                    f" CPU p50 {load.percentile(cpu, 50):.2f} ms, p99 {load.percentile(cpu, 99):.2f} ms",
                    flush=True,
                )
                await load.close(viewers)


if __name__ == "__main__":
    asyncio.run(main())
