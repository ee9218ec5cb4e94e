"""Redirects: a WebRTC viewer of another node's camera is sent to that node (307, RFC 9725 §4.3, RFC 9110 §15.4.8).

Rules:

1. The address has a token that takes the offer of this client, for this camera and query, for :data:`LIFETIME_S`.
   Browsers leave ``Authorization`` out of what they send to another origin (Fetch §4.4).
2. The other node is asked before whether it has room. Where it does not answer at once, drains, is full, or does not
   say where it is reached, the viewer is answered here, with a relay.
"""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from aiohttp import hdrs, web
from yarl import URL

from gateway.cluster.model import Node
from gateway.errors import LiveedgeError
from web.auth.target import PARAMETER
from web.cluster.forwarding import Forwarding
from web.cluster.service import Cluster

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LIFETIME_S = 30
"""A client follows a redirect at once. The clocks of the nodes may be some seconds apart."""

ROOM_S = 1.0


class Redirects:
    """See the module. Lives on the event loop. Without ``is_enabled``, this node takes offers that others redirect."""

    def __init__(self, cluster: Cluster, forwarding: Forwarding, *, is_enabled: bool) -> None:
        self._is_enabled = is_enabled
        self.sign: Callable[[web.Request, int], str] = lambda *_: ""
        """The token of a request with an offer, for so many seconds."""
        self._cluster = cluster
        self._forwarding = forwarding
        self._origins: tuple[object, frozenset[str]] = (None, frozenset())

    def origins(self) -> frozenset[str]:
        """Those of the nodes that are alive, as browsers write them (RFC 6454 §6.2)."""
        view = self._cluster.coordinator.view
        if self._origins[0] is not view:
            urls = (URL(node.url) for node in view.nodes.values() if node.url)
            self._origins = view, frozenset(str(url.origin()).lower() for url in urls)
        return self._origins[1]

    def targets(self) -> frozenset[str]:
        """To which origins this node redirects."""
        return self.origins() if self._is_enabled else frozenset()

    def applies(self, request: web.Request, route: str) -> bool:
        """Whether a request is an offer for a camera of another node."""
        is_offer = self._is_enabled and route == "/whep/{camera}" and request.method == hdrs.METH_POST
        return is_offer and PARAMETER not in request.query and not self._cluster.captures(request.match_info["camera"])

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The redirect, or the answer of ``handler``."""
        camera_id = request.match_info["camera"]
        view = self._cluster.coordinator.view
        node = view.nodes.get(view.owner(camera_id).node_id or "")
        if node is None or not node.url or node.is_draining or not await self._has_room(node, camera_id):
            return await handler(request)
        token = f"{PARAMETER}={self.sign(request, LIFETIME_S)}"
        query = "&".join(filter(None, (request.rel_url.raw_query_string, token)))
        location = f"{node.url}{request.rel_url.raw_path}?{query}"
        return web.Response(status=307, headers={hdrs.LOCATION: location, hdrs.CACHE_CONTROL: "no-store"})

    async def _has_room(self, node: Node, camera_id: str) -> bool:
        target = f"/api/cluster/cameras/{quote(camera_id)}/room"
        try:
            async with asyncio.timeout(ROOM_S), self._forwarding.ask(node, hdrs.METH_GET, target) as answer:
                return answer.status == 204
        except (LiveedgeError, TimeoutError):
            return False
