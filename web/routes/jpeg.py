"""/mjpeg and /snapshot: pictures for whatever can show a JPEG.

Both serve the live edge, and keep their camera captured while they need it. MJPEG is ``multipart/x-mixed-replace``: a
part a frame, always the newest; the next is taken when the one before has left the machine. Each part is followed by
the next boundary at once, since Chromium shows a part only when it has seen the boundary after it.
"""

import math

from aiohttp import web

from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.errors import BadRequestError
from gateway.jpeg import JpegFrame
from signaling.delivery import delivered
from web import keys

routes = web.RouteTableDef()

CORS = {"Access-Control-Allow-Origin": "*"}
"""Players live on other people's pages."""

PICTURE_WAIT_S = 10.0
"""How long a request waits for a camera that is coming up: longer than CAPTURE_TIMEOUT is by default."""

BOUNDARY = "liveedge"

WIDTH_MIN, WIDTH_MAX = 16, 7680
FRAME_RATE_MAX = 60.0


@routes.get("/snapshot/{camera}.jpg")
async def snapshot(request: web.Request) -> web.Response:
    """The live edge as one JPEG. ``?width=`` in pixels. ``Age`` and ``X-Captured-At`` say how live it is."""
    camera = request.app[keys.SERVICE].camera(request.match_info["camera"])
    width = _width(request, None)
    hold = camera.hold("snapshot")
    try:
        await camera.wait_for_keyframe(PICTURE_WAIT_S)
        frame = await camera.jpeg.snapshot(width)
    finally:
        hold.release()
    age_90k = max(0, request.app[keys.CLOCK].wall_90k() - frame.captured_at_90k)
    headers = {
        **CORS,
        "Cache-Control": "no-store",
        "Age": str(age_90k // CLOCK_RATE),
        "X-Age-Seconds": f"{age_90k / CLOCK_RATE:.3f}",
        "X-Captured-At": to_rfc3339(frame.captured_at_90k),
    }
    return web.Response(body=frame.data, content_type="image/jpeg", headers=headers)


@routes.get("/mjpeg/{camera}")
async def mjpeg(request: web.Request) -> web.StreamResponse:
    """The live edge as MJPEG. ``?width=`` in pixels and ``?frame_rate=`` a second, at most."""
    camera = request.app[keys.SERVICE].camera(request.match_info["camera"])
    width = _width(request, camera.settings.frame_width)
    frame_rate = _frame_rate(request, camera.settings.frame_rate)
    hold = camera.hold("mjpeg")
    try:
        await camera.wait_for_keyframe(PICTURE_WAIT_S)
        reader = camera.jpeg.subscribe(frame_rate, width)
        try:
            response = web.StreamResponse(headers={**CORS, "Cache-Control": "no-store", "X-Accel-Buffering": "no"})
            response.content_type = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
            await response.prepare(request)
            await response.write(f"--{BOUNDARY}\r\n".encode())
            socket = request.transport.get_extra_info("socket") if request.transport is not None else None
            async for frame in reader:
                await response.write(_part(frame))
                await delivered(socket)
        finally:
            reader.close()
    finally:
        hold.release()
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
