"""How long a frame takes through the gateway: from the hub to its last packet's ``sendmsg`` for the last viewer.

    uv run python -m bench.latency [--viewers 1,100] [--seconds 15]

Measured in the server over every frame of a 4 Mbit/s, 30 fps camera, with all viewers at the live edge. Keyframes (80
KB, one in 60 frames) are told apart: of them more than the bucket holds is sent at 50 Mbit/s on purpose, which
counts here. The load runs beside it on the same machine; the CPU time says what the clock would say without.
"""

import argparse
import asyncio

import aiohttp

from bench.support import webrtc_load as load

GOALS_MS = {1: 2.0, 100: 25.0}
SETTLE_S = 4.0
"""Longer than the replays of a hundred newcomers, and than the load's handshakes."""


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", default="1,100")
    parser.add_argument("--seconds", type=float, default=15)
    options = parser.parse_args()
    with load.server("liveedge", "--delays") as server:
        async with aiohttp.ClientSession() as http:
            for count in (int(count) for count in options.viewers.split(",")):
                viewers = [await load.join(http, server.url) for _ in range(count)]
                await load.wait_for_media(viewers)
                await asyncio.sleep(SETTLE_S)
                await http.get(f"{server.address}/delays")
                await asyncio.sleep(options.seconds)
                async with http.get(f"{server.address}/delays") as reply:
                    measured = await reply.json()
                frames: list[tuple[float, float, float]] = measured["frames"]
                delays, cpu = [clock for clock, _, _ in frames], [spent for _, spent, _ in frames]
                keyframes = [clock for clock, _, is_keyframe in frames if is_keyframe]
                p50, p99 = load.percentile(delays, 50), load.percentile(delays, 99)
                deltas = load.percentile([clock for clock, _, is_keyframe in frames if not is_keyframe], 99)
                figure = (
                    f"p50 {p50:.1f} ms, p99 {p99:.1f} ms (without keyframes {deltas:.1f} ms); keyframes p50"
                    f" {load.percentile(keyframes, 50):.1f} ms; CPU p99 {load.percentile(cpu, 99):.1f} ms"
                )
                goal = load.verdict(p99, GOALS_MS[count], "ms p99") if count in GOALS_MS else ""
                load.row(f"`bench.latency`, {count} viewer{'s' * (count > 1)}", figure, goal)
                if measured["behind"]:
                    print(f"viewers were behind the live edge {measured['behind']} times meanwhile: measure again")
                await load.close(viewers)


if __name__ == "__main__":
    asyncio.run(main())
