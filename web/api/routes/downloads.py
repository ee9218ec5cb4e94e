"""Downloads from the archive: files, thumbnails, clips.

A file can be downloaded while it grows. The answer is the whole fragments that are on disk at the time of the request:
a valid fragmented MP4 of known length.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from gateway.clock import to_rfc3339
from gateway.errors import BadRequestError, NotFoundError
from hls.archive.segment import SegmentState
from hls.playback.clip import growing_file
from web.api.composite_file import send_composite
from web.api.describe import RANGE, SPAN, describe
from web.api.parameters import require_recorded_camera, segment_id, time_range
from web.auth.revocation import cancel_on_revoke
from web.gateway import GATEWAY

routes = web.RouteTableDef()


@routes.get("/archive/{camera}/{segment}.jpg")
@describe("archive", {200: "image/jpeg"}, errors=(404, 503))
async def thumbnail(request: web.Request) -> web.StreamResponse:
    """The first picture of a segment, scaled down."""
    reader = request.app[GATEWAY].archive_reader
    path = await reader.thumbnail(request.match_info["camera"], segment_id(request))
    return web.FileResponse(path, headers={hdrs.CACHE_CONTROL: "public, max-age=86400"})


@routes.get("/archive/{camera}/{segment}.mp4")
@describe("archive", {200: "video/mp4", 206: "video/mp4", 304: None}, headers={"Range": RANGE}, errors=(404, 416))
async def download(request: web.Request) -> web.StreamResponse:
    """Download a segment's file.

    While the file grows, the answer is what is on disk: a valid fragmented MP4 of known length.
    """
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
    """Download exactly one time range as one MP4, across segments and gaps."""
    reader, camera_id = request.app[GATEWAY].archive_reader, request.match_info["camera"]
    start_90k, end_90k = time_range(request)
    if start_90k is None or end_90k is None:
        raise BadRequestError("a clip needs start and end: give both")
    name = f"{camera_id}_{to_rfc3339(start_90k).replace(':', '')}.mp4"
    try:
        async with reader.clip(camera_id, start_90k, end_90k) as file:
            headers: dict[str, str] = {
                hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"',
                hdrs.CACHE_CONTROL: "no-cache",
            }
            return await send_composite(request, file, headers)
    except NotFoundError:
        await require_recorded_camera(request, camera_id)
        raise


class PinnedFile(web.FileResponse):
    """A file that retention does not delete while it is being sent.

    aiohttp sends a file in ``prepare``, after the handler has returned: so it needs its own ``cancel_on_revoke``.
    """

    def __init__(
        self, asked: web.Request, pin: AbstractContextManager[None], path: Path, headers: Mapping[str, str]
    ) -> None:
        super().__init__(path, headers=headers)
        self._asked = asked
        self._pin = pin

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the file."""
        with self._pin:
            async with cancel_on_revoke(self._asked, is_started=True):
                return await super().prepare(request)
