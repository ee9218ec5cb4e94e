"""NodeExports: has the other nodes of a cluster export what they have recorded, for an export of this one.

Implements :class:`hls.evidence.export_parts.ExportParts`.

Rules:

1. A node is asked if it has files of the time in the index of all recordings, or if it owns a camera: its newest file
   may not be in the index yet.
2. A node that was lost is named as away where it was alive in the time: it may have been writing a file that is not in
   the index. What a node that ended in order has recorded is all in the index.
3. The part is an export of that node, asked for by this one (``is_part``): that node asks nobody else. It is deleted
   there when this one has it.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import aiohttp

from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.cluster.model import Node
from gateway.errors import LiveedgeError, NodeAwayError, StorageError
from hls.evidence.export_job import ExportRequest, ExportState
from hls.evidence.export_parts import Holders
from hls.evidence.export_zip import CancelledExportError
from web.cluster.forwarding import CHUNK_BYTES, Forwarding
from web.cluster.nodes import ClusterNodes
from web.cluster.recordings import SharedIndex
from web.cluster.service import Cluster

ROWS_MAX = 2000

POLL_S = 0.5

JSON = {"Content-Type": "application/json"}


class NodeExports:
    """See the module. Lives on the event loop."""

    def __init__(self, cluster: Cluster, nodes: ClusterNodes, forwarding: Forwarding, index: SharedIndex) -> None:
        self._cluster = cluster
        self._nodes = nodes
        self._forwarding = forwarding
        self._index = index

    async def holders(self, request: ExportRequest) -> Holders:
        """Rules 1 and 2. Raises :class:`~gateway.errors.StorageError` while the database is away."""
        coordinator, names = self._cluster.coordinator, set[str]()
        for camera_id in request.cameras:
            rows = await self._index.find(camera_id, request.start_90k, request.end_90k, ROWS_MAX, request.rendition)
            names |= {row.file.node_name for row in rows}
            owner = self._forwarding.node(coordinator.view.owner(camera_id).node_id)
            names |= {owner.name} if owner is not None else set()
        names |= self._nodes.lost_after(request.start_90k / CLOCK_RATE)
        names.discard(coordinator.node.name)
        alive = {node.name for node in coordinator.view.nodes.values()}
        return Holders(sorted(names & alive), sorted(names - alive))

    async def fetch(self, node: str, request: ExportRequest, path: Path, is_cancelled: Callable[[], bool]) -> bool:
        """Rule 3."""
        there = self._forwarding.named(node)
        if there is None:
            raise NodeAwayError(node, f"the node {node} of the cluster is away: it has recordings of this time")
        export_id = await self._begin(there, request)
        if export_id is None:
            return False
        try:
            await self._wait(there, export_id, is_cancelled)
            await self._download(there, export_id, path, is_cancelled)
        finally:
            await self._remove(there, export_id)
        return True

    async def _begin(self, node: Node, request: ExportRequest) -> str | None:
        wanted = {
            "cameras": list(request.cameras),
            "start": to_rfc3339(request.start_90k),
            "end": to_rfc3339(request.end_90k),
            "rendition": request.rendition.value if request.rendition is not None else "auto",
            "burn_in_time": request.burn_in_time,
        }
        asked = self._forwarding.ask(node, "POST", "/api/exports", JSON, json.dumps(wanted).encode())
        async with asked as answer:
            if answer.status == 404:
                return None
            made = await _json(node, answer)
            if answer.status != 201:
                raise StorageError(f"the node {node.name} does not export its part: {made.get('message')}")
            return str(made["id"])

    async def _wait(self, node: Node, export_id: str, is_cancelled: Callable[[], bool]) -> None:
        while True:
            if is_cancelled():
                raise CancelledExportError
            async with self._forwarding.ask(node, "GET", f"/api/exports/{export_id}") as answer:
                if answer.status == 404:
                    raise NodeAwayError(node.name, f"the node {node.name} was started again while it made its part")
                job = await _json(node, answer)
            if job.get("state") == ExportState.DONE:
                return
            if answer.status != 200 or job.get("state") == ExportState.FAILED:
                raise StorageError(f"the part of the node {node.name} failed: {job.get('message')}")
            await asyncio.sleep(POLL_S)

    async def _download(self, node: Node, export_id: str, path: Path, is_cancelled: Callable[[], bool]) -> None:
        file = await asyncio.to_thread(path.open, "wb")
        try:
            async with self._forwarding.ask(node, "GET", f"/api/exports/{export_id}/export.zip") as answer:
                if answer.status != 200:
                    raise StorageError(f"the part of the node {node.name} cannot be read ({answer.status})")
                try:
                    async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                        if is_cancelled():
                            raise CancelledExportError
                        await asyncio.to_thread(file.write, chunk)
                except aiohttp.ClientError:
                    raise NodeAwayError(node.name, f"the node {node.name} was lost while it sent its part") from None
        finally:
            await asyncio.to_thread(file.close)

    async def _remove(self, node: Node, export_id: str) -> None:
        try:
            async with self._forwarding.ask(node, "DELETE", f"/api/exports/{export_id}"):
                pass
        except LiveedgeError:
            pass  # it is deleted there after a day


async def _json(node: Node, answer: aiohttp.ClientResponse) -> dict[str, object]:
    try:
        made = json.loads(await answer.read())
    except (aiohttp.ClientError, ValueError):
        made = None
    if not isinstance(made, dict):
        raise NodeAwayError(node.name, f"the node {node.name} of the cluster does not answer as it should")
    return made
