"""Routing: which requests another node of the cluster answers.

Rules:

1. Publishing a camera, and talking to it, is at its owner (:data:`OF_OWNER`). While no node is known to own it, this
   one answers, and says so.
2. Recordings are answered by the node that has them (:mod:`web.cluster.archive_routing`).
3. The clip and the picture of an event are made by the node that has the event (:mod:`web.cluster.all_events`), which
   was the owner of its camera. Lists, changes and the stream of events are of all nodes without this.
4. WebRTC viewers are sent to the owner, if the settings say so (:mod:`web.cluster.redirects`).
5. Ids of viewers by WebRTC, and of sessions of Engine.IO, begin with the name of the node that gave them. That node
   answers the requests for them.
6. Exports are those of all nodes (:mod:`web.cluster.export_routing`).
7. Everything else is answered by the node that is asked.
"""

from collections.abc import Awaitable

from aiohttp import web

from gateway.cluster.model import Node
from gateway.event import EVENT_ID
from signaling.socket_server import PROCESS_END
from web.cluster.all_events import AllEvents
from web.cluster.archive_routing import ArchiveRouting, Handler
from web.cluster.export_routing import ExportRouting
from web.cluster.forwarding import Forwarding
from web.cluster.redirects import Redirects
from web.cluster.service import Cluster

OF_OWNER = frozenset({"/whip/{camera}", "/whip/{camera}/{publisher}", "/talk/{camera}", "/talk/{camera}/{talker}"})
"""Routes of which the state is at the camera's owner alone."""

OF_VIEWER = frozenset(
    {
        "/whep/{camera}/{viewer}",
        "/api/cameras/{camera}/viewers/{viewer}",
        "/api/cameras/{camera}/viewers/{viewer}/clock",
    }
)
"""Rule 5."""

OF_EVENT = frozenset({"/api/events/{event}/clip.mp4", "/api/events/{event}/clip.jpg"})
"""Rule 3."""


class Routing:
    """See the module. Lives on the event loop."""

    def __init__(
        self,
        cluster: Cluster,
        forwarding: Forwarding,
        archive: ArchiveRouting,
        events: AllEvents,
        redirects: Redirects | None = None,
    ) -> None:
        self.forwarding = forwarding
        self._events = events
        self.exports: ExportRouting | None = None
        self._redirects = redirects
        self._archive = archive
        self._cluster = cluster

    def received(self, request: web.Request) -> web.Request:
        """:meth:`~web.cluster.forwarding.Forwarding.received`."""
        return self.forwarding.received(request)

    def elsewhere(self, request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse] | None:
        """The answer to a request that is admitted, with what other nodes have; ``None``: ``handler`` of this one."""
        resource = request.match_info.route.resource
        if resource is None or not self.forwarding.may_forward(request):
            return None
        if resource.canonical in OF_OWNER:
            return self._at_owner(request)
        if resource.canonical in OF_EVENT:
            return self._at_event(request, handler)
        if resource.canonical in OF_VIEWER:
            return self._of_viewer(request)
        if resource.canonical == "/socket.io/":
            return self._of_session(request)
        if (
            self.exports is not None
            and (answer := self.exports.answer(request, resource.canonical, handler)) is not None
        ):
            return answer
        if self._redirects is not None and self._redirects.applies(request, resource.canonical):
            return self._redirects.answer(request, handler)
        return self._archive.answer(request, resource.canonical, handler)

    def _at_owner(self, request: web.Request) -> Awaitable[web.StreamResponse] | None:
        camera_id = request.match_info["camera"]
        if self._cluster.captures(camera_id):
            return None
        owner = self.forwarding.node(self._cluster.coordinator.view.owner(camera_id).node_id)
        return self.forwarding.forward(request, owner) if owner is not None else None

    def _of_viewer(self, request: web.Request) -> Awaitable[web.StreamResponse] | None:
        node = self._giver(request.match_info["viewer"])
        return self.forwarding.forward(request, node) if node is not None else None

    def _of_session(self, request: web.Request) -> Awaitable[web.StreamResponse] | None:
        node = self._giver(request.query.get("sid", ""))
        if node is None:
            return None
        if "Upgrade" in request.headers:
            return self.forwarding.forward_web_socket(request, node)
        return self.forwarding.forward(request, node)

    def _giver(self, given: str) -> Node | None:
        """The other node that gave something its id (rule 5); ``None``: this one, or none is known."""
        name, end, _ = given.rpartition(PROCESS_END)
        return self.forwarding.named(self._name_in_id(name)) if end else None

    def _name_in_id(self, name: str) -> str:
        """The name of the node whose ids begin so."""
        return name

    async def _at_event(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        event_id = request.match_info["event"]
        found = await self._events.find(event_id) if EVENT_ID.fullmatch(event_id) else None
        node = found[0] if found is not None else None
        return await (handler(request) if node is None else self.forwarding.forward(request, node))
