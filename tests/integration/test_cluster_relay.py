"""Viewers at nodes of a cluster that do not capture the camera: three processes, PostgreSQL, a real RTSP camera."""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from yarl import URL

from gateway.cluster.model import Node
from gateway.cluster.placement import ranked
from hls.cluster.store import PostgresStore
from tests.support.eventually import eventually, eventually_sync
from tests.support.gateway_process import GatewayProcess
from tests.support.postgres import postgres_server
from tests.support.rtsp import RtspServer, free_port
from tests.support.whep_clients import Watching, aiortc_peer
from tests.support.whip import offer_of

pytestmark = pytest.mark.integration

NAMES = "abc"


def camera_of(*choices: str) -> str:
    """The id of a camera for which the nodes are the first, second and third choice."""
    nodes = [Node(name, name) for name in NAMES]
    ids = (f"camera{number}" for number in range(1000))
    return next(id for id in ids if [node.name for node in ranked(nodes, id, frozenset())] == list(choices))


TO_VIEWER, TO_OTHER = camera_of("a", "b", "c"), camera_of("a", "c", "b")
"""Of the first, the node with the viewers is the next owner; of the second, a third node is."""


class Nodes:
    """Three nodes with two cameras, both captured by ``a``, and the URL of their database."""

    def __init__(self, nodes: dict[str, GatewayProcess], database_url: str) -> None:
        self.nodes = nodes
        self.database_url = database_url

    def owners(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.nodes[name].json("/api/status")["cluster"]["owners"]
        return found

    def recorded(self, camera_id: str) -> set[str]:
        """The names of the nodes that have recordings, as ``b`` lists them."""
        listed = self.nodes["b"].json(f"/api/cameras/{camera_id}/segments")["segments"]
        return {each["url"].partition("?node=")[2] for each in listed}

    def counting(self, camera_id: str) -> set[str]:
        """The names of the nodes with files that count in the index of all recordings, as ``b`` lists them."""
        rows = self.nodes["b"].json(f"/api/cameras/{camera_id}/recordings")["recordings"]
        return {each["node"] for each in rows if each["counts_from"]}

    async def kill_owner(self) -> None:
        """Kill ``a``, which owns both cameras, once the other nodes know that it has recorded them."""
        for camera_id in (TO_VIEWER, TO_OTHER):
            await eventually(lambda: self.counting(camera_id) == {"a"}, "the index has what the owner records")  # noqa: B023
        self.nodes["a"].kill()
        await eventually(
            lambda: self.owners("b") == {TO_VIEWER: "b", TO_OTHER: "c"}, "the next choices own the cameras"
        )


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        camera = stack.enter_context(RtspServer())
        made = {}
        for name in NAMES:
            folder: Path = tmp_path_factory.mktemp(name)
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            settings = {"CLUSTER_URL": server.url, "NODE_NAME": name, "NODE_URL": url, "PORT": port}
            settings["CLUSTER_VIEWERS"] = "redirect" if name == "c" else "relay"
            made[name] = GatewayProcess(folder, **settings)
            stack.enter_context(made[name])
        for camera_id in (TO_VIEWER, TO_OTHER):
            made["a"].json("/api/cameras", "POST", {"camera_id": camera_id, "url": camera.url("/gop1")})
        found = Nodes(made, server.url)
        wanted = {TO_VIEWER: "a", TO_OTHER: "a"}
        eventually_sync(lambda: all(found.owners(name) == wanted for name in NAMES), "the first choice has them")
        yield found


@dataclass
class LivePlaylist:
    """What a live playlist has. ``begins_with_discontinuity``: before its first segment."""

    msn: int
    discontinuity: int
    segments: int
    names: list[str]
    begins_with_discontinuity: bool


async def live_playlist(nodes: Nodes, name: str, camera_id: str, msn: int | None = None) -> LivePlaylist:
    """Of a camera at a node, once it has a segment."""

    async def read() -> LivePlaylist | None:
        query = f"?_HLS_msn={msn}" if msn is not None else ""
        status, _, body = await asyncio.to_thread(nodes.nodes[name].fetch, f"/hls/{camera_id}/live.m3u8{query}")
        text = body.decode()
        if status != 200 or (segments := text.count("#EXTINF")) < 1:
            return None
        numbers = re.findall("SEQUENCE:([0-9]+)", text)
        head = text.partition("#EXTINF")[0]
        names = re.findall(r"segment-[^/]*?\.m4s", text)
        return LivePlaylist(int(numbers[0]), int(numbers[1]), segments, names, "\n#EXT-X-DISCONTINUITY\n" in head)

    found: LivePlaylist = await eventually(read, f"{name} has the playlist")
    return found


async def goes_on(watching: Watching) -> None:
    before = (await watching.counts())["pictures"]

    async def grows() -> bool:
        return (await watching.counts())["pictures"] > before + 10

    await eventually(grows, "pictures come")


async def test_viewers_are_redirected_to_the_owner_where_the_settings_say_so(nodes: Nodes) -> None:
    """A plain WHEP client follows. A page of another origin may send the signed offer alone, with the origin that its
    browser then has."""
    owner, node = nodes.nodes["a"], nodes.nodes["c"]
    async with aiortc_peer(f"{node.url}/whep/{TO_OTHER}?rendition=main") as viewer:
        await goes_on(viewer)
        assert owner.camera(TO_OTHER)["viewers"] == {"webrtc": 1}
        assert node.camera(TO_OTHER)["state"] == "stopped", "it relays nothing"
    async with aiohttp.ClientSession() as http:
        post = http.post(f"{node.url}/whep/{TO_OTHER}?wait=1", data="v=0", allow_redirects=False)
        async with post as reply:
            location = URL(reply.headers["Location"], encoded=True)
            assert (reply.status, str(location.origin()), location.query["wait"]) == (307, owner.url, "1")
        asked = {"Origin": "null", "Access-Control-Request-Method": "POST"}
        for url, status in ((location, 204), (location.with_query("wait=1"), 403)):
            async with http.options(url, headers=asked) as reply:
                allowed = reply.headers.get("Access-Control-Allow-Origin")
                assert (reply.status, allowed) == (status, "null" if status == 204 else None)
        page = node.fetch("/")[1]["Content-Security-Policy"]
        assert f"connect-src 'self' {' '.join(sorted(each.url for each in nodes.nodes.values()))};" in page


async def test_viewers_at_another_node_go_on_when_the_owner_is_killed(nodes: Nodes) -> None:
    """Their connections stay, whether the node that they are at is the next owner or a third one is."""
    owner, node = nodes.nodes["a"], nodes.nodes["b"]
    async with AsyncExitStack() as stack:
        viewers = [
            await stack.enter_async_context(aiortc_peer(f"{node.url}/whep/{camera_id}"))
            for camera_id in (TO_VIEWER, TO_OTHER)
        ]
        for viewer in viewers:
            await goes_on(viewer)
        assert owner.camera(TO_OTHER)["viewers"] == {"relay": 1}
        assert nodes.recorded(TO_OTHER) == {"a"}, "a relay records nothing"
        before = [await live_playlist(nodes, name, TO_OTHER) for name in NAMES]
        common = set.intersection(*(set(each.names) for each in before))
        assert common, "the nodes have the same names"
        media = {nodes.nodes[name].fetch(f"/hls/{TO_OTHER}/{min(common)}")[2][4:8] for name in NAMES}
        assert media in ({b"moof"}, {b"styp"})
        assert {each.discontinuity for each in before} == {before[0].discontinuity}
        await nodes.kill_owner()
        for viewer in viewers:
            await goes_on(viewer)
        after = await live_playlist(nodes, "b", TO_OTHER, before[0].msn + 1)
        assert after.msn > before[0].msn + before[0].segments
        assert after.discontinuity > before[0].discontinuity
        assert after.begins_with_discontinuity
        assert set(after.names).isdisjoint(before[0].names)
        assert node.camera(TO_OTHER)["viewers"] == node.camera(TO_VIEWER)["viewers"] == {"webrtc": 1}
        await eventually(lambda: "b" in nodes.recorded(TO_VIEWER), "the new owner records")
        assert "b" not in nodes.recorded(TO_OTHER)
    owner.start()
    async with aiohttp.ClientSession() as http, aiortc_peer(f"{owner.url}/whep/{TO_OTHER}") as viewer:
        await goes_on(viewer)
        async with http.get(f"{owner.url}/snapshot/{TO_OTHER}.jpg") as reply:
            assert (reply.status, reply.content_type) == (200, "image/jpeg")
        async with http.get(f"{owner.url}/hls/{TO_OTHER}/live.m3u8") as reply:
            assert "#EXTINF" in await reply.text()


async def test_recordings_of_all_nodes_are_at_every_node(nodes: Nodes) -> None:
    """One node recorded the camera until it was killed, and another since then. A third one lists and plays both."""
    node, path = nodes.nodes["b"], f"/api/cameras/{TO_OTHER}"
    if nodes.owners("b")[TO_OTHER] == "a":  # where this test runs alone
        await nodes.kill_owner()
        nodes.nodes["a"].start()

    async def fetch(path: str, method: str = "GET", **headers: str) -> tuple[int, Mapping[str, str], bytes]:
        return await asyncio.to_thread(node.fetch, path, method, None, headers)

    def listed() -> dict[str, Any]:
        return {each["url"].partition("?node=")[2]: each for each in node.json(f"{path}/segments")["segments"]}

    await eventually(lambda: nodes.counting(TO_OTHER) == {"a", "c"}, "both nodes have told what they recorded")
    await eventually(lambda: listed().keys() == {"a", "c"}, "both nodes list what they recorded")
    by_node = listed()
    for name, segment in by_node.items():
        status, _, body = await fetch(segment["url"], Range="bytes=4-7")
        assert (status, body) == (206, b"ftyp"), name
        assert (await fetch(segment["url"], **{"If-None-Match": "*"}))[0] == 304
        assert (await fetch(segment["url"].partition("?")[0], "HEAD"))[0] == 200, "found without the name of its node"
        assert (await fetch(segment["thumbnail"]))[2][:2] == b"\xff\xd8"
    first = by_node["a"]
    # A node that was killed may have less than a second on its disk.
    at = (datetime.fromisoformat(first["start"]) + timedelta(seconds=first["duration_s"] / 2)).timestamp()
    assert node.json(f"{path}/segments/at?time={at}")["segment"]["id"] == first["id"]
    status, _, clip = await fetch(f"{path}/clip.mp4?start={first['start']}&end={first['end']}")
    assert (status, clip[4:8]) == (200, b"ftyp"), clip[:400]
    days = node.json(f"{path}/days?first={first['start'][:10]}&last={by_node['c']['end'][:10]}")["days"]
    assert days[0] == first["start"][:10]
    assert (await fetch(f"/snapshot/{TO_OTHER}.jpg?at={at}"))[0] == 200

    async def has_both() -> bytes | None:
        _, _, text = await fetch(f"/hls/{TO_OTHER}/dvr.m3u8?start={first['start']}")
        assert b"#EXT-X-ENDLIST" not in text, "the owner goes on, or begins"
        return text if b"node=a" in text and b"node=c" in text else None

    playlist: bytes = await eventually(has_both, "the new owner has recorded a segment")
    lines = playlist.decode().splitlines()
    uris = [line for line in lines if not line.startswith("#")]
    assert [uri.rpartition("node=")[2] for uri in (uris[0], uris[-1])] == ["a", "c"], playlist
    for uri in (uris[0], uris[-1]):
        offset = lines[lines.index(uri) - 1].rpartition("@")[2]
        data = (await fetch(urljoin(f"/hls/{TO_OTHER}/", uri), Range=f"bytes={offset}-"))[2]
        assert data[4:8] in (b"moof", b"styp"), uri
    maps = [line.partition('"')[2].partition('"')[0] for line in lines if line.startswith("#EXT-X-MAP")]
    assert b"moov" in (await fetch(urljoin(f"/hls/{TO_OTHER}/", maps[0])))[2]
    status, _, body = await fetch(f"{first['url'].partition('=')[0]}=z")
    assert (status, json.loads(body)["error"]) == (503, "node_away")


async def test_a_camera_is_published_at_any_node(nodes: Nodes) -> None:
    """The offer goes to the owner, and so does the end of the session."""
    store = PostgresStore(nodes.database_url)
    store.open()
    store.set_camera("phone", (), {"url": "whip:", "record": "never"})
    await eventually(lambda: nodes.owners("b").get("phone") and nodes.owners("c").get("phone"), "a node owns it")
    owner = nodes.owners("b")["phone"]
    node = nodes.nodes["b" if owner == "c" else "c"]
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    headers = {"Content-Type": "application/sdp"}
    try:
        async with aiohttp.ClientSession() as http:
            async with http.post(f"{node.url}/whip/phone", data=await offer_of(peer), headers=headers) as reply:
                answer, location = await reply.text(), reply.headers.get("Location", "")
                assert reply.status == 201, answer
            await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await eventually(lambda: nodes.nodes[owner].camera("phone")["state"] == "live", "the owner has it")
            async with http.delete(urljoin(node.url, location)) as reply:
                assert reply.status == 200
            await eventually(lambda: nodes.nodes[owner].camera("phone")["state"] != "live", "the publisher has ended")
    finally:
        await peer.close()
        store.remove_camera("phone")
        store.close()


async def test_only_a_node_gets_the_packets(nodes: Nodes) -> None:
    path = f"/api/cluster/cameras/{TO_OTHER}/relay"
    status, _, body = await asyncio.to_thread(nodes.nodes["c"].fetch, path)
    assert (status, b"for the other nodes" in body) == (401, True)
    status, _, _ = await asyncio.to_thread(nodes.nodes["c"].fetch, path, "GET", None, {"Liveedge-Node": "x.y.z"})
    assert status == 401
