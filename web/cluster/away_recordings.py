"""AwayRecordings: the recordings of nodes that are away, as another node reads them. A port.

In a cluster they are what those nodes have uploaded (:mod:`web.cluster.stored_recordings`), among the workers of one
machine all that they have on the disk (:mod:`web.workers.folder_recordings`).
"""

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hls.archive.service import Archive
from hls.playback.reader import ArchiveReader
from signaling.recordings import Recordings

ROWS_MAX = 2000
"""Segments of one request."""


@dataclass(frozen=True, slots=True)
class AwayNode:
    """The recordings of a node that is away. ``folder`` is that of the paths of its files."""

    name: str
    folder: Path
    archive: Archive
    reader: ArchiveReader
    recordings: Recordings


READING: ContextVar[AwayNode | None] = ContextVar("READING", default=None)
"""The node of which the recordings answer a request, instead of this one's; see :func:`reading`."""


@contextlib.contextmanager
def reading(node: AwayNode) -> Iterator[None]:
    """Have a handler answer from the recordings of a node that is away."""
    token = READING.set(node)
    try:
        yield
    finally:
        READING.reset(token)


class AwayRecordings(Protocol):
    """See the module. Lives on the event loop. Every coroutine raises ``StorageError`` where they cannot be read."""

    is_complete: bool
    """Whether they are all that such a node recorded; otherwise there may be more."""

    def away(self) -> list[str]:
        """The names of the nodes that are away."""
        ...

    def is_away(self, name: str) -> bool:
        """Whether a node is known and not alive."""
        ...

    async def close(self) -> None:
        """Remove what was kept."""
        ...

    async def of_file(self, name: str, camera_id: str, segment: str) -> AwayNode | None:
        """The recordings of a node, in which this segment is looked for; ``None``: it is alive, or has not got it."""
        ...

    async def of_init(self, name: str, camera_id: str, init_id: str) -> AwayNode | None:
        """The recordings of a node, in which this init segment is looked for; ``None``: it is alive."""
        ...

    async def of_span(
        self, name: str, camera_id: str, start_90k: int | None, end_90k: int | None, limit: int = ROWS_MAX
    ) -> AwayNode | None:
        """The recordings of a node, with those of a span, ``limit`` at most; ``None``: it is alive."""
        ...

    async def recorded_spans(
        self, name: str, camera_id: str, spans: Sequence[tuple[int, int]]
    ) -> Sequence[bool] | None:
        """For each span [start, end), whether a node recorded in it; ``None``: it is alive."""
        ...
