"""Nodes of a cluster as processes, with a PostgreSQL server of their own."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.postgres import postgres_server
from tests.support.rtsp import free_port


@contextmanager
def cluster_nodes(folder: Path, prefixes: Mapping[str, Sequence[str]]) -> Iterator[dict[str, GatewayProcess]]:
    """Run a node for each name, with a prefix of its command, until the block ends."""
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        nodes: dict[str, GatewayProcess] = {}
        for name, prefix in prefixes.items():
            port = free_port()
            (folder / name).mkdir()
            settings = {"NODE_NAME": name, "NODE_URL": f"http://127.0.0.1:{port}", "PORT": port}
            nodes[name] = GatewayProcess(folder / name, CLUSTER_URL=server.url, **settings)
            nodes[name].prefix = prefix
            stack.enter_context(nodes[name])
        yield nodes


async def wait_for_owner(nodes: Mapping[str, GatewayProcess], camera_id: str) -> str:
    """Wait until all nodes agree who captures a camera, and it is live there; return the owner's name."""
    found: list[str] = []

    def is_known() -> bool:
        views = {name: node.json("/api/status")["cluster"]["owners"].get(camera_id) for name, node in nodes.items()}
        found[:] = [str(each) for each in set(views.values())]
        return len(found) == 1 and found[0] in nodes and nodes[found[0]].camera(camera_id)["state"] == "live"

    await eventually(is_known, "one node captures the camera, and all know it")
    return found[0]
