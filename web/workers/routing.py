"""WorkersRouting: which worker answers a request. To a client, all workers are one gateway.

Rules, besides those of :mod:`web.cluster.routing`:

1. What is about one camera, and its viewers by WebRTC, is answered by the worker that captures it: only the offer and
   the answer pass through another process, and the media comes from the port of the worker that captures.
2. A camera that has :data:`SPREAD_VIEWERS` viewers or more takes new ones at the worker that is asked, which relays it.
   So one camera may have more viewers than one core can serve.
3. Ids of viewers and of Socket.IO sessions begin with the number of their worker.
4. Lists are those of all workers (:mod:`web.workers.merge`). What may be at any of them is looked for at all: it is
   unknown only when all have said so, and 503 while one of them is down.
5. What is kept once for the gateway is at the first worker that is alive.
"""

import contextlib
import json
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import hdrs, web

from gateway.cluster.model import Node
from gateway.errors import NodeAwayError
from web.cluster.all_events import AllEvents
from web.cluster.archive_routing import ArchiveRouting, Handler
from web.cluster.forwarding import Forwarding, fields_of, return_fields
from web.cluster.routing import OF_VIEWER, Routing
from web.cluster.service import Cluster
from web.workers.merge import MERGED, Workers, merged
from web.workers.worker import Worker, node_name, worker_number

SPREAD_VIEWERS = 100
"""Of 4 Mbit/s, some 100 viewers take a tenth to a fifth of a core."""

OF_CAMERA = frozenset(
    {
        "/api/cameras/{camera}",
        "/api/cameras/{camera}/capture/start",
        "/api/cameras/{camera}/capture/stop",
        "/api/cameras/{camera}/ptz",
    }
)
"""Rule 1."""

OF_LIVE_CAMERA = frozenset({"/mjpeg/{camera}", "/snapshot/{camera}.jpg"})
"""The same, unless they are asked for a moment of a recording."""

OF_ANY = frozenset({"/api/exports/{export}", "/api/exports/{export}/export.zip"})
"""Rule 4."""

OF_ALL = frozenset({"/api/archive/clock/confirm", "/api/webhooks/{webhook}/enable"})
"""What each worker has to do."""

OF_FIRST = frozenset(
    {
        *("/api/walls", "/api/walls/{wall}"),
        *("/api/tokens", "/api/tokens/{id}", "/api/links", "/api/links/{id}", "/api/sign"),
    }
)
"""Rule 5."""

ANSWER_BYTES = 64 * 1024


class WorkersRouting(Routing):
    """See the module. Lives on the event loop. ``viewers`` tells how many a camera has where it is captured."""

    def __init__(
        self,
        cluster: Cluster,
        forwarding: Forwarding,
        archive: ArchiveRouting,
        events: AllEvents,
        worker: Worker,
        viewers: Callable[[str], int],
    ) -> None:
        super().__init__(cluster, forwarding, archive, events)
        self._worker = worker
        self._viewers = viewers

    @property
    def workers(self) -> list[Node]:
        """Those that are alive, this one included, in the order of their numbers."""
        nodes = self._cluster.coordinator.view.nodes.values()
        return sorted(nodes, key=lambda node: (len(node.name), node.name))

    def elsewhere(self, request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse] | None:
        resource = request.match_info.route.resource
        if resource is None or not self.forwarding.may_forward(request):
            return None
        path = resource.canonical
        is_read = request.method in (hdrs.METH_GET, hdrs.METH_HEAD)
        if path == "/socket.io/":
            return self._of_session(request)
        if path in OF_VIEWER:
            return self._of_viewer(request)
        if path == "/whep/{camera}" and request.method == hdrs.METH_POST:
            return self._whep(request)
        if path in MERGED and is_read:
            nodes = self.workers
            workers = Workers(self._worker.count, self._owner_number)
            return merged(request, self.forwarding, nodes, workers) if nodes else None
        if path in OF_CAMERA or (path in OF_LIVE_CAMERA and "at" not in request.query):
            return self._of_owner(request)
        if path == "/api/exports" and request.method == hdrs.METH_POST:
            return self._by_body(request)
        if path in OF_ANY:
            return self._found(request)
        if path in OF_ALL:
            return self._at_all(request)
        if path in OF_FIRST:
            first = next(iter(self.workers), None)
            return self._to(request, first)
        return super().elsewhere(request, handler)

    def _to(self, request: web.Request, node: Node | None) -> Awaitable[web.StreamResponse] | None:
        """The answer of a worker; ``None`` for this one."""
        other = self.forwarding.node(node.id) if node is not None else None
        return self.forwarding.forward(request, other) if other is not None else None

    def _owner(self, camera_id: str) -> Node | None:
        """``None``: this worker, or none is known."""
        if self._cluster.captures(camera_id):
            return None
        return self.forwarding.node(self._cluster.coordinator.view.owner(camera_id).node_id)

    def _owner_number(self, camera_id: str) -> int | None:
        view = self._cluster.coordinator.view
        owner = view.nodes.get(view.owner(camera_id).node_id or "")
        return worker_number(owner.name) if owner is not None else None

    def _of_owner(self, request: web.Request) -> Awaitable[web.StreamResponse] | None:
        return self._to(request, self._owner(request.match_info["camera"]))

    def _whep(self, request: web.Request) -> Awaitable[web.StreamResponse] | None:
        """Rule 2."""
        is_full = self._viewers(request.match_info["camera"]) >= SPREAD_VIEWERS
        return None if is_full else self._of_owner(request)

    def _name_in_id(self, name: str) -> str:
        """Rule 3."""
        return node_name(int(name[:3])) if name.isdecimal() else name

    async def _by_body(self, request: web.Request) -> web.StreamResponse:
        """What is made for a camera is made where that is captured."""
        body = await request.read()
        camera_id: object = None
        # Otherwise, the worker that gets it says what is wrong.
        with contextlib.suppress(ValueError, TypeError, LookupError, RecursionError):
            camera_id = json.loads(body)["cameras"][0]
        node = self._owner(camera_id) if isinstance(camera_id, str) else None
        return await self._ask(request, node or self._cluster.coordinator.node, body)

    async def _found(self, request: web.Request) -> web.StreamResponse:
        """Rule 4: the first answer that is not 404."""
        body = await request.read()
        workers = self.workers or [self._cluster.coordinator.node]
        away = self._down()
        for node in workers:
            try:
                answer = await self._ask(request, node, body, is_last=False)
            except NodeAwayError:
                away.append(node.name)
                continue
            if answer is not None:
                return answer
        if away:
            raise NodeAwayError(away[0], f"{away[0]} is down, which may have it: ask again when it runs")
        return await self._ask(request, workers[-1], body)

    def _down(self) -> list[str]:
        """The names of the workers that are not alive."""
        alive = {node.name for node in self.workers}
        names = (node_name(number) for number in range(1, self._worker.count + 1))
        return [name for name in names if name not in alive]

    async def _at_all(self, request: web.Request) -> web.StreamResponse:
        """The answer of the last worker, after the others have done it too."""
        body = await request.read()
        nodes = self.workers or [self._cluster.coordinator.node]
        for node in nodes[:-1]:
            with contextlib.suppress(NodeAwayError):
                asked = self.forwarding.ask(node, request.method, request.raw_path, fields_of(request), body or None)
                async with asked as answer:
                    await answer.read()
        return await self._ask(request, nodes[-1], body)

    async def _ask(self, request: web.Request, node: Node, body: bytes, *, is_last: bool = True) -> web.StreamResponse:
        asked = self.forwarding.ask(node, request.method, request.raw_path, fields_of(request), body or None)
        async with asked as answer:
            if answer.status == web.HTTPNotFound.status_code and not is_last:
                return None  # type: ignore[return-value]
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            return_fields(answer, response)
            await response.prepare(request)
            if request.method != hdrs.METH_HEAD:
                try:
                    async for chunk in answer.content.iter_chunked(ANSWER_BYTES):
                        await response.write(chunk)
                except (aiohttp.ClientError, OSError):
                    if request.transport is not None:
                        request.transport.abort()
                    raise ConnectionResetError(f"{node.name} was lost while it answered") from None
                await response.write_eof()
            return response
