"""SegmentIndex: the table of archive segments, for the event loop.

Every call runs in one dedicated thread. The queue of calls is bounded, and so is the time in it. A query that a server
does not answer is given up. The queries are in :mod:`hls.archive.segment_queries` and :mod:`hls.archive.table`.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from gateway.camera_settings import RenditionName
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import LiveedgeError, UnavailableError
from hls.archive.event_cover import EventCover
from hls.archive.fragment import Fragment
from hls.archive.hls_segments import HlsSegment
from hls.archive.segment import RecordedStream, Segment, SegmentWithFragments
from hls.archive.segment_queries import StreamUsage
from hls.archive.table import SegmentTable

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

CALLS_WAITING_MAX = 256
"""A query takes a millisecond; with so many waiting, the caller should try again later."""

WAIT_MAX_S = 10.0
"""How long a call waits for its turn."""

RUN_MAX_S = 20.0
"""How long a server behind ``DATABASE_URL`` may take for a transaction; after that its connection is closed."""


class SegmentIndex:
    """See the module. Every coroutine raises :class:`~gateway.errors.StorageError` if the database fails."""

    def __init__(self, data_dir: Path, database_url: str | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self.table = SegmentTable(data_dir, database_url, clock)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="index")
        self._waiting = 0
        self.on_saved: list[Callable[[Sequence[Segment]], None]] = []
        """Called after the rows of segments were written."""
        self.on_deleted: list[Callable[[Sequence[Segment]], None]] = []
        """Called after the rows of segments were removed with their files."""

    async def open(self) -> None:
        """Connect and migrate. Raises :class:`~gateway.errors.SettingsError` if that fails."""
        await self.call(SegmentTable.open)

    async def close(self) -> None:
        """Wait for the pending calls, and disconnect. May be called twice."""
        if self.table.is_open:
            try:
                await self.call(SegmentTable.close)
            except LiveedgeError as error:
                log.warning("archive: the index could not be closed: %s", error)
        self._executor.shutdown(wait=False)

    async def call(self, function: Callable[Concatenate[SegmentTable, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a method of the table in the index's thread.

        Raises :class:`~gateway.errors.UnavailableError` if too many calls wait, or the one before does not end.
        """
        if self._waiting >= CALLS_WAITING_MAX:
            raise UnavailableError("the index has too many requests at present", retry_after_s=2)
        self._waiting += 1
        running = self._executor.submit(lambda: function(self.table, *args, **kwargs))
        result = asyncio.wrap_future(running)
        try:
            await asyncio.wait([result], timeout=WAIT_MAX_S)
            if not result.done() and running.cancel():
                raise UnavailableError("the index does not answer at present", retry_after_s=5)
            if not result.done():
                await asyncio.wait([result], timeout=RUN_MAX_S - WAIT_MAX_S)
                if not result.done():
                    self.table.interrupt()
            return await result
        except asyncio.CancelledError:
            result.cancel()
            raise
        finally:
            self._waiting -= 1

    async def save(self, segment: Segment, fragments: tuple[Fragment, ...]) -> None:
        """Insert the segment, or replace its row; its protection does not change."""
        await self.call(SegmentTable.save, segment, fragments)
        for listener in self.on_saved:
            listener([segment])

    async def save_growing(self, growing: Sequence[SegmentWithFragments]) -> None:
        """:meth:`save` of growing segments, for less."""
        await self.call(SegmentTable.save_growing, growing)
        for listener in self.on_saved:
            listener([each.segment for each in growing])

    async def get(self, camera_id: str, name: str) -> SegmentWithFragments | None:
        """A segment and its fragments."""
        return await self.call(SegmentTable.get, camera_id, name)

    async def page(
        self,
        camera_id: str,
        start_90k: int | None,
        end_90k: int | None,
        limit: int,
        after: tuple[int, str] | None = None,
        rendition: RenditionName | None = None,
    ) -> list[Segment]:
        """Segments that overlap [start, end), oldest first, at most ``limit``, after ``after`` (start, name)."""
        return await self.call(SegmentTable.page, camera_id, start_90k, end_90k, limit, after, rendition)

    async def at(
        self, camera_id: str, time_90k: int, rendition: RenditionName = RenditionName.MAIN
    ) -> tuple[Segment | None, Segment | None]:
        """The newest segment of a stream that begins at or before this wall clock, and the oldest after it."""
        return await self.call(SegmentTable.at, camera_id, time_90k, rendition)

    async def span(
        self,
        camera_id: str,
        start_90k: int | None,
        end_90k: int | None,
        limit: int,
        rendition: RenditionName = RenditionName.MAIN,
    ) -> list[SegmentWithFragments]:
        """As :meth:`page`, of one stream, with fragments."""
        return await self.call(SegmentTable.span, camera_id, start_90k, end_90k, limit, rendition)

    async def hls_span(
        self,
        camera_id: str,
        start_90k: int | None,
        end_90k: int | None,
        limit: int,
        rendition: RenditionName = RenditionName.MAIN,
    ) -> list[tuple[Segment, list[HlsSegment]]]:
        """As :meth:`page`, of one stream, with HLS segments."""
        return await self.call(SegmentTable.hls_span, camera_id, start_90k, end_90k, limit, rendition)

    async def hls_before(
        self, camera_id: str, sequence: int | None, limit: int, rendition: RenditionName = RenditionName.MAIN
    ) -> list[tuple[Segment, list[HlsSegment]]]:
        """Segments of a stream with HLS segments, the one recorded last first, before this sequence number."""
        return await self.call(SegmentTable.hls_before, camera_id, sequence, limit, rendition)

    async def newest(self, camera_id: str, rendition: RenditionName = RenditionName.MAIN) -> Segment | None:
        """The stream's newest segment by sequence number."""
        return await self.call(SegmentTable.newest, camera_id, rendition)

    async def set_protected(self, camera_id: str, name: str, is_protected: bool) -> bool:
        """Protect a segment from retention, or stop protecting it. Returns whether it exists."""
        return await self.call(SegmentTable.set_protected, camera_id, name, is_protected)

    async def usage(self) -> list[StreamUsage]:
        """What each stream has on disk."""
        return await self.call(SegmentTable.usage)

    async def oldest(self, camera_id: str, limit: int, rendition: RenditionName, cover: EventCover) -> list[Segment]:
        """The segments that were recorded first and that retention may delete: neither growing nor protected."""
        return await self.call(SegmentTable.oldest, camera_id, limit, rendition, cover)

    async def start_after(
        self, stream: RecordedStream, sequence: int, earliest_90k: int, latest_90k: int
    ) -> int | None:
        """The start of the first segment after this number that begins from ``earliest_90k`` to ``latest_90k``."""
        return await self.call(SegmentTable.start_after, stream, sequence, earliest_90k, latest_90k)

    async def newest_end_90k(self) -> int | None:
        """When the segment ended that was recorded last, of all cameras; ``None`` without one."""
        return await self.call(SegmentTable.newest_end_90k)

    async def with_init(
        self, camera_id: str, init_id: str, start_90k: int | None = None, end_90k: int | None = None
    ) -> Segment | None:
        """A segment with this init segment, that overlaps [start, end)."""
        return await self.call(SegmentTable.with_init, camera_id, init_id, start_90k, end_90k)

    async def newest_with_sound(self, camera_id: str, rendition: RenditionName | None = None) -> Segment | None:
        """The newest segment with sound, of one stream or of both. It looks at all of them where none has sound."""
        return await self.call(SegmentTable.newest_with_sound, camera_id, rendition)

    async def begin_delete(self, segments: Sequence[Segment]) -> None:
        """Mark rows as being deleted, before the files are removed."""
        await self.call(SegmentTable.begin_delete, segments)

    async def end_delete(self, segments: Sequence[Segment]) -> None:
        """Remove the rows, after the files."""
        await self.call(SegmentTable.end_delete, segments)
        for listener in self.on_deleted:
            listener(segments)

    async def set_metadata(self, segment: Segment) -> None:
        """Write only ``sha256`` and ``metadata``."""
        await self.call(SegmentTable.set_metadata, segment)

    async def without_hash(self, limit: int) -> list[Segment]:
        """Finished segments without a ``sha256``, newest first."""
        return await self.call(SegmentTable.without_hash, limit)
