"""Which worker takes a viewer: the one that captures the camera, unless that has many of it."""

from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
from aiohttp import web

from gateway.clock import SYSTEM_CLOCK
from gateway.cluster.model import Node, Owner, View
from tests.support.serving import GatewayServer
from web.cluster.all_events import AllEvents
from web.cluster.archive_routing import ArchiveRouting
from web.cluster.forwarding import Forwarding
from web.cluster.peers import Peers
from web.cluster.service import Cluster
from web.cluster.tokens import NodeTokens
from web.workers.routing import SPREAD_VIEWERS, WorkersRouting
from web.workers.worker import Worker


async def test_a_camera_with_many_viewers_takes_more_at_the_worker_that_is_asked() -> None:
    viewers = {"door": 0}

    async def capturing(_: web.Request) -> web.StreamResponse:
        return web.Response(status=201, text="worker-2")

    async def relaying(_: web.Request) -> web.StreamResponse:
        return web.Response(status=201, text="worker-1")

    async def asked(request: web.Request) -> web.StreamResponse:
        return await (routing.elsewhere(request, relaying) or relaying(request))

    async with AsyncExitStack() as stack:

        async def serve(handler: Any) -> str:
            app = web.Application()
            app.router.add_post("/whep/{camera}", handler)
            server = GatewayServer(app)
            await server.start_server()
            stack.push_async_callback(server.close)
            return str(server.make_url("/")).rstrip("/")

        view = View({}, {}, {"door": Owner(1, "b#1")})
        tokens = NodeTokens("k" * 43, "worker-1", SYSTEM_CLOCK)
        peers = Peers(tokens)
        stack.push_async_callback(peers.close)
        peers.seen(View({"b#1": Node("b#1", "worker-2", await serve(capturing))}))
        coordinator = SimpleNamespace(view=view, node=Node("a#1", "worker-1"))
        cluster = SimpleNamespace(coordinator=coordinator, captures=lambda _: False)
        routing = WorkersRouting(
            cast("Cluster", cluster),
            Forwarding(peers, "a#1", tokens.verify),
            cast("ArchiveRouting", None),
            cast("AllEvents", None),
            Worker(1, 2, 1, "data", 0.0, (), (), -1, 1, -1),
            viewers.__getitem__,
        )
        url = await serve(asked)
        async with aiohttp.ClientSession() as http:
            for count, expected in ((0, "worker-2"), (SPREAD_VIEWERS - 1, "worker-2"), (SPREAD_VIEWERS, "worker-1")):
                viewers["door"] = count
                async with http.post(f"{url}/whep/door", data="v=0") as answer:
                    assert (answer.status, await answer.text()) == (201, expected), count
