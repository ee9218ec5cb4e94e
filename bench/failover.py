"""Measure how long viewers at another node see no picture when the node that captures their camera is killed.

    make bench NAME=failover [ARGS='--rounds 10']

Three nodes with a PostgreSQL server, one camera with a GOP of 2 s in another process, and a WebRTC viewer at each node
that does not own it. In each round the owner is killed with SIGKILL, the gap at each viewer that stays is measured, and
the node is started again. The gap is the longest time between two RTP packets of a viewer, which keeps its connection:
both the node that becomes the owner and the one that relays from it count.
"""

import argparse
import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path

import aiohttp

from bench.support import webrtc_load as load
from bench.support.cluster_nodes import cluster_nodes, wait_for_owner
from tests.support.eventually import eventually

GOAL_S = 7.0

CAMERA = "watched"

STEADY_S = 7.0
"""How long a round waits before it kills: the camera was live for 5 s then, and all nodes know each other."""

AFTER_S = 1.5
"""How long pictures come before a gap counts as over."""


async def pictures_are_back(arrivals: list[load.Arrivals]) -> None:
    """Wait for the end of a gap at each viewer."""
    await eventually(lambda: all(each.longest_gap_s > 1.0 for each in arrivals), "pictures are back")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    gaps: dict[str, list[float]] = {"relay": [], "owner": []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (url,) = stack.enter_context(load.rtsp_cameras("loop", "--cameras", "1", "--bit-rate", "750000", "--gop", "58"))
        nodes = stack.enter_context(cluster_nodes(folder, dict.fromkeys("abc", ())))
        nodes["a"].json("/api/cameras", "POST", {"camera_id": CAMERA, "url": url})
        async with aiohttp.ClientSession() as http:
            for _ in range(options.rounds):
                owner = await wait_for_owner(nodes, CAMERA)
                others = [name for name in nodes if name != owner]
                viewers = {name: await load.join(http, f"{nodes[name].url}/whep/{CAMERA}") for name in others}
                await load.wait_for_media(list(viewers.values()))
                await asyncio.sleep(STEADY_S)
                for viewer in viewers.values():
                    viewer.arrivals.longest_gap_s = 0.0
                await asyncio.to_thread(nodes[owner].kill)
                await pictures_are_back([viewer.arrivals for viewer in viewers.values()])
                await asyncio.sleep(AFTER_S)
                left = {name: nodes[name] for name in others}
                new = await wait_for_owner(left, CAMERA)
                for name, viewer in viewers.items():
                    if viewer.peer.connectionState != "connected":
                        raise SystemExit(f"the viewer at {name} lost its connection")
                    gaps["owner" if name == new else "relay"].append(viewer.arrivals.longest_gap_s)
                await load.close(list(viewers.values()))
                await asyncio.to_thread(nodes[owner].start)
    both = gaps["owner"] + gaps["relay"]
    for name, values in (("all viewers", both), ("at the new owner", gaps["owner"]), ("at a relay", gaps["relay"])):
        load.row(
            f"`bench.failover`, {options.rounds} owners killed, GOP 2 s, {name}",
            f"no picture for p50 {load.percentile(values, 50):.2f} s, p95 {load.percentile(values, 95):.2f} s,"
            f" worst {max(values):.2f} s; {len(values)} viewers, none lost its connection",
            load.verdict(load.percentile(values, 95), GOAL_S, "s p95") if values is both else "",
        )


if __name__ == "__main__":
    asyncio.run(main())
