"""AllRecordings: lists and moments of the recordings of all nodes, for HTTP and for Socket.IO.

Rules:

1. Each living node is asked for its own, all at once, and a list has those of every node in the order of time. Of a
   node that is away, what can be read of its recordings is listed (:mod:`web.cluster.node_answers`). Each segment's
   addresses name its node.
2. Segments have the same order, names and cursors whether their node is alive or is read: a client that lists them page
   by page gets each once, also where a node goes away or comes back meanwhile. Nodes of which some may be missing are
   named with the page.
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
from web.cluster.away_recordings import AwayNode
from web.cluster.forwarding import Forwarding
from web.cluster.node_answers import ANSWER_S, Answers, NodeAnswers, Span


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
    """See the module. Implements :class:`signaling.recordings.Recordings`. ``own`` are those of this node."""

    def __init__(self, own: OwnRecordings, answers: NodeAnswers, forwarding: Forwarding) -> None:
        self.own = own
        self._answers = answers
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

        async def read(node: AwayNode) -> SegmentsPage:
            return await node.recordings.page(
                camera_id, start_90k, end_90k, limit=limit, cursor=cursor, rendition=rendition
            )

        query = {"limit": str(limit), "cursor": cursor, "rendition": rendition} | _span(start_90k, end_90k)
        after_90k = start_90k if cursor is None else max(start_90k or 0, _start_of(cursor))
        asked = asyncio.ensure_future(
            self._answers.of_all(
                _target(f"/api/cameras/{quote(camera_id)}/segments", query),
                Span(camera_id, after_90k, end_90k, limit + 1),
                read,
            )
        )
        try:
            own = await self.own.page(camera_id, start_90k, end_90k, limit=limit, cursor=cursor, rendition=rendition)
        except NotFoundError:
            answers = await asked
            pages = [each for each in _pages_of(answers) if each.segments]
            if not pages:
                raise
            return _merged(pages, limit, answers.missing)
        except BaseException:
            asked.cancel()
            raise
        answers = await asked
        return _merged([own, *_pages_of(answers)], limit, answers.missing)

    async def at(self, camera_id: str, time_90k: int, rendition: RenditionName | None) -> Position:
        """As of the port. Of several nodes, this one is the first."""
        try:
            return await self.own.at(camera_id, time_90k, rendition)
        except NotFoundError:

            async def read(node: AwayNode) -> Position:
                return await node.recordings.at(camera_id, time_90k, rendition)

            query = {"time": to_rfc3339(time_90k), "rendition": rendition}
            target = _target(f"/api/cameras/{quote(camera_id)}/segments/at", query)
            answers = await self._answers.of_all(target, Span(camera_id, time_90k, time_90k + CLOCK_RATE), read)
            for answer in answers.told:
                try:
                    segment = SegmentModel(**answer["segment"])
                    return Position(segment, float(answer["offset_s"]), str(answer["time"]))
                except (KeyError, TypeError, ValueError):
                    continue
            if answers.read:
                return answers.read[0]
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
            for node in self._answers.nodes.others():
                answer = await self._picture(node, _target(f"/snapshot/{quote(camera_id)}.jpg", asked))
                if answer is not None:
                    data, captured_at_90k = answer
                    return JpegFrame(data, camera_id, captured_at_90k, 0, *jpeg_size(data))
            for there in await self._answers.read(Span(camera_id, time_90k, time_90k + CLOCK_RATE)):
                with contextlib.suppress(NotFoundError):
                    return await there.recordings.picture(camera_id, time_90k, width, quality)
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
    ) -> tuple[set[str], list[str]]:
        """The days that other nodes have recorded, and the names of nodes that may have recorded on more.

        ``target`` is the path and query of the request for them, and ``days_of`` has the days with their spans.
        """
        answers = await self._answers.spans(target, camera_id, days_of[1])
        days: set[str] = set()
        for recorded in answers.read:
            days.update(day.isoformat() for day, is_recorded in zip(days_of[0], recorded, strict=True) if is_recorded)
        for answer in answers.told:
            if isinstance(answer, dict):
                days.update(str(day) for day in answer.get("days") or ())
        return days, answers.missing


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


def _pages_of(answers: Answers[SegmentsPage]) -> list[SegmentsPage]:
    return [*filter(None, map(_page_of, answers.told)), *answers.read]


def _merged(pages: list[SegmentsPage], limit: int, away: Sequence[str]) -> SegmentsPage:
    segments = sorted((each for page in pages for each in page.segments), key=lambda each: (each.start, each.id))
    if len(segments) <= limit and all(page.next_cursor is None for page in pages):
        return SegmentsPage(segments, None, away)
    segments = segments[:limit]
    return SegmentsPage(segments, _cursor_after(segments[-1]) if segments else None, away)


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
