"""Offers that a node sends to the owner of the camera: when, and what the token in the address opens."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from gateway.access import Scope
from gateway.clock import SYSTEM_CLOCK
from gateway.cluster.model import Node, Owner, View
from gateway.errors import UnauthorizedError
from tests.support.auth_gateway import authenticator
from tests.support.manual_clock import OffsetClock
from tests.support.serving import GatewayServer
from web.auth.grant import Grant
from web.auth.policy import Family
from web.auth.target import Target
from web.cluster.forwarding import Forwarding
from web.cluster.peers import Peers
from web.cluster.redirects import Redirects
from web.cluster.service import Cluster
from web.cluster.tokens import NodeTokens


@dataclass
class Front:
    """A node that redirects to ``owner``, whose answer to the question for room is ``room``."""

    owner: Node
    room: int = 204
    captured: set[str] = field(default_factory=set)

    @property
    def coordinator(self) -> "Front":
        return self

    @property
    def view(self) -> View:
        return View({"b#1": self.owner}, {}, {"door": Owner(1, "b#1")})

    def captures(self, camera_id: str) -> bool:
        return camera_id in self.captured


@pytest.fixture
async def front() -> AsyncIterator[tuple[Front, str]]:
    """It, and its address."""
    async with AsyncExitStack() as stack:
        made = Front(Node("b#1", "b"))

        async def room(_: web.Request) -> web.Response:
            return web.Response(status=made.room)

        app = web.Application()
        app.router.add_get("/api/cluster/cameras/door/room", room)
        owner = GatewayServer(app)
        await owner.start_server()
        stack.push_async_callback(owner.close)
        made.owner = replace(made.owner, url=str(owner.make_url("")).rstrip("/"))
        tokens = NodeTokens("k" * 43, "a", SYSTEM_CLOCK)
        peers = Peers(tokens)
        stack.push_async_callback(peers.close)
        redirects = Redirects(cast("Cluster", made), Forwarding(peers, "a#1", tokens.verify), is_enabled=True)
        redirects.sign = lambda *_: "signed"

        async def relay(_: web.Request) -> web.StreamResponse:
            return web.Response(status=201)

        async def offer(request: web.Request) -> web.StreamResponse:
            applies = redirects.applies(request, "/whep/{camera}")
            return await (redirects.answer(request, relay) if applies else relay(request))

        app = web.Application()
        app.router.add_post("/whep/{camera}", offer)
        server = GatewayServer(app)
        await server.start_server()
        stack.push_async_callback(server.close)
        yield made, str(server.make_url("/whep/door"))


async def ask(url: str) -> tuple[int, str | None]:
    async with aiohttp.ClientSession() as http, http.post(url, data="v=0", allow_redirects=False) as reply:
        return reply.status, reply.headers.get("Location")


async def test_an_offer_goes_to_the_owner_with_its_query_and_a_token(front: tuple[Front, str]) -> None:
    node, url = front
    assert await ask(f"{url}?rendition=main") == (307, f"{node.owner.url}/whep/door?rendition=main&token=signed")
    assert await ask(f"{url}?token=signed") == (201, None), "not again"
    node.captured.add("door")
    assert await ask(url) == (201, None)


@pytest.mark.parametrize("change", [{"room": 503}, {"is_draining": True}, {"url": ""}, {"url": "http://127.0.0.1:9"}])
async def test_an_owner_that_cannot_take_it_is_relayed(front: tuple[Front, str], change: dict[str, Any]) -> None:
    node, url = front
    node.room = change.pop("room", node.room)
    node.owner = replace(node.owner, **change)
    assert await ask(url) == (201, None)


def test_a_token_takes_one_offer_for_a_moment_and_the_viewer_stays_its_senders() -> None:
    clock = OffsetClock()
    auth = authenticator(clock, auth_jwt_secret="a-secret-of-thirty-two-bytes-and-more")
    grant = Grant("jwt 1", frozenset({Scope.VIEW, Scope.TALK}), frozenset({"door"}), subject="anna")
    target = Target(Family.WHEP, Scope.VIEW, "door", rest="rendition=main")
    token = auth.signer.sign(grant, target, redeemed_s=30).token
    opened = auth.signer.verify(token, target)
    assert opened is not None
    assert (opened.owner, opened.scopes, opened.cameras) == (grant.owner, grant.scopes, grant.cameras)
    assert auth.signer.is_redeemable(token)
    assert auth.signer.is_redeemable(token, target)
    assert not auth.signer.is_redeemable(token, replace(target, camera_id="yard"))
    for other in (replace(target, camera_id="yard"), replace(target, rest=""), replace(target, family=Family.MJPEG)):
        with pytest.raises(UnauthorizedError):
            auth.signer.verify(token, other)
    clock.ahead_s = 31
    assert not auth.signer.is_redeemable(token)
    assert auth.signer.verify(token, target) is not None, "what it has opened goes on"
