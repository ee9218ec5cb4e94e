"""JoinedClips: a clip of what several nodes have recorded, as one file (:mod:`hls.playback.clip`).

Rules:

1. A node is asked for its files if the index of all recordings has any of them in the span, or if it owns the camera:
   its newest file may not be in the index yet. Of one that is away, there is what it has uploaded
   (:mod:`~.stored_recordings`). A node that has not answered is named, and the clip has what the others recorded.
2. Without a rendition, the clip is of the main stream, unless more of it was recorded of the sub stream, by all nodes
   together.
3. While the database is away, a clip has what this node recorded.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from gateway.errors import BadRequestError, LiveedgeError
from hls.archive.segment import SegmentWithFragments
from hls.archive.segment_files import OpenFile, SegmentFiles
from hls.playback.clip import CLIP_MAX_S, ClipPiece, join_clip
from hls.playback.composite_file import CompositeFile
from hls.playback.reader import ArchiveReader
from hls.playback.segment_finder import COVERED_90K
from web.cluster.clip_pieces import NodePiece, Span, cut_pieces
from web.cluster.node_files import NodeFiles
from web.cluster.nodes import ClusterNodes
from web.cluster.recordings import SharedIndex
from web.cluster.service import Cluster
from web.cluster.stored_recordings import StoredNode, StoredRecordings, reading

if TYPE_CHECKING:
    from hls.cluster.recordings import FoundFile

ROWS_MAX = 2000

Found = dict[str, list[SegmentWithFragments]]
"""Files by the name of their node."""


@dataclass(frozen=True, slots=True)
class _Files:
    """Opens the files of all nodes. ``stored``: those of nodes that are away, by their folders."""

    there: NodeFiles
    own: SegmentFiles
    stored: Mapping[Path, SegmentFiles]

    @property
    def executor(self) -> Executor | None:
        return self.there.executor

    def open(self, path: Path) -> OpenFile:
        if path.is_relative_to(self.own.data_dir):
            return self.own.open(path)
        for folder, files in self.stored.items():
            if path.is_relative_to(folder):
                return files.open(path)
        return self.there.open(path)


class JoinedClips:
    """See the module. Lives on the event loop."""

    def __init__(
        self,
        cluster: Cluster,
        nodes: ClusterNodes,
        index: SharedIndex,
        own: ArchiveReader,
        files: NodeFiles,
        stored: StoredRecordings | None,
    ) -> None:
        self._own_name = cluster.coordinator.node.name
        self._nodes = nodes
        self._index = index
        self._own = own
        self._files = files
        self._stored = stored

    @contextlib.asynccontextmanager
    async def clip(
        self, camera_id: str, start_90k: int, end_90k: int, rendition: RenditionName | None
    ) -> AsyncIterator[tuple[CompositeFile, list[str]]]:
        """As :meth:`hls.playback.reader.ArchiveReader.clip`, of all nodes; and the names of those that are missing."""
        if end_90k - start_90k > CLIP_MAX_S * CLOCK_RATE:
            raise BadRequestError(f"a clip lasts {CLIP_MAX_S // 60} minutes at most: ask for several").because(
                "clip_too_long", minutes=CLIP_MAX_S // 60
            )
        try:
            rows: Sequence[FoundFile] = await self._index.find(camera_id, start_90k, end_90k, ROWS_MAX, None)
        except LiveedgeError:
            rows = ()
        owner = self._nodes.owner(camera_id)
        names = {row.file.node_name for row in rows} | ({owner.name} if owner is not None else set())
        found: Found = {}
        stored: dict[str, StoredNode] = {}
        away = []
        asked = sorted(names - {self._own_name})
        answers = await asyncio.gather(
            *(self._of_node(name, camera_id, start_90k, end_90k, rendition, stored) for name in asked)
        )
        for name, answer in zip(asked, answers, strict=True):
            if answer is None:
                away.append(name)
            elif answer:
                found[name] = answer
        # It may have been writing a file that is not in the index.
        away += sorted(self._nodes.lost_after(start_90k / CLOCK_RATE) - {*asked})
        if not found:
            async with self._own.clip(camera_id, start_90k, end_90k, rendition) as file:
                yield file, away
            return
        found[self._own_name] = await self._own.segments.spans(camera_id, start_90k, end_90k, rendition)
        chosen = _of_best_stream(found, start_90k, end_90k)
        pieces = cut_pieces(chosen, _counted(rows), start_90k, end_90k)
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._own.limited_clip())
            for piece in pieces:
                if piece.node == self._own_name:
                    stack.enter_context(self._own.segments.pin(piece.whole.segment))
            folders = {node.folder: node.archive.files for node in stored.values()}
            files = _Files(self._files, self._own.segments.files, folders)
            parts = [self._part(piece, stored) for piece in pieces]
            name = f"joined-{camera_id}-{start_90k}-{end_90k}"
            loop = asyncio.get_running_loop()
            file, _ = await loop.run_in_executor(files.executor, join_clip, files, parts, name)
            yield file, away

    async def _of_node(
        self,
        name: str,
        camera_id: str,
        start_90k: int,
        end_90k: int,
        rendition: RenditionName | None,
        stored: dict[str, StoredNode],
    ) -> list[SegmentWithFragments] | None:
        """``None``: the node does not answer."""
        node = self._nodes.named(name)
        try:
            if node is not None:
                return await self._files.recorded(node, camera_id, start_90k, end_90k, rendition)
            there = await self._stored.of_span(name, camera_id, start_90k, end_90k) if self._stored else None
            if there is None:
                return None
            stored[name] = there
            with reading(there):
                return await there.reader.segments.spans(camera_id, start_90k, end_90k, rendition)
        except LiveedgeError:
            return None

    def _part(self, piece: NodePiece, stored: Mapping[str, StoredNode]) -> ClipPiece:
        segment, fragments = piece.whole
        if piece.node == self._own_name:
            path = self._own.path(segment)
        elif piece.node in stored:
            path = stored[piece.node].reader.path(segment)
        else:
            path = self._files.path(piece.node, segment)
        return ClipPiece(segment, fragments, path, piece.start_90k, piece.end_90k, f"{piece.node}/")


def _counted(rows: "Sequence[FoundFile]") -> dict[tuple[str, str], Span]:
    return {
        (row.file.node_name, row.file.name): (row.from_90k, row.to_90k)
        for row in rows
        if row.from_90k is not None and row.to_90k is not None
    }


def _of_best_stream(found: Found, start_90k: int, end_90k: int) -> Found:
    """Rule 2. As :meth:`~hls.playback.segment_finder.SegmentFinder.best_span`."""
    streams = {
        stream: {
            name: [whole for whole in wholes if whole.segment.rendition is stream] for name, wholes in found.items()
        }
        for stream in RenditionName
    }

    def covered_90k(of_nodes: Found) -> int:
        return sum(piece.end_90k - piece.start_90k for piece in cut_pieces(of_nodes, {}, start_90k, end_90k))

    main_90k, sub_90k = (covered_90k(streams[stream]) for stream in (RenditionName.MAIN, RenditionName.SUB))
    is_main = main_90k and main_90k + COVERED_90K >= sub_90k
    return streams[RenditionName.MAIN if is_main else RenditionName.SUB]
