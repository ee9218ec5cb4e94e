"""WHIP: a camera that is published over WebRTC (RFC 9725).

POST       /whip/{camera}               offer; 201 with the answer, Location, ETag and Link; ?rendition=main|sub
PATCH      /whip/{camera}/{publisher}   trickled candidates, an ICE restart (RFC 8840 fragments)
DELETE     /whip/{camera}/{publisher}   end the session
OPTIONS    on either                    Accept-Post and Accept-Patch; the CORS middleware answers preflight requests

GET, HEAD and PUT are refused with 405, as RFC 9725 §4.1 reserves them. A camera that is pulled answers 409, an offer
without video that can be taken 406. ``Location`` is relative, and so names the host that answered.
"""

from aiohttp import web

from gateway.access import Scope
from gateway.camera_settings import RenditionName
from gateway.errors import BadRequestError
from gateway.whip.publisher import WebRtcPublisher
from web.api.describe import Parameter, describe
from web.api.webrtc_http import FRAGMENT, SDP, accept, add_links, patched, require_type, session_headers, text
from web.auth.viewer_ownership import VIEWER_OWNERSHIP
from web.gateway import GATEWAY

routes = web.RouteTableDef()

RENDITION = {"rendition": Parameter("The stream of the camera that is published", {"enum": ["main", "sub"]})}


@routes.options("/whip/{camera}")
@describe("WebRTC", {200: None})
async def whip_preflight(request: web.Request) -> web.Response:
    """The media type to post, and the ICE servers for encoders that gather candidates before they offer."""
    response = web.Response(headers={"Accept-Post": SDP, "Allow": "OPTIONS, POST"})
    add_links(response, request.app[GATEWAY].webrtc.ice_server_offers())
    return response


@routes.post("/whip/{camera}")
@describe("WebRTC", {201: SDP}, query=RENDITION, body={SDP: None}, errors=(400, 404, 406, 409, 415, 503))
async def publish(request: web.Request) -> web.Response:
    """Publish a camera with `url = "whip:"`: send an SDP offer, get the answer.

    The newest publisher takes the place of the one before.
    """
    require_type(request, SDP, {"Accept-Post": SDP})
    accept(request)
    name = request.query.get("rendition", RenditionName.MAIN.value)
    if name not in list(RenditionName):
        raise BadRequestError("rendition: it is main or sub")
    gateway = request.app[GATEWAY]
    camera = gateway.service.camera(request.match_info["camera"])
    gateway.require_owned(camera.id)
    offer = await text(request)
    publisher = gateway.whip.publish(camera, offer, client_address=request.remote or "", name=RenditionName(name))
    request.app[VIEWER_OWNERSHIP].assign(request, publisher, Scope.PUBLISH)
    headers = session_headers(f"/whip/{camera.id}/{publisher.id}", publisher)
    response = web.Response(status=201, body=publisher.answer_sdp.encode(), headers=headers)
    add_links(response, gateway.webrtc.ice_server_offers())
    return response


@routes.options("/whip/{camera}/{publisher}")
@describe("WebRTC", {200: None})
async def whip_preflight_session(_: web.Request) -> web.Response:
    """The methods and media types of a session."""
    return web.Response(headers={"Accept-Patch": FRAGMENT, "Allow": "DELETE, OPTIONS, PATCH"})


@routes.patch("/whip/{camera}/{publisher}")
@describe(
    "WebRTC",
    {200: FRAGMENT, 204: None},
    headers={"If-Match": Parameter('ETags of the ICE session, or "*"')},
    body={FRAGMENT: None},
    errors=(400, 404, 412, 415, 428),
)
async def patch_publisher(request: web.Request) -> web.Response:
    """Add trickled candidates (204), or restart ICE (200 with the gateway's fragment); see RFC 9725 §4.3."""
    return await patched(request, _publisher(request))


@routes.delete("/whip/{camera}/{publisher}")
@describe("WebRTC", {200: None}, errors=(404,))
async def end_publisher(request: web.Request) -> web.Response:
    """End the session."""
    await _publisher(request).close("the client ended the session")
    return web.Response()


def _publisher(request: web.Request) -> WebRtcPublisher:
    publisher = request.app[GATEWAY].whip.publisher(request.match_info["publisher"], request.match_info["camera"])
    request.app[VIEWER_OWNERSHIP].require(request, publisher)
    return publisher
