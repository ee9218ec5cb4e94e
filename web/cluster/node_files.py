"""NodeFiles: the recorded files of other nodes that are alive, read by ranges.

Rules:

1. What there is of a span says the node itself, for this one (:data:`PATH`): also of a file that grows.
2. Files are read in blocks (:mod:`hls.storage.block_cache`), :data:`CACHE_BYTES` of which are kept, as the node would
   send them to a client. A file that has grown is another one: its last block has become longer.
3. The event loop does not wait for a block. The threads that do are these, and end after :data:`READ_S`.
"""

import asyncio
import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlencode

import aiohttp
from aiohttp import hdrs

from gateway.camera_settings import RenditionName
from gateway.clock import Clock, to_rfc3339
from gateway.cluster.model import Node
from gateway.errors import NodeAwayError, NotFoundError
from hls.archive.segment import Segment, SegmentWithFragments
from hls.archive.segment_files import STORAGE_THREADS, LocalFile, OpenFile
from hls.archive.segment_record import read_record
from hls.storage.block_cache import BlockCache
from web.cluster.forwarding import Forwarding

PATH = "/api/cluster/cameras/{camera}/recorded"

ANSWER_S = 10.0

READ_S = 20.0

CACHE_BYTES = 64 * 1024 * 1024

ROOT = Path("/liveedge-nodes")
"""The folder of their paths. Nothing is there."""


class NodeFiles:
    """See the module. Implements :class:`hls.playback.clip.ClipFiles`. Lives on the event loop; :meth:`open` blocks."""

    def __init__(self, forwarding: Forwarding, clock: Clock) -> None:
        self.executor = ThreadPoolExecutor(STORAGE_THREADS, thread_name_prefix="cluster-read")
        self._forwarding = forwarding
        self._blocks = BlockCache(self._read_block, CACHE_BYTES, clock)
        self._loop: asyncio.AbstractEventLoop | None = None

    def close(self) -> None:
        """End the threads that wait for nothing."""
        self.executor.shutdown(wait=False, cancel_futures=True)

    async def recorded(
        self, node: Node, camera_id: str, start_90k: int, end_90k: int, rendition: RenditionName | None
    ) -> list[SegmentWithFragments]:
        """What a node has recorded in a span, of one stream or of both. Raises ``NodeAwayError``."""
        self._loop = asyncio.get_running_loop()
        query = {"start": to_rfc3339(start_90k), "end": to_rfc3339(end_90k)}
        if rendition is not None:
            query["rendition"] = rendition.value
        target = f"{PATH.format(camera=quote(camera_id, safe=''))}?{urlencode(query)}"
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._forwarding.json(node, target)
            records = [read_record(json.dumps(each).encode()) for each in answer["recorded"]]
        except (TimeoutError, TypeError, KeyError):
            raise NodeAwayError(node.name, f"the node {node.name} of the cluster does not answer") from None
        return [each for each in records if each is not None]

    def path(self, node_name: str, segment: Segment) -> Path:
        """The path of a file for :meth:`open`."""
        key = base64.urlsafe_b64encode(segment.camera_id.encode()).decode()
        return ROOT / node_name / key / str(segment.size) / f"{segment.name}.mp4"

    def open(self, path: Path) -> OpenFile:
        """Open a file of another node, or of the disk. Blocking."""
        return _NodeFile(self._blocks, path) if path.is_relative_to(ROOT) else LocalFile(path)

    def _read_block(self, name: str, start: int, end: int) -> bytes:
        assert self._loop is not None
        reading = asyncio.run_coroutine_threadsafe(self._fetch(name, start, end), self._loop)
        try:
            return reading.result(READ_S)
        except TimeoutError:
            reading.cancel()
            raise NodeAwayError("", "a node of the cluster sends its recording too slowly") from None

    async def _fetch(self, name: str, start: int, end: int) -> bytes:
        node_name, key, _, file = PurePosixPath(name).relative_to(ROOT.as_posix()).parts
        camera_id = base64.urlsafe_b64decode(key).decode()
        node = self._forwarding.named(node_name)
        if node is None:
            raise NodeAwayError(node_name, f"the node {node_name} of the cluster is away: it has this recording")
        target = f"/archive/{quote(camera_id, safe='')}/{file}?node={node_name}"
        fields: dict[str, str] = {hdrs.ACCEPT_ENCODING: "identity", hdrs.RANGE: f"bytes={start}-{end - 1}"}
        try:
            async with self._forwarding.ask(node, hdrs.METH_GET, target, fields) as answer:
                if answer.status == 416:
                    return b""
                if answer.status == 404:
                    raise NotFoundError(f"the recording {Path(file).stem} is no longer there")
                if answer.status != 206:
                    raise NodeAwayError(node_name, f"the node {node_name} cannot send its recording ({answer.status})")
                return await answer.read()
        except (aiohttp.ClientError, OSError):
            raise NodeAwayError(node_name, f"the node {node_name} of the cluster was lost while it sent") from None


class _NodeFile:
    def __init__(self, blocks: BlockCache, path: Path) -> None:
        self._blocks = blocks
        self._name = path.as_posix()

    def read_at(self, size: int, offset: int) -> bytes:
        return self._blocks.read_at(self._name, size, offset)

    def close(self) -> None:
        """Nothing is open."""
