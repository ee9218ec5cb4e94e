"""Requests that one node answers from another: what passes, what does not, and what is answered when a node is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.clock import SYSTEM_CLOCK
from gateway.cluster.model import Node, View
from gateway.errors import UnauthorizedError
from tests.support.eventually import eventually
from tests.support.partial_app import errors_as_json
from tests.support.rtsp import free_port
from tests.support.serving import GatewayServer
from web.auth.authenticator import NODE_TOKEN
from web.cluster.forwarding import Forwarding
from web.cluster.peers import Peers
from web.cluster.tokens import NodeTokens

KEY = "k" * 43


@dataclass
class Asked:
    """Node ``b``: what it was asked, and how it answers."""

    forwarding: Forwarding
    requests: list[web.Request] = field(default_factory=list)
    as_client: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.as_client.append(self.forwarding.received(request.clone()))
        self.bodies.append(await request.read())
        headers = {"ETag": '"1"', "Keep-Alive": "timeout=9", "Connection": "X-Hop", "X-Hop": "1", "Link": "</a>"}
        return web.Response(status=206, body=b"\x00part", headers=headers | {"Content-Range": "bytes 0-4/9"})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Begins, and then waits for ever, or ends where it is told to."""
        response = web.StreamResponse()
        response.content_length = 10
        await response.prepare(request)
        await response.write(b"12345")
        try:
            if "cut" in request.query:
                assert request.transport is not None
                request.transport.close()
            else:
                await asyncio.Event().wait()
        finally:
            self.ended.set()
        return response


@dataclass
class Nodes:
    """``url`` is that of node ``a``, which forwards everything to ``b``."""

    url: str
    b: Asked
    forwarding: Forwarding
    to: Node


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    async with AsyncExitStack() as stack:
        tokens = NodeTokens(KEY, "a", SYSTEM_CLOCK)
        peers = Peers(tokens)
        stack.push_async_callback(peers.close)
        forwarding = Forwarding(peers, "a#1", tokens.verify)
        asked = Asked(forwarding)
        app = web.Application()
        app.router.add_route("*", "/whep/{camera}", asked.answer)
        app.router.add_get("/stream", asked.stream)
        b = GatewayServer(app)
        await b.start_server()
        stack.push_async_callback(b.close)
        made = Nodes("", asked, forwarding, Node("b#1", "b", str(b.make_url("")).rstrip("/")))
        peers.seen(View({"a#1": Node("a#1", "a"), "b#1": made.to}))

        async def forward(request: web.Request) -> web.StreamResponse:
            return await forwarding.forward(request, made.to)

        front = web.Application(middlewares=[errors_as_json])
        front.router.add_route("*", "/{path:.*}", forward)
        a = GatewayServer(front)
        await a.start_server()
        stack.push_async_callback(a.close)
        made.url = str(a.make_url("")).rstrip("/")
        yield made


async def test_a_request_and_its_answer_pass_without_what_is_of_a_connection(nodes: Nodes) -> None:
    sent = {"Authorization": "Bearer 1", "Range": "bytes=0-4", "If-Range": '"1"', "Accept-Encoding": "br"}
    left_out = {"Connection": "X-Own", "X-Own": "1", "TE": "trailers", "Cookie": "a=b", "Origin": "http://page"}
    left_out |= {"X-Forwarded-For": "192.0.2.9", "Sec-Fetch-Site": "cross-site"}
    body = b"v=0\r\n" * 40_000
    path = "/whep/door%20?token=a%2Bb&x="
    async with (
        aiohttp.ClientSession() as http,
        http.post(nodes.url + path, data=body, headers=sent | left_out) as reply,
    ):
        assert (reply.status, await reply.read()) == (206, b"\x00part")
        assert (reply.headers["ETag"], reply.headers["Content-Range"]) == ('"1"', "bytes 0-4/9")
        assert {"X-Hop", "Keep-Alive"} & reply.headers.keys() == set()
    (asked,) = nodes.b.requests
    assert (asked.method, asked.raw_path, nodes.b.bodies) == ("POST", path, [body])
    assert {name: asked.headers[name] for name in sent} == sent
    front = nodes.url.removeprefix("http://")
    assert (asked.headers["X-Forwarded-For"], asked.headers["X-Forwarded-Host"]) == ("127.0.0.1", front)
    assert {"X-Own", "TE", "Cookie", "Origin", "Sec-Fetch-Site"} & asked.headers.keys() == set()
    assert not nodes.forwarding.may_forward(asked)
    (received,) = nodes.b.as_client
    assert (received.remote, received.host, received.scheme) == ("127.0.0.1", front, "http")


async def test_only_a_node_may_say_who_its_client_is(nodes: Nodes) -> None:
    asked = make_mocked_request("GET", "/whep/door")
    for headers in (
        {NODE_TOKEN: "x.y.z"},
        {NODE_TOKEN: NodeTokens("o" * 43, "a", SYSTEM_CLOCK).sign("GET", asked.path)},
    ):
        with pytest.raises(UnauthorizedError):
            nodes.forwarding.received(asked.clone(headers={"X-Forwarded-For": "192.0.2.1"} | headers))
    without = asked.clone(headers={"X-Forwarded-For": "192.0.2.1"})
    assert nodes.forwarding.received(without) is without


async def test_the_other_node_is_not_asked_any_longer_when_the_client_leaves(nodes: Nodes) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{nodes.url}/stream") as reply:
            assert await reply.content.readexactly(5) == b"12345"
            assert not nodes.b.ended.is_set()
            reply.close()
        await eventually(nodes.b.ended.is_set, "the other node ends its answer")


async def test_an_answer_that_is_cut_off_is_not_taken_for_a_whole_one(nodes: Nodes) -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientError):
            async with http.get(f"{nodes.url}/stream?cut=1") as reply:
                await reply.read()
    assert (nodes.forwarding.failed, nodes.forwarding.forwarded) == (1, 0)


@pytest.mark.parametrize(
    ("url", "message"), [("", "set NODE_URL there"), ("http://127.0.0.1:{port}", "no connection to the node b")]
)
async def test_a_node_that_is_away_is_named(nodes: Nodes, url: str, message: str) -> None:
    nodes.to = Node("b#1", "b", url.format(port=free_port()))
    async with aiohttp.ClientSession() as http, http.get(f"{nodes.url}/whep/door") as reply:
        told: dict[str, Any] = await reply.json()
        assert (reply.status, told["error"], "Retry-After" in reply.headers) == (503, "node_away", True)
        assert message in told["message"]


async def test_nodes_are_found_by_name_and_this_one_is_none_of_them(nodes: Nodes) -> None:
    assert nodes.forwarding.named("b") == nodes.forwarding.node("b#1") == nodes.to
    for nothing in ("a", "c"):
        assert nodes.forwarding.named(nothing) is None
        assert nodes.forwarding.node(f"{nothing}#1") is None
