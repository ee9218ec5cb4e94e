"""Measure what a relay between two nodes of a cluster adds to the delay of each frame, and what it costs.

    make bench NAME=relay [ARGS='--seconds 20 --viewers 1 --bit-rate 4000000']

Two nodes with a PostgreSQL server; the camera of 1280x720 and 29 fps is another process. The same number of viewers
watches at the owner and at the other node, all by WebRTC. A frame's delay begins when the camera gives it to its
socket, and ends when ``sendmsg`` of its last packet has returned for the last viewer of a node. The difference between
the two nodes, frame by frame, is what the relay adds. CPU is that of each process.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import aiohttp

from bench.latency import PERCENTS, take, text
from bench.support import webrtc_load as load
from bench.support.cluster_nodes import cluster_nodes, wait_for_owner
from tests.support.gateway_process import GatewayProcess

GOAL_MS = 5.0

SETTLE_S = 4.0

CAMERA = "watched"


def timed(measured_to: Path) -> tuple[str, ...]:
    """The prefix of a node's command."""
    return (sys.executable, "-m", "bench.support.timed_gateway", str(measured_to))


def _process_of(node: GatewayProcess) -> subprocess.Popen[str]:
    assert isinstance(node.process, subprocess.Popen)
    return node.process


async def measure(
    nodes: dict[str, GatewayProcess], owner: str, files: dict[str, Path], seconds: float, count: int
) -> None:
    """Print the rows."""
    async with aiohttp.ClientSession() as http:
        viewers = [await load.join(http, f"{node.url}/whep/{CAMERA}") for node in nodes.values() for _ in range(count)]
        await load.wait_for_media(viewers)
        await asyncio.sleep(SETTLE_S)
        servers = {name: load.Server(_process_of(node), node.url) for name, node in nodes.items()}
        for name, node in nodes.items():
            await take(node, files[name])
        cpu_s = {name: server.cpu_s() for name, server in servers.items()}
        await asyncio.sleep(seconds)
        cpu_s = {name: server.cpu_s() - cpu_s[name] for name, server in servers.items()}
        found = {name: await take(node, files[name]) for name, node in nodes.items()}
        await load.close(viewers)
    frames = {name: {each["captured_at_90k"]: each for each in one["frames"]} for name, one in found.items()}
    (relay,) = (name for name in nodes if name != owner)
    both = frames[owner].keys() & frames[relay].keys()
    if not both:
        raise SystemExit("no frame came to the viewers of both nodes: measure again")
    added = [frames[relay][key]["from_capture_ms"] - frames[owner][key]["from_capture_ms"] for key in both]
    p95 = load.percentile(added, 95)
    load.row(
        f"`bench.relay`, {count} viewer(s) at each node, added to a frame",
        f"{text([load.percentile(added, percent) for percent in PERCENTS], 'ms')}; {len(both)} frames",
        load.verdict(p95, GOAL_MS, "ms p95"),
    )
    for name in (owner, relay):
        delays = [frame["from_capture_ms"] for frame in frames[name].values()]
        load.row(
            f"`bench.relay`, {'owner' if name == owner else 'relay'}, socket of the camera to sendmsg",
            f"{text([load.percentile(delays, percent) for percent in PERCENTS], 'ms')};"
            f" CPU {cpu_s[name] / seconds:.1%} of a core",
        )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--viewers", type=int, default=1, help="at each node")
    parser.add_argument("--bit-rate", type=int, default=4_000_000)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (url,) = stack.enter_context(
            load.rtsp_cameras("loop", "--cameras", "1", "--bit-rate", str(options.bit_rate), "--gop", "58")
        )
        files = {name: folder / f"{name}.json" for name in "ab"}
        nodes = stack.enter_context(cluster_nodes(folder, {name: timed(file) for name, file in files.items()}))
        nodes["a"].json("/api/cameras", "POST", {"camera_id": CAMERA, "url": url, "record": "never", "start": "always"})
        owner = await wait_for_owner(nodes, CAMERA)
        await measure(nodes, owner, files, options.seconds, options.viewers)


if __name__ == "__main__":
    asyncio.run(main())
