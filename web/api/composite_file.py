"""``send_composite``: answer a request with a :class:`~hls.playback.clip.CompositeFile`."""

import asyncio
from collections.abc import Iterable, Mapping

from aiohttp import hdrs, web

from hls.playback.clip import CompositeFile

SEND_BYTES = 512 * 1024
"""The most bytes of a composite file that a request keeps in memory."""


async def send_composite(request: web.Request, file: CompositeFile, headers: Mapping[str, str]) -> web.StreamResponse:
    """Send a composite file with Range, ETag and HEAD (RFC 9110 §13, §14).

    One range is served. A request for several ranges gets the whole file, as §14.2 allows.
    """
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
        while data := await asyncio.to_thread(_join, pieces):
            await response.write(data)
        await response.write_eof()
    finally:
        await asyncio.shield(asyncio.to_thread(pieces.close))
    return response


def _join(pieces: Iterable[bytes]) -> bytes:
    """Join small pieces, so that there are fewer calls to a thread."""
    joined = bytearray()
    for piece in pieces:
        joined += piece
        if len(joined) >= SEND_BYTES:
            break
    return bytes(joined)
