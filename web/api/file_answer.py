"""``send_file``: answer a request with a :class:`~hls.playback.composite_file.CompositeFile`.

Rules:

1. Ranges and conditions are those of RFC 9110 (:mod:`web.api.ranges`, :mod:`web.api.preconditions`). Several ranges are
   sent as multipart/byteranges (§14.6). Only GET has ranges (§14.2).
2. With a ``window``, nothing outside these bytes is sent: the ranges are cut to it, and a request for the whole file is
   refused.
3. Threads read the file, :data:`~hls.playback.composite_file.READ_BYTES` at a time, and never two at once. However the
   request ends, the file is closed after the last of them.
4. Once an answer has begun, a fault cannot become another answer: the connection is closed.
"""

import asyncio
import logging
import secrets
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Executor
from email.utils import formatdate

from aiohttp import hdrs, web

from gateway.errors import ForbiddenError, StorageError, redact
from hls.playback.composite_file import CompositeFile
from web.api.preconditions import is_range_current, unmet_status
from web.api.ranges import Range, UnsatisfiableError, parse_range, within
from web.gateway import GATEWAY

log = logging.getLogger(__name__)

Part = tuple[bytes, Range]
"""Bytes to send, and then a range of the file."""


async def send_file(
    request: web.Request,
    file: CompositeFile,
    headers: Mapping[str, str],
    *,
    content_type: str = "video/mp4",
    window: Range | None = None,
) -> web.StreamResponse:
    """See the module. Raises :class:`~gateway.errors.ForbiddenError` (rule 2) and 412 and 416 as ``HTTPException``."""
    headers = {**headers, hdrs.ETAG: file.etag, hdrs.ACCEPT_RANGES: "bytes"}
    if file.modified_s is not None:
        headers[hdrs.LAST_MODIFIED] = formatdate(file.modified_s, usegmt=True)
    unmet = unmet_status(request, file.etag, file.modified_s)
    if unmet == web.HTTPPreconditionFailed.status_code:
        raise web.HTTPPreconditionFailed
    if unmet is not None:
        return web.Response(status=unmet, headers=headers)
    ranges = _ranges(request, file)
    if window is not None and window != (0, file.length):
        ranges = within(ranges or [], window)
        if not ranges:
            raise ForbiddenError("this token opens a part of this file, and the request is for other bytes")
    if ranges is None:
        parts, length = [(b"", (0, file.length))], file.length
    elif len(ranges) == 1:
        (start, end), parts = ranges[0], [(b"", ranges[0])]
        length = end - start
        headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{end - 1}/{file.length}"
    else:
        boundary = secrets.token_hex(16)
        parts = _multipart(ranges, file.length, content_type, boundary)
        length = sum(len(head) + end - start for head, (start, end) in parts)
        content_type = f"multipart/byteranges; boundary={boundary}"
    headers[hdrs.CONTENT_TYPE] = content_type
    response = web.StreamResponse(status=200 if ranges is None else 206, headers=headers)
    response.content_length = length
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD:
        await _send(request, response, _read(file, parts), file.executor)
    return response


def _ranges(request: web.Request, file: CompositeFile) -> list[Range] | None:
    """The ranges to send; ``None``: the whole file."""
    asked = request.headers.getall(hdrs.RANGE, ())
    if request.method != hdrs.METH_GET or len(asked) != 1:
        return None
    if not is_range_current(request, file.etag, file.modified_s, request.app[GATEWAY].clock):
        return None
    try:
        return parse_range(asked[0], file.length)
    except UnsatisfiableError:
        raise web.HTTPRequestRangeNotSatisfiable(headers={hdrs.CONTENT_RANGE: f"bytes */{file.length}"}) from None


def _multipart(ranges: Sequence[Range], length: int, content_type: str, boundary: str) -> list[Part]:
    """The parts of a multipart/byteranges body (RFC 9110 §14.6)."""
    parts: list[Part] = []
    for number, (start, end) in enumerate(ranges):
        before = "\r\n" if number else ""
        head = (
            f"{before}--{boundary}\r\n{hdrs.CONTENT_TYPE}: {content_type}\r\n"
            f"{hdrs.CONTENT_RANGE}: bytes {start}-{end - 1}/{length}\r\n\r\n"
        )
        parts.append((head.encode(), (start, end)))
    return [*parts, (f"\r\n--{boundary}--\r\n".encode(), (0, 0))]


def _read(file: CompositeFile, parts: Sequence[Part]) -> Generator[bytes, None, None]:
    """The body in pieces. Blocking."""
    for head, (start, end) in parts:
        if head:
            yield head
        yield from file.read(start, end)


async def _send(
    request: web.Request,
    response: web.StreamResponse,
    pieces: Generator[bytes, None, None],
    executor: Executor | None,
) -> None:
    reading: asyncio.Future[bytes] | None = None
    loop = asyncio.get_running_loop()
    try:
        remaining = response.content_length or 0
        while remaining > 0:
            reading = loop.run_in_executor(executor, next, pieces, b"")
            data = await asyncio.shield(reading)
            remaining -= len(data)
            if not data or remaining <= 0:
                # Before the last bytes: a client that has them may assume that this request counts no more.
                await asyncio.to_thread(pieces.close)
                reading, remaining = None, 0
            await response.write(data)
        await response.write_eof()
    except StorageError as error:
        log.error("%s %s is cut off: %s", request.method, request.path, redact(error))  # noqa: TRY400
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the file of this answer cannot be read to its end") from None
    finally:
        if reading is not None:
            await asyncio.shield(_close(pieces, reading))


async def _close(pieces: Generator[bytes, None, None], reading: asyncio.Future[bytes]) -> None:
    """Rule 3."""
    await asyncio.wait([reading])
    if not reading.cancelled():
        reading.exception()  # it was raised already, or nobody waits for it any more
    await asyncio.to_thread(pieces.close)
