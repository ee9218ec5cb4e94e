"""Recordings: what this package needs of the archive. A port; :mod:`web.recordings` implements it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.camera_settings import RenditionName
from gateway.jpeg.reader import JpegFrame
from signaling.answers import SegmentModel


@dataclass(frozen=True, slots=True)
class SegmentsPage:
    """Segments, oldest first. ``next_cursor`` requests those that follow; ``None``: there are no more.

    ``away`` are the names of the nodes of a cluster that may have recorded more of them.
    """

    segments: list[SegmentModel]
    next_cursor: str | None
    away: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Position:
    """The segment of a moment, the offset of the moment in it in seconds, and the moment (RFC 3339 UTC)."""

    segment: SegmentModel
    offset_s: float
    time: str


class Recordings(Protocol):
    """See the module. Times are 90 kHz ticks since the Unix epoch. Every coroutine may raise ``LiveedgeError``.

    A camera that was removed still has its recordings. ``NotFoundError`` says whether the camera is unknown, or nothing
    was recorded then.
    """

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
        """The segments that overlap a time range, those of one stream or of both. ``cursor`` is of the page before."""

    async def at(self, camera_id: str, time_90k: int, rendition: RenditionName | None) -> Position:
        """The segment of a moment."""

    async def picture(self, camera_id: str, time_90k: int, width: int | None, quality: int | None) -> JpegFrame:
        """The recorded picture of a moment: the first one that is not earlier."""
