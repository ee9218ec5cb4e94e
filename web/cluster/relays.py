"""Relays: the streams of cameras that other nodes capture, for :mod:`gateway.capture.engines.relay`.

Rules:

1. There is one stream for each of a camera's streams and node, while a viewer or a command at this node wants it.
2. It comes from the node that owns the camera. While that hands the camera over, the other node is asked next.
3. A relay is never relayed: a node sends only what it captures itself.
"""

import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
from yarl import URL

from gateway.camera_settings import RenditionName
from gateway.capture.engine import CaptureSource
from gateway.capture.engines.relay import RelayCaptureEngine
from gateway.capture.relay_protocol import MEDIA_TYPE
from gateway.clock import Clock
from gateway.cluster.model import Node
from gateway.errors import CameraEndedError, CameraRefusedError, CameraUnreachableError, CaptureError, redact
from gateway.relay import Relay
from gateway.rtsp_server.target import Elsewhere
from web.cluster.peers import Peers
from web.cluster.service import Cluster

REFUSAL_MAX_BYTES = 4096


def relay_path(camera_id: str) -> str:
    """Where a node has the streams of a camera for other nodes."""
    return f"/api/cluster/cameras/{camera_id}/relay"


class Relays:
    """See the module. Lives on the event loop."""

    def __init__(self, cluster: Cluster, peers: Peers) -> None:
        self.received = 0
        """Streams that come from other nodes at present."""
        self._cluster = cluster
        self._peers = peers

    def of(self, camera_id: str, rendition: RenditionName) -> Relay | None:
        """See :data:`~gateway.relay.RelayOf`."""
        if self._cluster.captures(camera_id):
            return None
        owner_id = self._cluster.coordinator.view.owner(camera_id).node_id
        relay = Relay(owner_id if self._peers.node(owner_id) is not None else None, _no_engine)
        relay.engine = partial(self._engine, relay, rendition)
        return relay

    def elsewhere(self, camera_id: str) -> Elsewhere | None:
        """Where a camera is captured, if not here. The host is unknown where this node has the same one."""
        why = self._cluster.elsewhere(camera_id)
        if why is None:
            return None
        view = self._cluster.coordinator.view
        owner = view.nodes.get(view.owner(camera_id).node_id or "")
        host = URL(owner.url).host if owner is not None else None
        return Elsewhere(why, host if host != URL(self._cluster.coordinator.node.url).host else None)

    def _engine(
        self, relay: Relay, rendition: RenditionName, source: CaptureSource, clock: Clock
    ) -> RelayCaptureEngine:
        return RelayCaptureEngine(source, clock, partial(self._connect, relay, rendition))

    @asynccontextmanager
    async def _connect(
        self, relay: Relay, rendition: RenditionName, source: CaptureSource
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        error: CaptureError | None = None
        for node in self._senders(source.camera_id):
            try:
                async with self._stream(node, source, rendition) as stream:
                    relay.node_id = node.id
                    yield stream
                    return
            except CameraRefusedError as refused:
                error = refused
        raise error or CameraUnreachableError("no node of the cluster captures it at present")

    def _senders(self, camera_id: str) -> list[Node]:
        """Rule 2."""
        owner = self._cluster.coordinator.view.owner(camera_id)
        nodes = [self._peers.node(node_id) for node_id in (owner.node_id, owner.successor_id)]
        own_id = self._cluster.coordinator.node.id
        return [node for node in nodes if node is not None and node.id != own_id]

    @asynccontextmanager
    async def _stream(
        self, node: Node, source: CaptureSource, rendition: RenditionName
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        if not node.url:
            raise CameraUnreachableError(
                f"the node {node.name} of the cluster captures it, and does not tell where it is reached: set NODE_URL"
                " there"
            )
        asked = self._peers.request(
            node, "GET", relay_path(source.camera_id), f"rendition={rendition.value}", {"Accept": MEDIA_TYPE}
        )
        try:
            async with asked as answer:
                if answer.status != 200 or answer.content_type != MEDIA_TYPE:
                    raise CameraRefusedError(await _refusal(node, answer))
                self.received += 1
                try:
                    yield answer.content.iter_any()
                finally:
                    self.received -= 1
        except TimeoutError:
            raise CameraUnreachableError(f"the node {node.name} at {redact(node.url)} does not answer") from None
        except aiohttp.ClientConnectorCertificateError:
            raise CameraUnreachableError(
                f"the certificate of the node {node.name} at {redact(node.url)} is refused; see NODE_TLS_CA_FILE"
            ) from None
        except aiohttp.ClientConnectorError as failed:
            why = failed.os_error.strerror or "it failed"
            raise CameraUnreachableError(
                f"no connection to the node {node.name} at {redact(node.url)}: {why}"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise CameraEndedError(f"the stream from the node {node.name} was cut off") from None


async def _refusal(node: Node, answer: aiohttp.ClientResponse) -> str:
    why = ""
    with contextlib.suppress(aiohttp.ClientError, ValueError, KeyError, TypeError):
        why = str(json.loads(await answer.content.read(REFUSAL_MAX_BYTES))["message"])[:300]
    return f"the node {node.name} does not send it ({answer.status}): {redact(why)}"


def _no_engine(source: CaptureSource, clock: Clock) -> RelayCaptureEngine:
    raise AssertionError(f"the relay of {source.camera_id} has no engine")
