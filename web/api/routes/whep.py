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

An offer whose audio is ``sendrecv`` may talk to the camera, with a token of scope ``talk``: the direction in the answer
says so. See :mod:`gateway.talk`.

An offer for a camera that is starting waits for it, but not longer than ``wait`` seconds. A browser has six connections
for a host, and a page with more cameras needs them for those that are live.

Statuses follow the draft: 409 with Retry-After while the camera is not live, 503 when a limit is reached. A client that
accepts JSON besides SDP gets the reason for 406 as JSON instead of the counter-offer. ``Location`` is relative, and so
names the host that answered, also after a redirect (307).
"""

from collections.abc import Mapping
from email.utils import formatdate

from aiohttp import web

from gateway.access import Scope
from gateway.clock import CLOCK_RATE
from gateway.errors import BadRequestError, NotLiveError
from gateway.talk.talker import sends_sound
from gateway.webrtc.first_rendition import KEYFRAME_WAIT_S
from gateway.webrtc.rendition_request import TILE_MAX, RenditionRequest
from gateway.webrtc.viewer import COUNTER_OFFER_S, Viewer
from web.api.describe import WAIT, Parameter, describe
from web.api.parameters import wait_s
from web.api.webrtc_http import (
    FRAGMENT,
    SDP,
    HttpError,
    accept,
    add_links,
    patched,
    require_type,
    session_headers,
    text,
)
from web.auth.counted_as import counted_as, is_limited
from web.auth.requests import grant_of
from web.auth.viewer_ownership import VIEWER_OWNERSHIP
from web.gateway import GATEWAY

routes = web.RouteTableDef()

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


def _not_live(error: NotLiveError) -> HttpError:
    return HttpError(409, "not_live", str(error), {"Retry-After": str(error.retry_after_s)})


@routes.get("/whep/{camera}")
@describe("WebRTC", {200: None}, errors=(404,))
async def discover(request: web.Request) -> web.Response:
    """Whether this is a WHEP endpoint: the media type says so. Without content."""
    request.app[GATEWAY].service.camera(request.match_info["camera"])
    # aiohttp leaves the length out of an answer to HEAD, which has to have the fields of one to GET.
    headers = {"Content-Type": SDP, "Content-Length": "0", "Accept-Post": SDP, "Cache-Control": "no-store"}
    response = web.Response(headers=headers)
    add_links(response, request.app[GATEWAY].webrtc.ice_server_offers())
    return response


@routes.options("/whep/{camera}")
@describe("WebRTC", {200: None})
async def preflight(request: web.Request) -> web.Response:
    """The media type to post, and the ICE servers for clients that gather candidates before they offer."""
    response = web.Response(headers={"Accept-Post": SDP, "Allow": "GET, HEAD, OPTIONS, POST"})
    add_links(response, request.app[GATEWAY].webrtc.ice_server_offers())
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
    require_type(request, SDP, {"Accept-Post": SDP})
    accepted = accept(request)
    wanted = rendition_request(request.query)
    patience_s = wait_s(request, KEYFRAME_WAIT_S)
    offer = await text(request)
    gateway = request.app[GATEWAY]
    camera = gateway.service.camera(request.match_info["camera"])
    address, grant = request.remote or "", grant_of(request)
    voice = None
    if grant.may(Scope.TALK, camera.id) and sends_sound(offer):
        voice = gateway.talk.viewer_permit(camera, grant.owner.strip())
    try:
        viewer = await gateway.webrtc.join(
            camera,
            offer,
            client_address=address,
            may_counter=not accepted.names(JSON),
            counted_as=counted_as(grant, address),
            is_limited=is_limited(grant),
            request=wanted,
            wait_s=patience_s,
            voice=voice,
        )
    except NotLiveError as error:
        raise _not_live(error) from None
    request.app[VIEWER_OWNERSHIP].assign(request, viewer)
    if viewer.voice is not None:
        request.app[VIEWER_OWNERSHIP].assign(request, viewer.voice, Scope.TALK)
    headers = session_headers(f"/whep/{camera.id}/{viewer.id}", viewer)
    if viewer.counter_offer is not None:
        until = formatdate(gateway.clock.wall_90k() / CLOCK_RATE + COUNTER_OFFER_S, usegmt=True)
        headers |= {"Content-Type": f'{SDP}; valid-until="{until}"', "Accept-Patch": f"{SDP}, {FRAGMENT}"}
        response = web.Response(status=406, body=viewer.counter_offer.sdp.encode(), headers=headers)
    else:
        response = web.Response(status=201, body=viewer.answer_sdp.encode(), headers=headers)
    add_links(response, gateway.webrtc.ice_server_offers())
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
    if request.content_type == SDP and viewer.counter_offer is not None:
        camera = gateway.service.camera(request.match_info["camera"])
        try:
            await gateway.webrtc.answer(camera, viewer, await text(request))
        except NotLiveError as error:
            raise _not_live(error) from None
        return web.Response(status=204, headers={"ETag": f'"{viewer.etag}"'})
    return await patched(request, viewer)


@routes.delete("/whep/{camera}/{viewer}")
@describe("WebRTC", {200: None}, errors=(404,))
async def leave(request: web.Request) -> web.Response:
    """End the session."""
    await _viewer(request).close("the client ended the session")
    return web.Response()


def _viewer(request: web.Request) -> Viewer:
    viewer = request.app[GATEWAY].webrtc.viewer(request.match_info["viewer"], request.match_info["camera"])
    request.app[VIEWER_OWNERSHIP].require(request, viewer)
    if viewer.voice is not None and grant_of(request).may(Scope.TALK, viewer.camera_id):
        request.app[VIEWER_OWNERSHIP].renew(request, viewer.voice)
    return viewer
