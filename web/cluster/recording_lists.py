"""AllRecordings: lists and moments of the recordings of all nodes, for HTTP and for Socket.IO.

Rules:

1. Each living node is asked for its own, all at once, and a list has those of every node in the order of time. Each
   segment's addresses name its node.
2. A node that does not answer within :data:`ANSWER_S` is left out: the index of all recordings names what it has. Of
   one that is away, what it has uploaded is listed (:mod:`web.cluster.stored_recordings`).
3. What another node asks is answered from this node's own recordings (:attr:`AllRecordings.own`).
"""

import asyncio
import base64
import contextlib
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from aiohttp import ClientError
from pydantic import ValidationError

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.cluster.model import Node
from gateway.errors import LiveedgeError, NotFoundError
from gateway.jpeg.reader import JpegFrame
from gateway.times import parse_time
from signaling.answers import SegmentModel
from signaling.recordings import Position, Recordings, SegmentsPage
from web.cluster.forwarding import Forwarding
from web.cluster.service import Cluster
from web.cluster.stored_recordings import ROWS_MAX, StoredRecordings

ANSWER_S = 3.0


class OwnRecordings(Recordings, Protocol):
    """What :mod:`web.recordings` has besides the port."""

    async def picture(
        self,
        camera_id: str,
        time_90k: int,
        width: int | None,
        quality: int | None = None,
        rendition: RenditionName | None = None,
    ) -> JpegFrame: ...

    async def segment(self, camera_id: str, name: str) -> SegmentModel: ...

    async def require_camera(self, camera_id: str) -> None: ...


class AllRecordings:
    """See the module. Implements :class:`signaling.recordings.Recordings`. ``own`` are those of this node.

    ``stored`` are those of nodes that are away; ``None`` without an object storage.
    """

    def __init__(
        self, own: OwnRecordings, cluster: Cluster, forwarding: Forwarding, stored: StoredRecordings | None = None
    ) -> None:
        self._stored = stored
        self.own = own
        self._cluster = cluster
        self._forwarding = forwarding

    async def page(
        self,
        camera_id: str,
        start_90k: int | None,
        end_90k: int | None,
        *,
        limit: int,
        cursor: str | None,
        rendition: RenditionName | None,
    ) -> SegmentsPage:
        """As of the port."""
        asked = asyncio.gather(
            *self._ask_all(
                f"/api/cameras/{quote(camera_id)}/segments",
                {"limit": str(limit), "cursor": cursor, "rendition": rendition} | _span(start_90k, end_90k),
            ),
            self._stored_pages(camera_id, start_90k, end_90k, limit, cursor, rendition),
        )
        try:
            own = await self.own.page(camera_id, start_90k, end_90k, limit=limit, cursor=cursor, rendition=rendition)
        except NotFoundError:
            pages = [each for each in _pages_of(await asked) if each.segments]
            if not pages:
                raise
            return _merged(pages, limit)
        except BaseException:
            asked.cancel()
            raise
        return _merged([own, *_pages_of(await asked)], limit)

    async def _stored_pages(
        self,
        camera_id: str,
        start_90k: int | None,
        end_90k: int | None,
        limit: int,
        cursor: str | None,
        rendition: RenditionName | None,
    ) -> list[SegmentsPage]:
        pages = []
        after_90k = start_90k if cursor is None else max(start_90k or 0, _start_of(cursor))
        for stored in await self._stored_of(camera_id, after_90k, end_90k, limit + 1):
            with contextlib.suppress(LiveedgeError):
                pages.append(
                    await stored.page(camera_id, start_90k, end_90k, limit=limit, cursor=cursor, rendition=rendition)
                )
        return pages

    async def _stored_of(
        self,
        camera_id: str,
        start_90k: int | None,
        end_90k: int | None,
        limit: int = ROWS_MAX,
    ) -> list[Recordings]:
        if self._stored is None:
            return []
        return await self._stored.all_of_span(camera_id, start_90k, end_90k, limit)

    async def at(self, camera_id: str, time_90k: int, rendition: RenditionName | None) -> Position:
        """As of the port. Of several nodes, this one is the first."""
        try:
            return await self.own.at(camera_id, time_90k, rendition)
        except NotFoundError:
            asked = {"time": to_rfc3339(time_90k), "rendition": rendition}
            for answer in await asyncio.gather(*self._ask_all(f"/api/cameras/{quote(camera_id)}/segments/at", asked)):
                try:
                    segment = SegmentModel(**answer["segment"])
                    return Position(segment, float(answer["offset_s"]), str(answer["time"]))
                except (KeyError, TypeError, ValueError):
                    continue
            for stored in await self._stored_of(camera_id, time_90k, time_90k + CLOCK_RATE):
                with contextlib.suppress(LiveedgeError):
                    return await stored.at(camera_id, time_90k, rendition)
            raise

    async def picture(
        self,
        camera_id: str,
        time_90k: int,
        width: int | None,
        quality: int | None = None,
        rendition: RenditionName | None = None,
    ) -> JpegFrame:
        """As of the port. Of another node it has the usual quality."""
        try:
            return await self.own.picture(camera_id, time_90k, width, quality, rendition)
        except NotFoundError:
            asked = {"at": to_rfc3339(time_90k), "width": str(width) if width else None, "rendition": rendition}
            for node in self._others():
                answer = await self._picture(node, _target(f"/snapshot/{quote(camera_id)}.jpg", asked))
                if answer is not None:
                    data, captured_at_90k = answer
                    return JpegFrame(data, camera_id, captured_at_90k, 0, *jpeg_size(data))
            for stored in await self._stored_of(camera_id, time_90k, time_90k + CLOCK_RATE):
                with contextlib.suppress(NotFoundError):
                    return await stored.picture(camera_id, time_90k, width, quality)
            raise

    async def _picture(self, node: Node, target: str) -> tuple[bytes, int] | None:
        try:
            async with asyncio.timeout(ANSWER_S), self._forwarding.ask(node, "GET", target) as answer:
                if answer.status != 200:
                    return None
                return await answer.read(), parse_time(answer.headers["X-Captured-At"], "X-Captured-At")
        except (LiveedgeError, TimeoutError, ClientError, KeyError):
            return None

    async def segment(self, camera_id: str, name: str) -> SegmentModel:
        """One segment of this node. Raises :class:`~gateway.errors.NotFoundError`."""
        return await self.own.segment(camera_id, name)

    async def require_camera(self, camera_id: str) -> None:
        """Raise :class:`~gateway.errors.NotFoundError` unless the camera is configured or has recordings here."""
        await self.own.require_camera(camera_id)

    async def days_elsewhere(
        self, camera_id: str, target: str, days_of: tuple[Sequence[date], Sequence[tuple[int, int]]]
    ) -> set[str]:
        """The days that other nodes have recorded, those that are away too where there is an object storage.

        ``target`` is the path and query of the request for them, and ``days_of`` has the days with their spans.
        """
        days: set[str] = set()
        if self._stored is not None:
            stored = await self._stored.recorded_spans(camera_id, days_of[1])
            days.update(day.isoformat() for day, is_recorded in zip(days_of[0], stored, strict=True) if is_recorded)
        for answer in await asyncio.gather(*(self._ask(node, target) for node in self._others())):
            if isinstance(answer, dict):
                days.update(str(day) for day in answer.get("days") or ())
        return days

    def _ask_all(self, path: str, query: Mapping[str, str | None]) -> list[Any]:
        target = _target(path, query)
        return [self._ask(node, target) for node in self._others()]

    def _others(self) -> list[Node]:
        nodes = self._cluster.coordinator.view.nodes.values()
        return [node for node in nodes if node.id != self._cluster.coordinator.node.id]

    async def _ask(self, node: Node, target: str) -> Any:
        """``None``: it has nothing, or does not answer."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._forwarding.json(node, target)
        except (LiveedgeError, TimeoutError):
            return None


def _target(path: str, query: Mapping[str, str | None]) -> str:
    return f"{path}?{urlencode({name: value for name, value in query.items() if value is not None})}"


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG, by its frame header (ITU-T T.81 B.2.2); zeros without one."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        if 0xC0 <= data[at + 1] <= 0xCF and data[at + 1] not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return 0, 0


def _span(start_90k: int | None, end_90k: int | None) -> dict[str, str | None]:
    return {
        "start": None if start_90k is None else to_rfc3339(start_90k),
        "end": None if end_90k is None else to_rfc3339(end_90k),
    }


def _page_of(answer: Any) -> SegmentsPage | None:
    try:
        return SegmentsPage([SegmentModel(**each) for each in answer["segments"]], answer["next_cursor"])
    except (KeyError, TypeError, ValidationError):
        return None


def _pages_of(answers: Sequence[Any]) -> list[SegmentsPage]:
    """Of the answers of nodes, and last the pages of those that are away."""
    *told, stored = answers
    return [*filter(None, map(_page_of, told)), *stored]


def _merged(pages: list[SegmentsPage], limit: int) -> SegmentsPage:
    segments = sorted((each for page in pages for each in page.segments), key=lambda each: (each.start, each.id))
    if len(segments) <= limit and all(page.next_cursor is None for page in pages):
        return SegmentsPage(segments, None)
    segments = segments[:limit]
    return SegmentsPage(segments, _cursor_after(segments[-1]) if segments else None)


def _start_of(cursor: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(cursor[:200] + "==").partition(b"/")[0])
    except ValueError:
        return 0


def _cursor_after(segment: SegmentModel) -> str:
    """Behind what begins in the same millisecond: the times of segments have no finer ones."""
    return (
        base64.urlsafe_b64encode(f"{parse_time(segment.start, 'start') + 89}/{segment.id}".encode())
        .decode()
        .rstrip("=")
    )
