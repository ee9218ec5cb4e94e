"""/mjpeg and /snapshot: pictures for whatever can show a JPEG.

Both serve the live edge (MJPEG also a recording), and keep their camera captured while they need it. MJPEG is
``multipart/x-mixed-replace``: a part a frame, always the newest; the next is taken when the one before has left the
machine. Each part is followed by the next boundary at once, since Chromium shows a part only when it has seen the
boundary after it. Whoever reads the parts itself asks for ``multipart/mixed`` (RFC 2046 §5.1.3) in ``Accept`` and gets
the same bytes under that name: WebKit takes ``multipart/x-mixed-replace`` apart before a script's ``fetch`` can see it.
"""

import contextlib
import math
from collections.abc import AsyncGenerator

from aiohttp import web

from gateway.camera import Camera
from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.errors import BadRequestError
from gateway.jpeg.feed import JpegFrame
from gateway.tcp_backlog import delivered
from web.api.describe import TIME, WIDTH, Parameter, describe
from web.api.times import TIME_HELP, parse_time
from web.gateway import GATEWAY

routes = web.RouteTableDef()

PICTURE_WAIT_S = 10.0
"""How long a request waits for a camera that is coming up: longer than CAPTURE_TIMEOUT is by default."""

BOUNDARY = "liveedge"
REPLACING, MIXED = "multipart/x-mixed-replace", "multipart/mixed"

WIDTH_MIN, WIDTH_MAX = 16, 7680
FRAME_RATE_MAX = 60.0


@routes.get("/snapshot/{camera}.jpg")
@describe("pictures", {200: "image/jpeg"}, query={"width": WIDTH}, errors=(400, 404, 503))
async def snapshot(request: web.Request) -> web.Response:
    """The live edge as one JPEG. ``?width=`` in pixels. ``Age`` and ``X-Captured-At`` say how live it is."""
    camera = request.app[GATEWAY].service.camera(request.match_info["camera"])
    width = _width(request, None)
    hold = camera.hold("snapshot")
    try:
        await camera.wait_for_keyframe(PICTURE_WAIT_S)
        frame = await camera.jpeg.snapshot(width)
    finally:
        hold.release()
    age_90k = max(0, request.app[GATEWAY].clock.wall_90k() - frame.captured_at_90k)
    headers = {
        "Cache-Control": "no-store",
        "Age": str(age_90k // CLOCK_RATE),
        "X-Age-Seconds": f"{age_90k / CLOCK_RATE:.3f}",
        "X-Captured-At": to_rfc3339(frame.captured_at_90k),
    }
    return web.Response(body=frame.data, content_type="image/jpeg", headers=headers)


@routes.get("/mjpeg/{camera}")
@describe(
    "pictures",
    {200: REPLACING},
    query={
        "at": Parameter(f"From this moment on, then into live. {TIME_HELP}", TIME),
        "width": WIDTH,
        "frame_rate": Parameter("Frames a second, at most", {"type": "number", "minimum": 0.01, "maximum": 60}),
    },
    errors=(400, 404, 503),
)
async def mjpeg(request: web.Request) -> web.StreamResponse:
    """MJPEG of the live edge, or with ``?at=`` of the recording from that moment on and then into live.

    ``?width=`` in pixels and ``?frame_rate=`` a second, at most. With ``Accept: multipart/mixed`` that is its type, for
    readers that are no image viewers.
    """
    camera = request.app[GATEWAY].service.camera(request.match_info["camera"])
    width = _width(request, camera.settings.frame_width)
    frame_rate = _frame_rate(request, camera.settings.frame_rate)
    at = request.query.get("at", "now")
    at_90k = parse_time(at, "at", now_90k=0)
    hold = camera.hold("mjpeg")
    try:
        if at == "now":
            await camera.wait_for_keyframe(PICTURE_WAIT_S)
            frames = _live(camera, frame_rate, width)
        else:
            frames = request.app[GATEWAY].archive_reader.replay_jpeg(camera.id, at_90k, frame_rate, width)
        async with contextlib.aclosing(frames):
            return await _send(request, frames)
    finally:
        hold.release()


async def _live(camera: Camera, frame_rate: float, width: int | None) -> AsyncGenerator[JpegFrame, None]:
    with contextlib.closing(camera.jpeg.subscribe(frame_rate, width)) as reader:
        async for frame in reader:
            yield frame


async def _send(request: web.Request, frames: AsyncGenerator[JpegFrame, None]) -> web.StreamResponse:
    # Before the headers, since it may be that there is none, and why.
    frame = await anext(frames)
    response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    kind = MIXED if MIXED in request.headers.get("Accept", "").lower() else REPLACING
    response.content_type = f"{kind}; boundary={BOUNDARY}"
    await response.prepare(request)
    socket = request.transport.get_extra_info("socket") if request.transport is not None else None
    await response.write(f"--{BOUNDARY}\r\n".encode() + _part(frame))
    await delivered(socket)
    async for frame in frames:
        await response.write(_part(frame))
        await delivered(socket)
    return response


def _part(frame: JpegFrame) -> bytes:
    head = (
        f"Content-Type: image/jpeg\r\nContent-Length: {len(frame.data)}\r\n"
        f"X-Captured-At: {to_rfc3339(frame.captured_at_90k)}\r\n"
        f"X-Sequence: {frame.sequence}\r\nX-Skipped: {frame.skipped}\r\n\r\n"
    )
    return b"".join((head.encode(), frame.data, f"\r\n--{BOUNDARY}\r\n".encode()))


def _width(request: web.Request, default: int | None) -> int | None:
    text = request.query.get("width")
    if text is None:
        return default
    # isdecimal alone is true for the digits of every script.
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and WIDTH_MIN <= int(text) <= WIDTH_MAX):
        raise BadRequestError(f"width is pixels, from {WIDTH_MIN} to {WIDTH_MAX}")
    return int(text)


def _frame_rate(request: web.Request, default: float) -> float:
    text = request.query.get("frame_rate")
    if text is None:
        return default
    try:
        frame_rate = float(text)
    except ValueError:
        frame_rate = math.nan
    if not 0.01 <= frame_rate <= FRAME_RATE_MAX:
        raise BadRequestError(f"frame_rate is frames a second, from 0.01 to {FRAME_RATE_MAX:g}")
    return frame_rate
