"""Viewers at nodes of a cluster that do not capture the camera: three processes, PostgreSQL, a real RTSP camera."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

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
            made[name] = GatewayProcess(folder, CLUSTER_URL=server.url, NODE_NAME=name, NODE_URL=url, PORT=port)
            stack.enter_context(made[name])
        for camera_id in (TO_VIEWER, TO_OTHER):
            made["a"].json("/api/cameras", "POST", {"camera_id": camera_id, "url": camera.url("/gop1")})
        found = Nodes(made, server.url)
        wanted = {TO_VIEWER: "a", TO_OTHER: "a"}
        eventually_sync(lambda: all(found.owners(name) == wanted for name in NAMES), "the first choice has them")
        yield found


async def goes_on(watching: Watching) -> None:
    before = (await watching.counts())["pictures"]

    async def grows() -> bool:
        return (await watching.counts())["pictures"] > before + 10

    await eventually(grows, "pictures come")


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
        assert node.json(f"/api/cameras/{TO_OTHER}/segments")["segments"] == [], "a relay records nothing"
        owner.kill()
        await eventually(
            lambda: nodes.owners("b") == {TO_VIEWER: "b", TO_OTHER: "c"}, "the next choices own the cameras"
        )
        for viewer in viewers:
            await goes_on(viewer)
        assert node.camera(TO_OTHER)["viewers"] == node.camera(TO_VIEWER)["viewers"] == {"webrtc": 1}
        await eventually(lambda: node.json(f"/api/cameras/{TO_VIEWER}/segments")["segments"], "the new owner records")
        assert node.json(f"/api/cameras/{TO_OTHER}/segments")["segments"] == []
    owner.start()
    async with aiohttp.ClientSession() as http, aiortc_peer(f"{owner.url}/whep/{TO_OTHER}") as viewer:
        await goes_on(viewer)
        async with http.get(f"{owner.url}/snapshot/{TO_OTHER}.jpg") as reply:
            assert (reply.status, reply.content_type) == (200, "image/jpeg")
        async with http.get(f"{owner.url}/hls/{TO_OTHER}/live.m3u8") as reply:
            assert "#EXTINF" in await reply.text()


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
