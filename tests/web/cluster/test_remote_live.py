"""Live playlists and media of another node's camera: asked for once, kept for a while, and asked of the next owner."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest
from aiohttp import web

from gateway.camera_settings import RenditionName
from gateway.clock import SYSTEM_CLOCK
from gateway.cluster.model import Node, Owner, View
from gateway.errors import BadRequestError, NegotiationError, NotFoundError, NotOwnerError, UnavailableError
from hls.live.playlist import Rendered
from tests.support.eventually import eventually
from tests.support.rtsp import free_port
from tests.support.serving import GatewayServer
from web.cluster import remote_live
from web.cluster.forwarding import Forwarding
from web.cluster.peers import Peers
from web.cluster.remote_live import RemoteLive
from web.cluster.service import Cluster
from web.cluster.tokens import NodeTokens
from web.middleware.errors import error_response


class Owner1:
    """A node that owns the camera. It answers when it may."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()
        self.ended = 0
        self.error: Any = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.raw_path.removeprefix("/hls/door/"))
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.ended += 1
            raise
        if self.error is not None:
            return error_response(self.error)
        return web.Response(body=b"#EXTM3U\n", headers={"Cache-Control": "public, max-age=9, immutable"})


class TwoOwners:
    """A cluster as its members know it, whose owner of the camera a test changes, and a node that owns none."""

    def __init__(self, owners: dict[str, Owner1], forwarding: Forwarding) -> None:
        self.owners = owners
        self.coordinator = self
        self.view = View({}, {}, {"door": Owner(1, "a#1")})
        self.is_here = False
        self.now_s = 0.0
        cluster = cast("Cluster", self)
        self.live = RemoteLive(cluster, forwarding, cast("Any", self), lambda: self.now_s)

    def captures(self, _: str) -> bool:
        return self.is_here

    def elsewhere(self, _: str) -> str | None:
        return "no node of the cluster captures it at present"

    def own(self, node_id: str | None) -> None:
        self.view = View({}, {}, {"door": Owner(2, node_id)})

    async def multivariant_playlist(self, camera_id: str, _: RenditionName | None) -> Rendered:
        return Rendered(f"#here {camera_id}")

    async def reload(self, msn: int | None = 7) -> bytes:
        return (await self.live.media_playlist("door", RenditionName.MAIN, msn, None, delta=False)).body


@pytest.fixture
async def two() -> AsyncIterator[TwoOwners]:
    async with AsyncExitStack() as stack:
        peers = Peers(tokens := NodeTokens("k" * 43, "c", SYSTEM_CLOCK))
        stack.push_async_callback(peers.close)
        owners, nodes = {}, {}
        for name in "ab":
            owners[name] = owner = Owner1()
            app = web.Application()
            app.router.add_get("/{path:.*}", owner.answer)
            server = GatewayServer(app)
            await server.start_server()
            stack.push_async_callback(server.close)
            nodes[f"{name}#1"] = Node(f"{name}#1", name, str(server.make_url("")).rstrip("/"))
        nodes["gone#1"] = Node("gone#1", "gone", f"http://127.0.0.1:{free_port()}")
        peers.seen(View(nodes))
        yield TwoOwners(owners, Forwarding(peers, "c#1", tokens.verify))


async def test_players_that_wait_for_the_same_part_are_one_request(two: TwoOwners) -> None:
    owner = two.owners["a"]
    waiting = [asyncio.create_task(two.reload()) for _ in range(20)]
    other = asyncio.create_task(two.reload(8))
    await eventually(lambda: len(owner.asked) == 2, "both are requested")
    owner.may_answer.set()
    assert set(await asyncio.gather(*waiting, other)) == {b"#EXTM3U\n"}
    assert await two.reload() == b"#EXTM3U\n"
    assert sorted(owner.asked) == ["live.m3u8?_HLS_msn=7", "live.m3u8?_HLS_msn=8"]
    media = await asyncio.gather(*(two.live.media("door", RenditionName.SUB, "part-1.m4s") for _ in range(5)))
    assert {(each.data, each.lifetime_s) for each in media} == {(b"#EXTM3U\n", 9)}
    two.now_s = 8.9
    await two.live.media("door", RenditionName.SUB, "part-1.m4s")
    assert owner.asked[2:] == ["sub/part-1.m4s"]
    two.now_s = 9.1
    await two.live.media("door", RenditionName.SUB, "part-1.m4s")
    assert (len(owner.asked), two.live.requests, two.live.answered) == (4, 4, 29)


async def test_what_nobody_waits_for_any_more_is_not_requested(two: TwoOwners) -> None:
    owner = two.owners["a"]
    waiting = [asyncio.create_task(two.reload()) for _ in range(2)]
    await eventually(lambda: owner.asked, "it is requested")
    waiting[0].cancel()
    await asyncio.wait([waiting[0]])
    again = asyncio.create_task(two.reload())
    await asyncio.sleep(0)
    for each in (waiting[1], again):
        each.cancel()
    await eventually(lambda: owner.ended == 1, "the owner is not asked any longer")
    assert len(owner.asked) == 1
    owner.may_answer.set()
    assert await two.reload() == b"#EXTM3U\n", "a request that comes later begins again"


@pytest.mark.parametrize("away", ["stops", "is asked no more", "refuses"])
async def test_a_request_goes_on_at_the_next_owner(two: TwoOwners, away: str) -> None:
    """The owner was killed, or stands still, or has handed the camera over."""
    two.owners["b"].may_answer.set()
    if away == "stops":
        two.own("gone#1")
    elif away == "refuses":
        two.owners["a"].error = NotOwnerError("another node captures it")
        two.owners["a"].may_answer.set()
    waiting = asyncio.create_task(two.reload())
    await eventually(lambda: two.live.requests >= 1, "the first owner is asked")
    assert not waiting.done()
    two.own("b#1")
    assert await waiting == b"#EXTM3U\n"
    assert two.owners["b"].asked == ["live.m3u8?_HLS_msn=7"]


async def test_a_camera_that_this_node_owns_now_is_answered_here(two: TwoOwners) -> None:
    waiting = asyncio.create_task(two.live.multivariant_playlist("door", None))
    await eventually(lambda: two.owners["a"].asked == ["index.m3u8"], "the owner is asked")
    two.is_here = True
    assert (await waiting).body == b"#here door"


async def test_without_an_owner_the_wait_ends(two: TwoOwners, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_live, "PATIENCE_S", 0.0)
    two.own(None)
    with pytest.raises(UnavailableError, match="no node of the cluster captures it"):
        await two.reload()


@pytest.mark.parametrize(
    "error", [BadRequestError("a"), NotFoundError("b"), NegotiationError("c", ("webrtc",)), UnavailableError("d", 7)]
)
async def test_an_error_of_the_owner_is_told_and_not_kept(two: TwoOwners, error: Any) -> None:
    owner = two.owners["a"]
    owner.error = error
    owner.may_answer.set()
    with pytest.raises(type(error), match=str(error)) as raised:
        await two.reload()
    assert getattr(raised.value, "retry_after_s", 0) == getattr(error, "retry_after_s", 0)
    owner.error = None
    assert await two.reload() == b"#EXTM3U\n"


async def test_what_is_kept_is_bounded(two: TwoOwners, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = two.owners["a"]
    owner.may_answer.set()
    monkeypatch.setattr(remote_live, "KEPT_MAX_BYTES", 20)
    for number in (1, 2, 3, 1):
        await two.live.media("door", RenditionName.MAIN, f"part-{number}.m4s")
    assert len(owner.asked) == 4, "the oldest was dropped"
    assert two.live.dropped == 2
