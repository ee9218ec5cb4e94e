"""Two nodes of a cluster as processes: each answers with the events of both, also while one is away."""

import http.client
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import pytest

from gateway.cluster.model import Node
from gateway.cluster.placement import ranked
from hls.cluster.store import PostgresStore
from tests.support.eventually import eventually_sync
from tests.support.ffprobe import decode, ffprobe
from tests.support.gateway_process import PYTHONPATH, GatewayProcess
from tests.support.postgres import postgres_server
from tests.support.rtsp import free_port

pytestmark = pytest.mark.integration

ADMIN = "the-token-of-the-admin"

RECEPTION = "the-token-of-the-reception"

NAMES = "ab"

LIMIT_S = 60.0


def camera_of(name: str) -> str:
    """The id of a camera for which a node is the first choice."""
    nodes = [Node(each, each) for each in NAMES]
    ids = (f"camera{number}" for number in range(1000))
    return next(camera_id for camera_id in ids if ranked(nodes, camera_id, frozenset())[0].name == name)


CAMERAS = {name: camera_of(name) for name in NAMES}

TABLES = f"""
[auth.tokens.reception]
token = "{RECEPTION}"
scopes = ["view", "control", "archive"]
cameras = ["{CAMERAS["b"]}"]
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, GatewayProcess]]:
    """Each owns the camera of :data:`CAMERAS`, and is asked with the admin's token."""
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        made = {}
        for name in NAMES:
            folder: Path = tmp_path_factory.mktemp(name)
            (folder / "liveedge.toml").write_text(TABLES)
            settings = {"CLUSTER_URL": server.url, "NODE_NAME": name, "AUTH_TOKEN": ADMIN}
            settings |= {"PORT": str(port := free_port()), "NODE_URL": f"http://127.0.0.1:{port}"}
            made[name] = stack.enter_context(GatewayProcess(folder, RECORD="always", **settings))
            made[name].headers = {"Authorization": f"Bearer {ADMIN}"}
        for camera_id in CAMERAS.values():
            table = {
                "camera_id": camera_id,
                "url": f"fake://{camera_id}?width=320&height=180",
                "engine": "fake",
                "start": "always",
            }
            made["a"].json("/api/cameras", "POST", table)

        def owners() -> Any:
            return made["b"].json("/api/status")["cluster"]["owners"]

        eventually_sync(lambda: len(owners()) == 2 and all(owners().values()), "nodes own the cameras")
        store = PostgresStore(server.url)
        store.open()
        store.want_rebalance()
        store.close()
        eventually_sync(
            lambda: owners() == {camera_id: name for name, camera_id in CAMERAS.items()}, "each owns its camera"
        )
        yield made


def create(node: GatewayProcess, camera_id: str, label: str, **fields: object) -> dict[str, Any]:
    made: dict[str, Any] = node.json("/api/events", "POST", {"camera_id": camera_id, "label": label, **fields})
    return made


def page(node: GatewayProcess, query: str = "", token: str = ADMIN) -> dict[str, Any]:
    """A list of events, once both nodes have answered in time."""

    def whole() -> dict[str, Any]:
        status, headers, body = node.fetch(f"/api/events{query}", headers={"Authorization": f"Bearer {token}"})
        assert status == 200
        found: dict[str, Any] = json.loads(body)
        return {} if "Liveedge-Away" in headers else found

    made: dict[str, Any] = eventually_sync(whole, "the list is of both nodes", limit_s=LIMIT_S)
    return made


def labels(node: GatewayProcess, query: str = "", token: str = ADMIN) -> list[str]:
    return [each["label"] for each in page(node, query, token)["events"]]


@contextmanager
def streaming(node: GatewayProcess, token: str, last_id: str | None = None) -> Iterator[Callable[[], dict[str, Any]]]:
    """Yields what returns the next message of ``/api/events/stream``, with its id."""
    url = urlsplit(node.url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)
    headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": last_id} if last_id else {})
    try:
        connection.request("GET", "/api/events/stream", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200

        def message(*, with_data: bool = True) -> dict[str, Any]:
            found: dict[str, Any] = {}
            deadline_s = time.monotonic() + LIMIT_S
            while True:
                assert time.monotonic() < deadline_s, "no message comes"
                line = answer.readline().decode().rstrip("\n")
                name, colon, value = line.partition(": ")
                if colon and name in ("id", "event", "data"):
                    found[name] = value
                if line == "" and ("data" in found or (found and not with_data)):
                    return found

        if last_id is None:
            message(with_data=False)  # where the log ends
        yield message
    finally:
        connection.close()


def test_lists_changes_and_single_events_are_those_of_both_nodes(nodes: dict[str, GatewayProcess]) -> None:
    a, b = nodes["a"], nodes["b"]
    made = [
        create(
            (a, b)[number % 2],
            CAMERAS["ab"[number // 2 % 2]],
            f"n{number}",
            start=1_700_000_000 + number // 3,
            duration_s=1,
        )
        for number in range(8)
    ]
    for node, camera in ((a, "a"), (b, "b")):
        own = node.json(f"/api/cameras/{CAMERAS[camera]}/events")["events"]
        assert {each["camera_id"] for each in own} == {CAMERAS[camera]}
    newest_first = [each["label"] for each in sorted(made, key=lambda each: (each["start"], each["id"]), reverse=True)]
    for node in (a, b):
        assert labels(node) == newest_first
        assert labels(node, "?order=oldest") == newest_first[::-1]
        assert labels(node, f"?camera={CAMERAS['a']}&label=n1&label=n2&label=n4") == [
            label for label in newest_first if label in ("n1", "n4")
        ]
        assert labels(node, token=RECEPTION) == [label for label in newest_first if label in ("n2", "n3", "n6", "n7")]
    # A page of one node is followed by one of the other.
    listed, query, number = list[str](), "?limit=3", 0
    while query:
        part = page((a, b)[number % 2], query)
        listed += [each["label"] for each in part["events"]]
        query, number = part["next_cursor"] and f"?limit=3&cursor={part['next_cursor']}", number + 1
    assert (listed, number) == (newest_first, 3)

    of_a, of_b = made[0]["id"], made[2]["id"]
    assert (made[0]["camera_id"], made[2]["camera_id"]) == (CAMERAS["a"], CAMERAS["b"])
    for event, there in ((of_a, b), (of_b, a)):
        path = f"/api/events/{event}"
        assert there.json(path)["id"] == event
        assert there.json(path, "PATCH", {"data": {"box": [1, 2]}, "reviewed": True})["data"] == {"box": [1, 2]}
        assert all(node.json(path)["reviewed"] for node in (a, b))
    # Who may see the cameras of one node sees nothing of the other, wherever it asks.
    seen = {"Authorization": f"Bearer {RECEPTION}"}
    for node in (a, b):
        assert node.fetch(f"/api/events/{of_b}", headers=seen)[0] == 200
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/clip.mp4"), ("GET", "/clip.jpg")):
            assert node.fetch(f"/api/events/{of_a}{path}", method, headers=seen)[0] == 404, (method, path)
        refused = json.dumps({"camera_id": CAMERAS["a"], "label": "x"}).encode()
        headers = seen | {"Content-Type": "application/json"}
        assert node.fetch("/api/events", "POST", refused, headers)[0] == 403
        assert node.fetch("/api/cluster/events/changes", headers=node.headers)[0] == 401, "for nodes alone"
        assert node.fetch(f"/api/events?camera={CAMERAS['a']}", headers=seen)[0] == 403
    key = node.headers | {"Idempotency-Key": "one", "Content-Type": "application/json"}
    body = json.dumps({"camera_id": CAMERAS["b"], "label": "keyed", "start": 1_600_000_000, "duration_s": 0}).encode()
    first, again = a.fetch("/api/events", "POST", body, key), b.fetch("/api/events", "POST", body, key)
    assert (first[0], again[0], again[1].get("Idempotency-Replayed")) == (201, 201, "true")
    assert first[2] == again[2]
    for event in (*(each["id"] for each in made), json.loads(first[2])["id"]):
        assert a.fetch(f"/api/events/{event}", "DELETE")[0] == 204
    assert (labels(a), labels(b)) == ([], [])
    assert b.fetch(f"/api/events/{of_a}")[0] == 404


def test_a_stream_at_either_node_goes_on_at_the_other(nodes: dict[str, GatewayProcess]) -> None:
    a, b = nodes["a"], nodes["b"]
    with streaming(a, ADMIN) as message, streaming(b, RECEPTION) as seen:
        create(b, CAMERAS["a"], "of a")
        create(a, CAMERAS["b"], "of b")
        # Changes just before the streams began may come first: the other node is heard of a moment later.
        waited_for = {"of a", "of b"}
        while waited_for:
            last = message()
            waited_for -= {json.loads(last["data"])["event"]["label"]}
        while (label := json.loads(seen()["data"])["event"]["label"]) != "of b":
            assert label != "of a"
    missed = create(a, CAMERAS["b"], "missed")
    # The position of the last message is one at the other node too.
    with streaming(b, ADMIN, last["id"]) as message:
        found = message()
        assert (found["event"], json.loads(found["data"])["event"]["id"]) == ("created", missed["id"])
        b.json(f"/api/events/{missed['id']}", "PATCH", {"end": "now"})
        assert message()["event"] == "updated"


def test_the_clip_of_an_event_is_made_where_the_event_is(nodes: dict[str, GatewayProcess]) -> None:
    a, b = nodes["a"], nodes["b"]
    event = create(a, CAMERAS["b"], "clip")
    eventually_sync(
        lambda: a.fetch(f"/api/events/{event['id']}/clip.mp4?pre_roll=0")[0] == 200, "there is something of it"
    )
    a.json(f"/api/events/{event['id']}", "PATCH", {"end": "now"})
    path = f"/api/events/{event['id']}/clip.mp4?post_roll=0"
    eventually_sync(lambda: b.fetch(path)[0] == 200, "the clip is there")
    here, there = a.fetch(path), b.fetch(path)
    assert here[2] == there[2]
    assert a.fetch(path, headers={"Range": "bytes=4-7"})[::2] == (206, b"ftyp")
    assert a.fetch(f"/api/events/{event['id']}/clip.jpg")[2][:2] == b"\xff\xd8"
    signed = a.json("/api/sign", "POST", {"path": f"/api/events/{event['id']}/clip.jpg"})["url"]
    with urllib.request.urlopen(f"{a.url}{signed}", timeout=LIMIT_S) as answer:
        assert answer.read(2) == b"\xff\xd8"


def test_while_a_node_is_away_the_events_of_the_other_are_there(nodes: dict[str, GatewayProcess]) -> None:
    a, b = nodes["a"], nodes["b"]
    for event in b.json("/api/events")["events"]:
        b.fetch(f"/api/events/{event['id']}", "DELETE")
    of_a, of_b = create(a, CAMERAS["a"], "of a"), create(b, CAMERAS["b"], "of b")
    with streaming(b, ADMIN) as message:
        a.kill()

        def away() -> bool:
            status, headers, body = b.fetch("/api/events")
            assert (status, [each["id"] for each in json.loads(body)["events"]]) == (200, [of_b["id"]])
            return headers.get("Liveedge-Away") == "a"

        eventually_sync(away, "the list names the node", limit_s=60)
        status, _, body = b.fetch(f"/api/events/{of_a['id']}")
        assert (status, json.loads(body)["error"]) == (503, "node_away"), "it may be there"
        assert b.json(f"/api/events/{of_b['id']}", "PATCH", {"reviewed": True})["reviewed"]
        assert message()["event"] == "updated"
        a.start()
        eventually_sync(lambda: "Liveedge-Away" not in b.fetch("/api/events")[1], "the node is back", limit_s=60)
        eventually_sync(lambda: labels(b) == labels(a) != [], "it has the events of both, too")
        a.json(f"/api/events/{of_a['id']}", "PATCH", {"label": "still a"})
        assert json.loads(message()["data"])["event"]["label"] == "still a", "the stream goes on where it was"


def test_a_clip_has_what_both_nodes_recorded(nodes: dict[str, GatewayProcess], tmp_path: Path) -> None:
    """The camera of the node b goes over to the node a meanwhile."""
    a, b = nodes["a"], nodes["b"]
    camera_id = CAMERAS["b"]
    began = time.time()

    def recorded(node: GatewayProcess, name: str) -> float:
        """The seconds that a node has recorded since then."""
        found = node.json(f"/api/cameras/{camera_id}/segments?start={began}")["segments"]
        own = [each for each in found if each["url"].endswith(f"node={name}")]
        return sum(datetime.fromisoformat(each["end"]).timestamp() - began for each in own)

    event = create(a, camera_id, "move", start=began)
    eventually_sync(lambda: recorded(b, "b") > 4, "the first owner has recorded some of it", limit_s=LIMIT_S)
    command = [sys.executable, "-m", "web", "drain"]
    environment = b.environment | PYTHONPATH
    assert not subprocess.run(command, env=environment, cwd=b.folder, timeout=2 * LIMIT_S, check=False).returncode

    def has_moved() -> bool:
        owned = a.json("/api/status")["cluster"]["owned"]
        return bool(owned.keys() == set(CAMERAS.values()))

    eventually_sync(has_moved, "it has moved", limit_s=LIMIT_S)
    since = time.time()
    eventually_sync(
        lambda: any(
            each["url"].endswith("node=a") and datetime.fromisoformat(each["end"]).timestamp() > since + 4
            for each in a.json(f"/api/cameras/{camera_id}/segments?start={began}")["segments"]
        ),
        "the second owner has recorded some of it",
        limit_s=LIMIT_S,
    )
    ended = since + 3
    clips = []
    for node in (a, b):
        path = f"/api/cameras/{camera_id}/clip.mp4?start={began + 1}&end={ended}"
        status, headers, clip = node.fetch(path)
        if "Liveedge-Away" in headers:  # the other node was slow
            status, headers, clip = node.fetch(path)
        assert (status, headers.get("Liveedge-Away")) == (200, None)
        assert node.fetch(path, headers={"Range": "bytes=100-4099"})[2] == clip[100:4100]
        clips.append(clip)
    file = tmp_path / "clip.mp4"
    for clip in clips:
        file.write_bytes(clip)
        assert decode(file) == ""
        with av.open(str(file)) as container:
            video = container.streams.video[0]
            assert video.time_base is not None
            times = [float(frame.pts * video.time_base) for frame in container.decode(video) if frame.pts is not None]
        # The hand-over loses no picture: the clip is as long as the span, without a gap.
        assert times[0] == pytest.approx(0, abs=0.2)
        assert times[-1] == pytest.approx(ended - began - 1, abs=1.5)
        assert max(later - earlier for earlier, later in pairwise(times)) < 1.5
    days = [datetime.fromtimestamp(began + offset, UTC).date() for offset in (-86_400, 86_400)]
    for query in (f"activity?start={began}&end={ended}&step=1", f"days?first={days[0]}&last={days[1]}"):
        assert a.json(f"/api/cameras/{camera_id}/{query}") == b.json(f"/api/cameras/{camera_id}/{query}")
    a.json(f"/api/events/{event['id']}", "PATCH", {"end": ended})
    path = f"/api/events/{event['id']}/clip.mp4?pre_roll=0&post_roll=0"
    eventually_sync(lambda: a.fetch(path)[0] == 200, "the clip of the event is there")
    of_event = a.fetch(path)[2]
    assert of_event == b.fetch(path)[2]
    file.write_bytes(of_event)
    assert decode(file) == ""
    assert float(ffprobe(file)["format"]["duration"]) == pytest.approx(ended - began, abs=2)
    asked = {"cameras": [camera_id], "start": str(began + 1), "end": str(ended)}
    export = f"/api/exports/{a.json('/api/exports', 'POST', asked)['id']}"
    eventually_sync(lambda: b.json(export)["state"] == "done", "the export is done", limit_s=LIMIT_S)
    assert b.fetch(f"{export}/export.zip")[2] == a.fetch(f"{export}/export.zip")[2]
    assert b.json("/api/exports") == a.json("/api/exports")
    assert b.fetch(export, headers={"Authorization": f"Bearer {RECEPTION}"})[0] == 200
    assert (b.fetch(export, "DELETE")[0], a.fetch(export)[0], b.fetch(export)[0]) == (204, 404, 404)
