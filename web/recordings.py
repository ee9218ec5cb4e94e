"""Recordings: lists and moments of the archive as clients see them, for HTTP and for Socket.IO."""

import base64
import binascii

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.errors import BadRequestError, NotFoundError
from gateway.jpeg.reader import JpegFrame
from gateway.service import CaptureService
from hls.archive.segment import Segment, parse_name
from hls.playback.reader import ArchiveReader
from signaling.answers import SegmentModel
from signaling.recordings import Position, SegmentsPage


class ArchiveRecordings:
    """Implements :class:`signaling.recordings.Recordings`. ``node`` is the name of this node in a cluster."""

    def __init__(self, reader: ArchiveReader, service: CaptureService, node: str | None = None) -> None:
        self._reader = reader
        self._service = service
        self._node = node

    def of_reader(self, reader: ArchiveReader, node: str) -> "ArchiveRecordings":
        """Those of another node, of which ``reader`` reads the recordings."""
        return ArchiveRecordings(reader, self._service, node)

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
        after = parse_cursor(cursor) if cursor else None
        # One more, to know whether another page follows.
        segments = await self._reader.segments.page(camera_id, start_90k, end_90k, limit + 1, after, rendition)
        if not segments:
            await self.require_camera(camera_id)
        more = len(segments) > limit
        segments = segments[:limit]
        return SegmentsPage(
            [segment_model(each, self._node) for each in segments], cursor_of(segments[-1]) if more else None
        )

    async def at(self, camera_id: str, time_90k: int, rendition: RenditionName | None) -> Position:
        """As of the port."""
        try:
            found = await self._reader.segments.at(camera_id, time_90k, rendition)
        except NotFoundError:
            await self.require_camera(camera_id)
            raise
        return Position(
            segment_model(found.segment, self._node),
            round(found.offset_90k / CLOCK_RATE, 6),
            to_rfc3339(found.segment.start_90k + found.offset_90k),
        )

    async def picture(
        self,
        camera_id: str,
        time_90k: int,
        width: int | None,
        quality: int | None = None,
        rendition: RenditionName | None = None,
    ) -> JpegFrame:
        """As of the port."""
        try:
            return await self._reader.snapshot(camera_id, time_90k, width, quality, rendition)
        except NotFoundError:
            await self.require_camera(camera_id)
            raise

    async def segment(self, camera_id: str, name: str) -> SegmentModel:
        """One segment. Raises :class:`~gateway.errors.NotFoundError`."""
        found, _ = await self._reader.segments.find(camera_id, name)
        return segment_model(found, self._node)

    async def require_camera(self, camera_id: str) -> None:
        """Raise :class:`~gateway.errors.NotFoundError` unless the camera is configured or has recordings."""
        if camera_id not in self._service.cameras and not await self._reader.segments.page(camera_id, limit=1):
            raise NotFoundError(f"there is no camera {camera_id[:64]!r}")


def segment_model(segment: Segment, node: str | None = None) -> SegmentModel:
    """A segment as clients see it. ``node`` has it, in a cluster."""
    base = f"/archive/{segment.camera_id}/{segment.name}"
    query = f"?node={node}" if node is not None else ""
    return SegmentModel(
        id=segment.name,
        camera_id=segment.camera_id,
        rendition=segment.rendition.value,
        state=segment.state.value,
        start=to_rfc3339(segment.start_90k),
        end=to_rfc3339(segment.end_90k),
        duration_s=round(segment.duration_90k / CLOCK_RATE, 3),
        size=segment.size,
        codecs=segment.codecs,
        video_codec=segment.codec,
        audio_codec=segment.audio_codec,
        width=segment.width,
        height=segment.height,
        fps=round(segment.frames * CLOCK_RATE / max(1, segment.duration_90k), 3),
        frames=segment.frames,
        bitrate_bps=segment.bitrate_bps,
        longest_gap_s=round(segment.longest_gap_90k / CLOCK_RATE, 3),
        continues=segment.continues,
        end_reason=segment.end_reason.value if segment.end_reason is not None else None,
        protected=segment.is_protected,
        sha256=segment.sha256 or None,
        metadata=segment.metadata,
        url=f"{base}.mp4{query}",
        thumbnail=f"{base}.jpg{query}",
    )


def cursor_of(segment: Segment) -> str:
    """Where the page after a segment begins."""
    return base64.urlsafe_b64encode(f"{segment.start_90k}/{segment.name}".encode()).decode().rstrip("=")


def parse_cursor(text: str) -> tuple[int, str]:
    """Undo :func:`cursor_of`. Raises :class:`~gateway.errors.BadRequestError`."""
    try:
        start, _, name = base64.urlsafe_b64decode(text[:200] + "==").decode("ascii").partition("/")
        if start.isdecimal() and len(start) <= 18 and parse_name(name) is not None:
            return int(start), name
    except (binascii.Error, ValueError):
        pass
    raise BadRequestError("cursor is not valid: use next_cursor of the previous answer, or leave it out")
