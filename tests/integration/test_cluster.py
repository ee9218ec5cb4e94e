"""Nodes of a cluster as processes, with a PostgreSQL server: who captures a camera, whatever happens to a node."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.cluster.model import Node
from gateway.cluster.placement import ranked
from tests.support.eventually import eventually_sync
from tests.support.gateway_process import GatewayProcess
from tests.support.postgres import PostgresServer, postgres_server

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.integration


class Cluster:
    """Two nodes, ``a`` and ``b``, with one camera ``door``."""

    def __init__(self, server: PostgresServer, a: GatewayProcess, b: GatewayProcess) -> None:
        self.server = server
        self.nodes = {"a": a, "b": b}

    def camera(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.nodes[name].json("/api/cameras/door")
        return found

    def cluster(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.nodes[name].json("/api/status")["cluster"]
        return found

    def metric(self, name: str, family: str) -> int:
        """A counter of a node."""
        metrics = self.nodes[name].fetch("/metrics")[2].decode()
        return int(float(metrics.rpartition(f"\n{family} ")[2].partition("\n")[0]))

    def captures(self, name: str) -> bool:
        return bool(self.camera(name).get("state") == "live")

    def owner(self) -> str:
        """The name of the one node that captures the camera, once both nodes know each other."""
        found: list[str] = []

        def one() -> bool:
            found[:] = [name for name in self.nodes if self.captures(name)]
            views = [self.cluster(name) for name in self.nodes]
            return len(found) == 1 and all(
                view["owners"] == {"door": found[0]}
                and not view["provisional"]
                and {node["name"] for node in view["nodes"]} == {"a", "b"}
                for view in views
            )

        eventually_sync(one, "one node captures the camera")
        return found[0]

    def other(self, name: str) -> str:
        return "b" if name == "a" else "a"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        nodes = []
        for name in "ab":
            settings = {"CLUSTER_URL": server.url, "NODE_NAME": name, "NODE_URL": f"http://{name}.example"}
            folder: Path = tmp_path_factory.mktemp(name)
            nodes.append(stack.enter_context(GatewayProcess(folder, ARCHIVE_SEGMENT_SECONDS=2, **settings)))
        made = Cluster(server, *nodes)
        nodes[0].json("/api/cameras", "POST", {"camera_id": "door", "url": "fake://door", "engine": "fake"})
        yield made


def test_one_node_captures_and_the_other_names_it(cluster: Cluster) -> None:
    owner = cluster.owner()
    other = cluster.other(owner)
    assert (cluster.camera(other)["state"], cluster.camera(other)["error_message"]) == ("stopped", None)
    assert cluster.cluster(other)["owners"] == {"door": owner}
    assert cluster.cluster(owner)["owned"].keys() == {"door"}


def spans(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    """The recordings of the camera that count, as a node lists them, in the order of their time."""
    found = cluster.nodes[name].json("/api/cameras/door/recordings?limit=900")["recordings"]
    return sorted((each for each in found if each["counts_from"]), key=lambda each: str(each["counts_from"]))


def test_the_metrics_that_the_documentation_names_exist(cluster: Cluster) -> None:
    metrics = cluster.nodes["a"].fetch("/metrics")[2].decode()
    named = {
        name
        for page in (*(ROOT / "docs").glob("*.md"), ROOT / "docs" / "alerts.yml")
        for name in re.findall("liveedge_cluster_[a-z_]+", page.read_text())
    }
    assert len(named) > 8
    assert {name for name in named if f"\n{name} " not in metrics} == set()


def test_a_node_that_is_killed_loses_its_camera_to_the_other(cluster: Cluster) -> None:
    owner = cluster.owner()
    epoch = cluster.cluster(owner)["owned"]["door"]
    eventually_sync(lambda: spans(cluster, owner), "its recording is in the shared index")
    cluster.nodes[owner].kill()
    other = cluster.other(owner)
    eventually_sync(lambda: cluster.captures(other), "the other node captures the camera")
    assert cluster.cluster(other)["owned"] == {"door": epoch + 1}
    cluster.nodes[owner].start()
    assert cluster.owner() == other, "the camera stays where it is"


def run(node: GatewayProcess, command: str) -> subprocess.CompletedProcess[str]:
    """``liveedge`` with a command and the settings of a node."""
    return subprocess.run(
        [sys.executable, "-m", "web", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=node.environment | {"PYTHONPATH": str(ROOT)},
        cwd=node.folder,
    )


def test_every_node_lists_what_all_have_recorded(cluster: Cluster) -> None:
    """The killed node's recordings are listed with its name; no moment counts twice."""
    owner = cluster.owner()

    def both() -> bool:
        return all({each["node"] for each in spans(cluster, name)} == {"a", "b"} for name in "ab")

    eventually_sync(both, "recordings of both nodes are listed by both")
    listed = spans(cluster, owner)
    for before, after in pairwise(listed):
        assert before["counts_to"] <= after["counts_from"]
    assert {each["url"] for each in listed} == {"http://a.example", "http://b.example"}
    assert len({each["epoch"] for each in listed}) > 1


def test_a_node_that_was_paused_yields(cluster: Cluster) -> None:
    owner = cluster.owner()
    other = cluster.other(owner)
    os.kill(cluster.nodes[owner].pid, signal.SIGSTOP)
    try:
        eventually_sync(lambda: cluster.captures(other), "the other node captures the camera")
    finally:
        os.kill(cluster.nodes[owner].pid, signal.SIGCONT)
    assert cluster.owner() == other


def test_a_node_drains_by_command_and_takes_no_new_viewers(cluster: Cluster) -> None:
    owner = cluster.owner()
    node, other = cluster.nodes[owner], cluster.other(owner)
    assert node.json("/ready") == {"status": "ok"}
    done = run(node, "drain")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{owner} has no cameras any more, and takes none until it is restarted\n"
    assert cluster.owner() == other
    assert node.json("/ready")["error"] == "unavailable"
    assert node.json("/health") == {"status": "ok"}
    assert cluster.nodes[other].json("/ready") == {"status": "ok"}
    node.stop()
    node.start()
    assert cluster.owner() == other
    done = run(node, "rebalance")
    assert (done.returncode, done.stdout[:7]) == (0, "2 nodes"), done.stderr
    nodes = [Node(name, name) for name in "ab"]
    first = ranked(nodes, "door", frozenset())[0].name
    eventually_sync(lambda: cluster.owner() == first, "the first choice has the camera")


def test_cameras_are_changed_at_any_node(cluster: Cluster) -> None:
    other = cluster.other(cluster.owner())
    cluster.nodes[other].json("/api/cameras/door", "PATCH", {"name": "Front door"})
    eventually_sync(
        lambda: all(cluster.camera(name)["name"] == "Front door" for name in "ab"), "both nodes know the new name"
    )
    cluster.nodes[other].json("/api/cameras", "POST", {"camera_id": "gate", "url": "fake://gate", "engine": "fake"})
    eventually_sync(
        lambda: (
            sorted(node.json("/api/cameras/gate").get("state", "") for node in cluster.nodes.values())
            == ["live", "stopped"]
        ),
        "one node captures the new camera",
    )
    status, _, body = cluster.nodes[cluster.other(other)].fetch("/api/cameras/gate", "DELETE")
    assert status == 204, body
    eventually_sync(
        lambda: all(len(node.json("/api/cameras")["cameras"]) == 1 for node in cluster.nodes.values()),
        "no node has the camera that was removed",
    )


def test_without_the_database_the_owner_captures_and_records(cluster: Cluster) -> None:
    owner = cluster.owner()
    node = cluster.nodes[owner]
    cluster.server.stop()
    try:
        eventually_sync(lambda: cluster.cluster(owner)["provisional"], "the lease has expired")
        since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

        def is_recorded() -> bool:
            assert cluster.captures(owner)
            return len(node.json(f"/api/cameras/door/segments?start={since}")["segments"]) > 2

        eventually_sync(is_recorded, "segments are recorded")
        assert node.json("/health") == node.json("/ready") == {"status": "ok"}
        (problem,) = [each for each in node.json("/api/status")["problems"] if each["component"] == "cluster"]
        assert "cannot be reached" in problem["message"]
        status, _, _ = node.fetch(
            "/api/cameras/door", "PATCH", b'{"name": "Door"}', {"Content-Type": "application/json"}
        )
        assert status == 503
    finally:
        cluster.server.start()
    eventually_sync(lambda: not cluster.cluster(owner)["provisional"], "the owner is one again")
    assert cluster.owner() == owner


def test_a_node_that_ends_hands_its_camera_over_before(cluster: Cluster) -> None:
    owner = cluster.owner()
    other = cluster.other(owner)
    before = cluster.metric(other, "liveedge_cluster_handovers_total")
    cluster.nodes[owner].stop()
    assert cluster.captures(other)  # at once
    eventually_sync(
        lambda: cluster.metric(other, "liveedge_cluster_handovers_total") == before + 1,
        "it was captured before it was owned",
    )
    listed = spans(cluster, other)
    for first, second in pairwise(listed):
        assert first["counts_to"] <= second["counts_from"]
