"""The archive over HTTP: lists, look-ups, downloads.

A segment's file can be downloaded while it grows: what is sent is what is on disk as whole fragments at the moment of
the request, which is a valid fragmented MP4 of a length that is known.
"""

import asyncio
import base64
import binascii
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.errors import BadRequestError, NotFoundError
from hls.archive.segment import Segment, SegmentState, parse_name
from hls.live.playlist import with_query
from hls.playback.clip import CompositeFile, growing_file
from hls.playback.reader import PAGE_MAX
from web.api import models
from web.api.answer import json_answer
from web.api.describe import RANGE, SPAN, TIME, Parameter, describe
from web.api.times import TIME_HELP, parse_time
from web.auth.requests import token_query
from web.auth.revocation import cancel_on_revoke
from web.gateway import GATEWAY

routes = web.RouteTableDef()

PAGE_DEFAULT = 100

COMPRESS_IN_THREAD_BYTES = 64 * 1024
"""Larger playlists are compressed off the event loop."""

SEND_BYTES = 512 * 1024
"""What the download of a growing file or a clip holds in memory."""


@routes.get("/api/cameras/{camera}/segments")
@describe(
    "archive",
    {200: models.SegmentPage},
    query={
        **SPAN,
        "limit": Parameter("Segments in one answer", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX - 1}),
        "cursor": Parameter("``next_cursor`` of the answer before"),
    },
    errors=(400, 404),
)
async def list_segments(request: web.Request) -> web.Response:
    """``?start=&end=&limit=&cursor=``: segments that overlap the range, oldest first, and a cursor."""
    reader, camera_id = request.app[GATEWAY].archive_reader, request.match_info["camera"]
    start_90k, end_90k = time_range(request)
    limit = _limit(request)
    cursor = request.query.get("cursor")
    after = _parse_cursor(cursor) if cursor else None
    segments = await reader.page(camera_id, start_90k, end_90k, limit + 1, after)
    if not segments:
        await _require_camera(request, camera_id)
    more = len(segments) > limit
    segments = segments[:limit]
    page = models.SegmentPage(
        segments=[models.Segment.of(segment) for segment in segments],
        next_cursor=_cursor(segments[-1]) if more else None,
    )
    return json_answer(page, headers={hdrs.CACHE_CONTROL: "no-cache"})


@routes.get("/api/cameras/{camera}/segments/at")
@describe(
    "archive",
    {200: models.ArchivePosition},
    query={"time": Parameter(f"The moment. {TIME_HELP}", TIME, required=True)},
    errors=(400, 404),
)
async def segment_at(request: web.Request) -> web.Response:
    """``?time=``: the segment of a moment, and the offset in it."""
    reader, camera_id = request.app[GATEWAY].archive_reader, request.match_info["camera"]
    text = request.query.get("time")
    if text is None:
        raise BadRequestError("time is missing: give a moment, or now")
    now_90k = request.app[GATEWAY].clock.wall_90k()
    try:
        moment = await reader.at(camera_id, parse_time(text, "time", now_90k))
    except NotFoundError:
        await _require_camera(request, camera_id)
        raise
    position = models.ArchivePosition(
        segment=models.Segment.of(moment.segment),
        offset_s=round(moment.offset_90k / CLOCK_RATE, 6),
        time=to_rfc3339(moment.segment.start_90k + moment.offset_90k),
    )
    return json_answer(position, headers={hdrs.CACHE_CONTROL: "no-cache"})


@routes.get("/hls/{camera}/dvr.m3u8")
@describe("HLS", {200: "application/vnd.apple.mpegurl"}, query=SPAN, errors=(400, 404, 503))
async def dvr_playlist(request: web.Request) -> web.Response:
    """``?start=&end=``: the recording as a seekable playlist; without an end it goes on into live."""
    camera_id = request.match_info["camera"]
    start_90k, end_90k = time_range(request)
    try:
        text = await request.app[GATEWAY].archive_reader.playlist(camera_id, start_90k, end_90k, base="../../archive/")
    except NotFoundError:
        await _require_camera(request, camera_id)
        raise
    response = web.Response(
        text=with_query(text, token_query(request)),
        content_type="application/vnd.apple.mpegurl",
        headers={hdrs.CACHE_CONTROL: "no-cache"},
        zlib_executor_size=COMPRESS_IN_THREAD_BYTES,
    )
    response.enable_compression()
    return response


@routes.post("/api/cameras/{camera}/segments/{segment}/protect")
@describe("archive", {200: models.Segment}, errors=(404,))
async def protect(request: web.Request) -> web.Response:
    """Keep a segment, whatever retention says."""
    return await _set_protected(request, True)


@routes.delete("/api/cameras/{camera}/segments/{segment}/protect")
@describe("archive", {200: models.Segment}, errors=(404,))
async def unprotect(request: web.Request) -> web.Response:
    """Leave a segment to retention again."""
    return await _set_protected(request, False)


async def _set_protected(request: web.Request, is_protected: bool) -> web.Response:
    camera_id, name = request.match_info["camera"], segment_id(request)
    await request.app[GATEWAY].archive.protect(camera_id, name, is_protected)
    segment, _ = await request.app[GATEWAY].archive_reader.find(camera_id, name)
    return json_answer(models.Segment.of(segment))


@routes.get("/archive/{camera}/{segment}.jpg")
@describe("archive", {200: "image/jpeg"}, errors=(404, 503))
async def thumbnail(request: web.Request) -> web.StreamResponse:
    """The first picture of a segment, small."""
    path = await request.app[GATEWAY].archive_reader.thumbnail(request.match_info["camera"], segment_id(request))
    return web.FileResponse(path, headers={hdrs.CACHE_CONTROL: "public, max-age=86400"})


@routes.get("/archive/{camera}/init-{init}.mp4")
@describe("HLS", {200: "video/mp4", 206: "video/mp4", 304: None}, headers={"Range": RANGE}, errors=(404, 416))
async def init_segment(request: web.Request) -> web.StreamResponse:
    """What EXT-X-MAP names: the init segment of all files of a camera whose tracks are alike."""
    init_id = request.match_info["init"]
    data = await request.app[GATEWAY].archive_reader.init_segment(request.match_info["camera"], init_id)
    headers: dict[str, str] = {hdrs.CACHE_CONTROL: "public, max-age=31536000, immutable"}
    return await send_composite(request, CompositeFile(data, [], f'"{init_id}"'), headers)


@routes.get("/archive/{camera}/{segment}.mp4")
@describe("archive", {200: "video/mp4", 206: "video/mp4", 304: None}, headers={"Range": RANGE}, errors=(404, 416))
async def download(request: web.Request) -> web.StreamResponse:
    """A segment's file: Range, ETag, HEAD; see the module for one that grows."""
    reader = request.app[GATEWAY].archive_reader
    segment, _ = await reader.find(request.match_info["camera"], segment_id(request))
    path = reader.path(segment)
    headers: dict[str, str] = {
        hdrs.CONTENT_DISPOSITION: f'inline; filename="{segment.camera_id}_{segment.name}.mp4"',
        hdrs.CACHE_CONTROL: "no-cache",
    }
    if segment.state is not SegmentState.GROWING:
        return PinnedFile(request, reader.pin(segment), path, headers)
    return await send_composite(request, growing_file(path, segment), headers)


@routes.get("/api/cameras/{camera}/clip.mp4")
@describe(
    "archive",
    {200: "video/mp4", 206: "video/mp4", 304: None},
    query={name: replace(parameter, required=True) for name, parameter in SPAN.items()},
    headers={"Range": RANGE},
    errors=(400, 404, 416, 503),
)
async def clip(request: web.Request) -> web.StreamResponse:
    """``?start=&end=``: exactly that span as one MP4, across segments and gaps; Range works."""
    reader, camera_id = request.app[GATEWAY].archive_reader, request.match_info["camera"]
    start_90k, end_90k = time_range(request)
    if start_90k is None or end_90k is None:
        raise BadRequestError("a clip has a start and an end: give both")
    name = f"{camera_id}_{to_rfc3339(start_90k).replace(':', '')}.mp4"
    try:
        async with reader.clip(camera_id, start_90k, end_90k) as file:
            headers: dict[str, str] = {
                hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"',
                hdrs.CACHE_CONTROL: "no-cache",
            }
            return await send_composite(request, file, headers)
    except NotFoundError:
        await _require_camera(request, camera_id)
        raise


class PinnedFile(web.FileResponse):
    """A file that retention leaves alone until it is sent, to whoever may have it until then."""

    def __init__(
        self, asked: web.Request, pin: AbstractContextManager[None], path: Path, headers: Mapping[str, str]
    ) -> None:
        super().__init__(path, headers=headers)
        self._asked = asked
        self._pin = pin

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it all."""
        with self._pin:
            async with cancel_on_revoke(self._asked, is_started=True):
                return await super().prepare(request)


async def send_composite(request: web.Request, file: CompositeFile, headers: Mapping[str, str]) -> web.StreamResponse:
    """A virtual file with Range, ETag and HEAD (RFC 9110 §13, §14). One range; several are answered with all of it."""
    headers = {**headers, hdrs.ETAG: file.etag, hdrs.ACCEPT_RANGES: "bytes", hdrs.CONTENT_TYPE: "video/mp4"}
    if file.etag in request.headers.get(hdrs.IF_NONE_MATCH, ""):
        return web.Response(status=304, headers=headers)
    status, start, end = 200, 0, file.length
    asked = request.headers.get(hdrs.RANGE)
    if asked is not None and "," not in asked and request.headers.get(hdrs.IF_RANGE) in (None, file.etag):
        try:
            start, end, _ = request.http_range.indices(file.length)
        except ValueError:
            end = 0
        if start >= end:
            raise web.HTTPRequestRangeNotSatisfiable(headers={hdrs.CONTENT_RANGE: f"bytes */{file.length}"})
        status = 206
        headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{end - 1}/{file.length}"
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = end - start
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    pieces = file.read(start, end)
    try:
        while data := await asyncio.to_thread(_gather, pieces):
            await response.write(data)
        await response.write_eof()
    finally:
        await asyncio.shield(asyncio.to_thread(pieces.close))
    return response


def _gather(pieces: Iterable[bytes]) -> bytes:
    """Small pieces as one, so that each trip to a thread is worth it."""
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
        if len(gathered) >= SEND_BYTES:
            break
    return bytes(gathered)


# --- what clients say


def segment_id(request: web.Request) -> str:
    """The segment's name from the path. Raises :class:`~gateway.errors.NotFoundError` for what can be none."""
    name = request.match_info["segment"]
    if parse_name(name) is None:
        raise NotFoundError(f"{name[:60]!r} is no segment: segments are named like segment_20261122T185000Z")
    return name


def time_range(request: web.Request) -> tuple[int | None, int | None]:
    """``start`` and ``end``. Raises :class:`~gateway.errors.BadRequestError`."""
    now_90k = request.app[GATEWAY].clock.wall_90k()
    start, end = request.query.get("start"), request.query.get("end")
    start_90k = parse_time(start, "start", now_90k) if start else None
    end_90k = parse_time(end, "end", now_90k) if end else None
    if start_90k is not None and end_90k is not None and end_90k <= start_90k:
        raise BadRequestError("end is not after start")
    return start_90k, end_90k


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(PAGE_DEFAULT))
    # The archive's page has one more, which tells whether there is a next one.
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and 1 <= int(text) < PAGE_MAX):
        raise BadRequestError(f"limit: {text[:20]!r} is no number from 1 to {PAGE_MAX - 1}")
    return int(text)


def _cursor(segment: Segment) -> str:
    return base64.urlsafe_b64encode(f"{segment.start_90k}/{segment.name}".encode()).decode().rstrip("=")


def _parse_cursor(text: str) -> tuple[int, str]:
    try:
        start, _, name = base64.urlsafe_b64decode(text[:200] + "==").decode("ascii").partition("/")
        if start.isdecimal() and len(start) <= 18 and parse_name(name) is not None:
            return int(start), name
    except (binascii.Error, ValueError):
        pass
    raise BadRequestError("cursor is none of ours: take next_cursor of the answer before, or leave it out")


async def _require_camera(request: web.Request, camera_id: str) -> None:
    """A camera that is configured, or was recorded. Raises :class:`~gateway.errors.NotFoundError`."""
    if camera_id not in request.app[GATEWAY].service.cameras and not await request.app[GATEWAY].archive_reader.page(
        camera_id, limit=1
    ):
        raise NotFoundError(f"there is no camera {camera_id[:64]!r}")
