"""Measure how soon the nodes of a cluster know what another one has changed: a camera, and who owns it.

    make bench NAME=cluster_news [ARGS='--rounds 20']

Three nodes with a PostgreSQL server. In each round a camera is added at a node, renamed and removed: how long until all
nodes know its owner, its name, and that it is gone. A round begins at another moment of the nodes' heartbeats.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.support import webrtc_load as load
from bench.support.cluster_nodes import cluster_nodes
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess

CAMERA = "changed"

STEP_S = 0.137
"""Of a round's beginning. No divisor of the heartbeat."""


def owners(node: GatewayProcess) -> object:
    """Who captures the camera, as a node knows."""
    return node.json("/api/status")["cluster"]["owners"].get(CAMERA)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    took: dict[str, list[float]] = {"the owner of a new camera": [], "its new name": [], "its removal": []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        nodes = stack.enter_context(cluster_nodes(folder, dict.fromkeys("abc", ())))
        every = list(nodes.values())

        async def known(what: str, condition: Callable[[GatewayProcess], object]) -> None:
            began_s = time.monotonic()
            await eventually(lambda: all(condition(node) for node in every), "every node knows")
            took[what].append(time.monotonic() - began_s)

        for number in range(options.rounds):
            await asyncio.sleep(1 + STEP_S * number % 1)
            camera = {"camera_id": CAMERA, "url": "fake://changed", "engine": "fake", "record": "never"}
            every[number % 3].json("/api/cameras", "POST", camera | {"start": "on-demand"})
            await known("the owner of a new camera", owners)
            name = f"name {number}"
            every[number % 3].json(f"/api/cameras/{CAMERA}", "PATCH", {"name": name})
            await known("its new name", lambda node, name=name: node.camera(CAMERA).get("name") == name)  # type: ignore[misc]
            every[number % 3].fetch(f"/api/cameras/{CAMERA}", "DELETE")
            await known("its removal", lambda node: "error" in node.camera(CAMERA))
    for what, values in took.items():
        p50, p95 = (load.percentile(values, percent) * 1000 for percent in (50, 95))
        load.row(f"`bench.cluster_news`, until all of three nodes know {what}", f"p50 {p50:.0f} ms, p95 {p95:.0f} ms")


if __name__ == "__main__":
    asyncio.run(main())
