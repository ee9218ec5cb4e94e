"""WHEP: WebRTC over HTTP (draft-ietf-wish-whep-04, with the rules of RFC 9725 for the session's resource).

GET, HEAD  /whep/{camera}            200 without content: application/sdp says that this is a WHEP endpoint
POST       /whep/{camera}            offer; 201 with the answer, Location, ETag and Link; 406 with a counter-offer;
                                     ?rendition=auto|main|sub, width and height choose the camera's stream;
                                     ?wait=N does not wait longer for a camera that is starting
GET, HEAD  /whep/{camera}/{viewer}   204: the session exists
PATCH      /whep/{camera}/{viewer}   trickled candidates, an ICE restart (RFC 8840 fragments), the answer to a
                                     counter-offer
DELETE     /whep/{camera}/{viewer}   end the session
OPTIONS    on either                 Accept-Post and Accept-Patch; the CORS middleware answers preflight requests

An offer for a camera that is starting waits for it, but not longer than ``wait`` seconds. A browser has six connections
for a host, and a page with more cameras needs them for those that are live.

Statuses follow the draft: 409 with Retry-After while the camera is not live, 503 when a limit is reached. A client that
accepts JSON besides SDP gets the reason for 406 as JSON instead of the counter-offer. ``Location`` is relative, and so
names the host that answered, also after a redirect (307).
"""

from collections.abc import Mapping
from email.utils import formatdate

from aiohttp import web

from gateway.clock import CLOCK_RATE
from gateway.errors import BadRequestError, NotLiveError
from gateway.webrtc.first_rendition import KEYFRAME_WAIT_S
from gateway.webrtc.ice.servers import IceServer
from gateway.webrtc.rendition_switch import TILE_MAX, RenditionRequest
from gateway.webrtc.sdp.offer import OFFER_MAX_BYTES
from gateway.webrtc.viewer import COUNTER_OFFER_S, Viewer
from web.api.accept import Accept
from web.api.describe import WAIT, Parameter, describe
from web.api.entity_tags import is_listed
from web.api.models import Error
from web.api.parameters import wait_s
from web.auth.counted_as import counted_as, is_limited
from web.auth.requests import grant_of
from web.auth.viewer_ownership import VIEWER_OWNERSHIP
from web.gateway import GATEWAY

routes = web.RouteTableDef()

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"

JSON = "application/json"


PIXELS = {"type": "integer", "minimum": 1, "maximum": TILE_MAX}

RENDITION = {
    "rendition": Parameter(
        "The stream of the camera: `auto` chooses and changes it", {"enum": ["auto", "main", "sub"]}
    ),
    "width": Parameter("At how many device pixels the video is shown, for `auto`", PIXELS),
    "height": Parameter("The same, for its height", PIXELS),
}


def rendition_request(query: Mapping[str, str]) -> RenditionRequest:
    """What a query asks for. Raises ``BadRequestError``."""
    return RenditionRequest.parse(query.get("rendition"), _pixels(query, "width"), _pixels(query, "height"))


def _pixels(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 5):
        raise BadRequestError(f"{name}: it is a number of device pixels")
    return int(text)


class _HttpError(web.HTTPException):
    """An HTTP status that has no class in :mod:`gateway.errors`."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        self.status_code = status
        body = Error(error=code, message=message).model_dump_json()
        super().__init__(text=body, headers=headers, content_type="application/json")


@routes.get("/whep/{camera}")
@describe("WebRTC", {200: None}, errors=(404,))
async def discover(request: web.Request) -> web.Response:
    """Whether this is a WHEP endpoint: the media type says so. Without content."""
    request.app[GATEWAY].service.camera(request.match_info["camera"])
    # aiohttp leaves the length out of an answer to HEAD, which has to have the fields of one to GET.
    headers = {"Content-Type": SDP, "Content-Length": "0", "Accept-Post": SDP, "Cache-Control": "no-store"}
    response = web.Response(headers=headers)
    _add_links(response, request.app[GATEWAY].webrtc.ice_server_offers())
    return response


@routes.options("/whep/{camera}")
@describe("WebRTC", {200: None})
async def preflight(request: web.Request) -> web.Response:
    """The media type to post, and the ICE servers for clients that gather candidates before they offer."""
    response = web.Response(headers={"Accept-Post": SDP, "Allow": "GET, HEAD, OPTIONS, POST"})
    _add_links(response, request.app[GATEWAY].webrtc.ice_server_offers())
    return response


@routes.post("/whep/{camera}")
@describe(
    "WebRTC",
    {201: SDP},
    query=RENDITION | {"wait": WAIT},
    body={SDP: None},
    errors=(400, 404, 406, 409, 415, 503),
)
async def join(request: web.Request) -> web.Response:
    """Join as a viewer: send an SDP offer, get the answer, or a counter-offer with 406."""
    _require_type(request, SDP, {"Accept-Post": SDP})
    accept = _accept(request)
    wanted = rendition_request(request.query)
    patience_s = wait_s(request, KEYFRAME_WAIT_S)
    offer = await _text(request)
    gateway = request.app[GATEWAY]
    camera = gateway.service.camera(request.match_info["camera"])
    address, grant = request.remote or "", grant_of(request)
    try:
        viewer = await gateway.webrtc.join(
            camera,
            offer,
            client_address=address,
            may_counter=not accept.names(JSON),
            counted_as=counted_as(grant, address),
            is_limited=is_limited(grant),
            request=wanted,
            wait_s=patience_s,
        )
    except NotLiveError as error:
        raise _HttpError(409, "not_live", str(error), {"Retry-After": str(error.retry_after_s)}) from None
    request.app[VIEWER_OWNERSHIP].assign(request, viewer)
    headers = {
        "Content-Type": SDP,
        "Location": f"/whep/{camera.id}/{viewer.id}",
        "ETag": f'"{viewer.etag}"',
        "Accept-Patch": FRAGMENT,
        "Cache-Control": "no-store",
    }
    if viewer.counter_offer_sdp:
        until = formatdate(gateway.clock.wall_90k() / CLOCK_RATE + COUNTER_OFFER_S, usegmt=True)
        headers |= {"Content-Type": f'{SDP}; valid-until="{until}"', "Accept-Patch": f"{SDP}, {FRAGMENT}"}
        response = web.Response(status=406, body=viewer.counter_offer_sdp.encode(), headers=headers)
    else:
        response = web.Response(status=201, body=viewer.answer_sdp.encode(), headers=headers)
    _add_links(response, gateway.webrtc.ice_server_offers())
    return response


@routes.get("/whep/{camera}/{viewer}")
@describe("WebRTC", {204: None}, errors=(404,))
async def check(request: web.Request) -> web.Response:
    """Whether the session exists. Without content."""
    _viewer(request)
    return web.Response(status=204)


@routes.options("/whep/{camera}/{viewer}")
@describe("WebRTC", {200: None})
async def preflight_viewer(_: web.Request) -> web.Response:
    """The methods and media types of a session."""
    return web.Response(headers={"Accept-Patch": FRAGMENT, "Allow": "DELETE, GET, HEAD, OPTIONS, PATCH"})


@routes.patch("/whep/{camera}/{viewer}")
@describe(
    "WebRTC",
    {200: FRAGMENT, 204: None},
    headers={"If-Match": Parameter('ETags of the ICE session, or "*"; not for the answer to a counter-offer')},
    body={FRAGMENT: None, SDP: None},
    errors=(400, 404, 406, 409, 412, 415, 428),
)
async def patch(request: web.Request) -> web.Response:
    """Add trickled candidates (204), or restart ICE (200 with the gateway's fragment); see RFC 9725 §4.3.

    With ``application/sdp``: answer a counter-offer (204).
    """
    viewer = _viewer(request)
    gateway = request.app[GATEWAY]
    if request.content_type == SDP and viewer.counter_offer_sdp:
        camera = gateway.service.camera(request.match_info["camera"])
        gateway.webrtc.answer(camera, viewer, await _text(request))
        return web.Response(status=204, headers={"ETag": f'"{viewer.etag}"'})
    _require_type(request, FRAGMENT, {"Accept-Patch": FRAGMENT})
    _require_match(request, viewer)
    answer = viewer.patch(await _text(request))
    if answer is None:
        return web.Response(status=204)
    return web.Response(body=answer.encode(), headers={"Content-Type": FRAGMENT, "ETag": f'"{viewer.etag}"'})


@routes.delete("/whep/{camera}/{viewer}")
@describe("WebRTC", {200: None}, errors=(404,))
async def leave(request: web.Request) -> web.Response:
    """End the session."""
    await _viewer(request).close("the client ended the session")
    return web.Response()


def _viewer(request: web.Request) -> Viewer:
    viewer = request.app[GATEWAY].webrtc.viewer(request.match_info["viewer"], request.match_info["camera"])
    request.app[VIEWER_OWNERSHIP].require(request, viewer)
    return viewer


def _require_type(request: web.Request, wanted: str, headers: dict[str, str]) -> None:
    if request.content_type != wanted:
        raise _HttpError(415, "unsupported_media_type", f"the body must be {wanted}", headers)


def _accept(request: web.Request) -> Accept:
    """The media types that the client accepts. Raises an error with 406 if SDP is none of them."""
    accept = Accept(request.headers.getall("Accept", []))
    if not accept.allows(SDP):
        raise _HttpError(406, "not_acceptable", f"the answer is {SDP}, which Accept does not allow")
    return accept


def _require_match(request: web.Request, viewer: Viewer) -> None:
    """Check the precondition (RFC 9110 §13.1.1). ``"*"`` in quotes is taken for ``*``, as RFC 9725 writes it."""
    fields = request.headers.getall("If-Match", [])
    if not fields:
        raise _HttpError(428, "precondition_required", 'send If-Match with the ETag of the ICE session, or "*"')
    is_any = ",".join(fields).strip() == '"*"'
    if not is_any and not is_listed(fields, viewer.etag, is_weak_allowed=False):
        raise _HttpError(412, "precondition_failed", "the ETag of the ICE session has changed")


async def _text(request: web.Request) -> str:
    if (request.content_length or 0) > OFFER_MAX_BYTES:
        raise BadRequestError(f"the body is longer than {OFFER_MAX_BYTES} bytes")
    body = await request.content.read(OFFER_MAX_BYTES + 1)
    while len(body) <= OFFER_MAX_BYTES and (more := await request.content.read(OFFER_MAX_BYTES + 1 - len(body))):
        body += more
    if len(body) > OFFER_MAX_BYTES:
        raise BadRequestError(f"the body is longer than {OFFER_MAX_BYTES} bytes")
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BadRequestError("the body is not UTF-8") from None


def _add_links(response: web.Response, servers: list[IceServer]) -> None:
    for server in servers:
        response.headers.add("Link", server.link())
