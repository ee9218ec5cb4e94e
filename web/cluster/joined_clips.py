"""JoinedClips: a clip of what several nodes have recorded, as one file (:mod:`hls.playback.clip`).

Rules:

1. A node is asked for its files if the index of all recordings has any of them in the span, or if it owns the camera:
   its newest file may not be in the index yet. Of one that is away, there is what can be read of its recordings
   (:mod:`~.away_recordings`). A node that has not answered is named, and the clip has what the others recorded.
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
from web.cluster.away_recordings import AwayNode, AwayRecordings, reading
from web.cluster.clip_pieces import NodePiece, Span, cut_pieces
from web.cluster.node_answers import TRIES
from web.cluster.node_files import NodeFiles
from web.cluster.nodes import ClusterNodes
from web.cluster.recordings import SharedIndex
from web.cluster.service import Cluster

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
        folders = {**self.stored, self.own.data_dir: self.own}
        # The folder of a worker may be in that of another one.
        above = [folder for folder in folders if path.is_relative_to(folder)]
        return folders[max(above, key=lambda folder: len(folder.parts))].open(path) if above else self.there.open(path)


class JoinedClips:
    """See the module. Lives on the event loop."""

    def __init__(
        self,
        cluster: Cluster,
        nodes: ClusterNodes,
        index: SharedIndex,
        own: ArchiveReader,
        files: NodeFiles,
        stored: AwayRecordings | None,
    ) -> None:
        self._own_name = cluster.coordinator.node.name
        self._nodes = nodes
        self._index = index
        self._own = own
        self._files = files
        self._stored = stored

    @contextlib.asynccontextmanager
    async def clip(
        self,
        camera_id: str,
        start_90k: int,
        end_90k: int,
        rendition: RenditionName | None,
        most_of: Span | None = None,
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
        if self._stored is not None and self._stored.is_complete:
            names |= {*self._stored.away()}
        found: Found = {}
        stored: dict[str, AwayNode] = {}
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
            async with self._own.clip(camera_id, start_90k, end_90k, rendition, most_of) as file:
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
            file, _ = await loop.run_in_executor(files.executor, join_clip, files, parts, name, (), most_of)
            yield file, away

    async def _of_node(
        self,
        name: str,
        camera_id: str,
        start_90k: int,
        end_90k: int,
        rendition: RenditionName | None,
        stored: dict[str, AwayNode],
    ) -> list[SegmentWithFragments] | None:
        """``None``: the node does not answer."""
        for _ in range(TRIES):
            node = self._nodes.named(name)
            with contextlib.suppress(LiveedgeError):
                if node is not None:
                    return await self._files.recorded(node, camera_id, start_90k, end_90k, rendition)
            with contextlib.suppress(LiveedgeError):
                there = await self._stored.of_span(name, camera_id, start_90k, end_90k) if self._stored else None
                if there is not None:
                    stored[name] = there
                    with reading(there):
                        return await there.reader.segments.spans(camera_id, start_90k, end_90k, rendition)
            if node is not None:
                break
        return None

    def _part(self, piece: NodePiece, stored: Mapping[str, AwayNode]) -> ClipPiece:
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
