"""ExportRouting: the exports of all nodes of a cluster, at any of them.

Rules:

1. An export is at the node that was asked to make it. Another node that is asked for it by its id finds out which one
   has it, and forwards the request there, which checks the credential.
2. The list has those of all nodes, the newest first, as each lets the credential see them. Nodes that do not answer are
   named.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from aiohttp import hdrs, web

from gateway.cluster.model import Node
from gateway.errors import LiveedgeError
from web.cluster.archive_routing import Handler
from web.cluster.forwarding import Forwarding
from web.cluster.nodes import ClusterNodes, away_header

LIST = "/api/exports"

OF_EXPORT = frozenset({f"{LIST}/{{export}}", f"{LIST}/{{export}}/export.zip"})

ANSWER_S = 5.0


class ExportRouting:
    """See the module. Lives on the event loop. ``has`` tells whether this node has an export."""

    def __init__(self, nodes: ClusterNodes, forwarding: Forwarding, has: Callable[[str], bool]) -> None:
        self._nodes = nodes
        self._forwarding = forwarding
        self._has = has

    def answer(self, request: web.Request, route: str, handler: Handler) -> Awaitable[web.StreamResponse] | None:
        """The answer to a request for an export; ``None``: it is this node's alone."""
        if route == LIST and request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
            return self._list(request, handler)
        if route in OF_EXPORT and not self._has(request.match_info["export"]):
            return self._one(request, handler)
        return None

    async def _one(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Rule 1."""
        target = f"{LIST}/{quote(request.match_info['export'], safe='')}"
        nodes = self._nodes.others()
        answers = await asyncio.gather(*(self._ask(self._forwarding.json(node, target)) for node in nodes))
        for node, answer in zip(nodes, answers, strict=True):
            if answer is not None:
                return await self._forwarding.forward(request, node)
        return await handler(request)

    async def _list(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Rule 2."""
        nodes: list[Node] = self._nodes.others()
        asked = asyncio.gather(*(self._ask(self._forwarding.text(request, node)) for node in nodes))
        own = await handler(request)
        texts = await asked
        if not isinstance(own, web.Response) or own.status != web.HTTPOk.status_code:
            return own
        away = [node.name for node, text in zip(nodes, texts, strict=True) if not text]
        found = [each for text in (own.text, *texts) if text for each in json.loads(text)["exports"]]
        found.sort(key=lambda each: str(each["created"]), reverse=True)
        body = json.dumps({"exports": found}, separators=(",", ":")).encode()
        fields = {hdrs.CACHE_CONTROL: "no-cache"} | away_header([*away, *self._nodes.absent()])
        return web.Response(body=body, content_type="application/json", headers=fields)

    @staticmethod
    async def _ask(answering: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await answering
        except (LiveedgeError, TimeoutError):
            return None
