"""Routing: which requests another node of the cluster answers.

Rules:

1. Publishing a camera, and talking to it, is at its owner (:data:`OF_OWNER`). While no node is known to own it, this
   one answers, and says so.
2. Recordings are answered by the node that has them (:mod:`web.cluster.archive_routing`).
3. WebRTC viewers are sent to the owner, if the settings say so (:mod:`web.cluster.redirects`).
4. Everything else is answered by the node that is asked.
"""

from collections.abc import Awaitable

from aiohttp import web

from web.cluster.archive_routing import ArchiveRouting, Handler
from web.cluster.forwarding import Forwarding
from web.cluster.redirects import Redirects
from web.cluster.service import Cluster

OF_OWNER = frozenset({"/whip/{camera}", "/whip/{camera}/{publisher}", "/talk/{camera}", "/talk/{camera}/{talker}"})
"""Routes of which the state is at the camera's owner alone."""


class Routing:
    """See the module. Lives on the event loop."""

    def __init__(
        self, cluster: Cluster, forwarding: Forwarding, archive: ArchiveRouting, redirects: Redirects | None = None
    ) -> None:
        self.forwarding = forwarding
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
        if self._redirects is not None and self._redirects.applies(request, resource.canonical):
            return self._redirects.answer(request, handler)
        return self._archive.answer(request, resource.canonical, handler)

    def _at_owner(self, request: web.Request) -> Awaitable[web.StreamResponse] | None:
        camera_id = request.match_info["camera"]
        if self._cluster.captures(camera_id):
            return None
        owner = self.forwarding.node(self._cluster.coordinator.view.owner(camera_id).node_id)
        return self.forwarding.forward(request, owner) if owner is not None else None
