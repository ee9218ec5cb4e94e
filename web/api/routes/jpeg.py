"""``/mjpeg`` and ``/snapshot``: JPEG pictures over HTTP.

Both serve the live edge and recordings. A request keeps its camera captured.

Rules:

1. MJPEG is ``multipart/x-mixed-replace`` with one frame in each part. The next frame is taken, always the newest, when
   the previous one has left the machine.
2. The boundary follows each part at once: Chromium shows a part only after it has read the boundary behind it.
3. A client that parses the parts itself sends ``Accept: multipart/mixed`` (RFC 2046 §5.1.3) and gets the same bytes
   with that type. WebKit parses ``multipart/x-mixed-replace`` before a script's ``fetch`` can read it.
"""

import contextlib
import math
from collections import Counter
from collections.abc import AsyncGenerator

from aiohttp import hdrs, web

from gateway.camera import Camera
from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.errors import BadRequestError
from gateway.jpeg.reader import JpegFrame
from gateway.live_picture import PICTURE_WAIT_S, live_picture
from gateway.picture_reader import PictureReader
from gateway.tcp_backlog import delivered
from gateway.times import NOW, TIME_HELP, parse_time
from web.api.describe import TIME, WAIT, WIDTH, Parameter, describe
from web.api.parameters import RENDITIONS, parse_rendition, wait_s
from web.gateway import GATEWAY

routes = web.RouteTableDef()

BOUNDARY = "liveedge"
REPLACING, MIXED = "multipart/x-mixed-replace", "multipart/mixed"

PICTURES_OF = {
    "rendition": Parameter(
        "The stream that the pictures are of. `auto`, or none: the smallest that has the width. While a live stream is"
        " away, they are of the other one",
        {"enum": RENDITIONS},
    )
}

WIDTH_MIN, WIDTH_MAX = 16, 7680
FRAME_RATE_MAX = 60.0


@routes.get("/snapshot/{camera}.jpg")
@describe(
    "pictures",
    {200: "image/jpeg"},
    query={
        "at": Parameter(f"The recorded picture of this time. {TIME_HELP}", TIME),
        "width": WIDTH,
        **PICTURES_OF,
        "wait": WAIT,
    },
    errors=(400, 404, 503),
)
async def snapshot(request: web.Request) -> web.Response:
    """One JPEG, of the live edge or of a recorded time. ``Age`` and ``X-Captured-At`` tell when it was captured."""
    camera_id, width = request.match_info["camera"], picture_width(request, None)
    at, rendition = request.query.get("at", NOW), parse_rendition(request)
    if at == NOW:
        camera = request.app[GATEWAY].service.camera(camera_id)
        _require(camera, rendition)
        frame = await live_picture(camera, width, wait_s(request, PICTURE_WAIT_S), preferred=rendition)
    else:
        time_90k = parse_time(at, "at")
        frame = await request.app[GATEWAY].recordings.picture(camera_id, time_90k, width, rendition=rendition)
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
        "at": Parameter(f"Start in the archive at this time, and go on into live. {TIME_HELP}", TIME),
        "width": WIDTH,
        **PICTURES_OF,
        "frame_rate": Parameter("Frames per second, at most", {"type": "number", "minimum": 0.01, "maximum": 60}),
        "wait": WAIT,
    },
    errors=(400, 404, 503),
)
async def mjpeg(request: web.Request) -> web.StreamResponse:
    """MJPEG of the live edge, or of the recording from a time on.

    With ``Accept: multipart/mixed`` the answer has that type, for clients that parse the parts themselves.
    """
    camera = request.app[GATEWAY].service.camera(request.match_info["camera"])
    width = picture_width(request, camera.settings.frame_width)
    frame_rate = _frame_rate(request, camera.settings.frame_rate)
    at, rendition = request.query.get("at", NOW), parse_rendition(request)
    at_90k = parse_time(at, "at", now_90k=0)
    skipped = request.app[GATEWAY].mjpeg_frames_skipped
    if at == NOW:
        _require(camera, rendition)
        patience_s = wait_s(request, PICTURE_WAIT_S)
        async with contextlib.aclosing(_live(camera, frame_rate, width, patience_s, rendition)) as frames:
            return await _send(request, _counted(frames, camera.id, skipped))
    hold = camera.hold("mjpeg")
    try:
        replay = request.app[GATEWAY].archive_reader.replay_jpeg(camera.id, at_90k, frame_rate, width, rendition)
        async with contextlib.aclosing(replay) as frames:
            return await _send(request, _counted(frames, camera.id, skipped))
    finally:
        hold.release()


async def _live(
    camera: Camera, frame_rate: float, width: int | None, patience_s: float, preferred: RenditionName | None
) -> AsyncGenerator[JpegFrame, None]:
    with contextlib.closing(PictureReader(camera, "mjpeg", frame_rate, width, preferred=preferred)) as reader:
        await reader.started(patience_s)
        async for frame in reader:
            yield frame


async def _counted(
    frames: AsyncGenerator[JpegFrame, None], camera_id: str, skipped: Counter[str]
) -> AsyncGenerator[JpegFrame, None]:
    """The frames. Counts those that were skipped before each."""
    async for frame in frames:
        skipped[camera_id] += frame.skipped
        yield frame


async def _send(request: web.Request, frames: AsyncGenerator[JpegFrame, None]) -> web.StreamResponse:
    # Get a frame before the headers are sent: without one, the answer is an error.
    frame = await anext(frames)
    response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    kind = MIXED if MIXED in request.headers.get("Accept", "").lower() else REPLACING
    response.content_type = f"{kind}; boundary={BOUNDARY}"
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
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


def _require(camera: Camera, rendition: RenditionName | None) -> None:
    """Raise :class:`~gateway.errors.NotFoundError` for a sub stream that the camera does not have."""
    if rendition is not None:
        camera.rendition(rendition)


def picture_width(request: web.Request, default: int | None) -> int | None:
    """The query parameter ``width``. Raises :class:`~gateway.errors.BadRequestError`."""
    text = request.query.get("width")
    if text is None:
        return default
    # isdecimal() also accepts digits of other scripts.
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and WIDTH_MIN <= int(text) <= WIDTH_MAX):
        raise BadRequestError(f"width must be a number of pixels from {WIDTH_MIN} to {WIDTH_MAX}")
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
        raise BadRequestError(f"frame_rate must be a number of frames per second from 0.01 to {FRAME_RATE_MAX:g}")
    return frame_rate
