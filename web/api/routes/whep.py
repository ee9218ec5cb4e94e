"""WHEP: WebRTC over HTTP (draft-ietf-wish-whep, with the rules of RFC 9725 for the session's resource).

POST    /whep/{camera}            offer; 201 with the answer, Location, ETag and Link
PATCH   /whep/{camera}/{viewer}   trickled candidates or an ICE restart (RFC 8840 fragments)
DELETE  /whep/{camera}/{viewer}   end the session
OPTIONS on either                 Accept-Post and Accept-Patch; the CORS middleware answers preflight requests
"""

import re

from aiohttp import web

from gateway.errors import BadRequestError
from gateway.webrtc.ice.servers import IceServer
from gateway.webrtc.sdp.offer import OFFER_MAX_BYTES
from gateway.webrtc.viewer import Viewer
from web.api.describe import Parameter, describe
from web.api.models import Error
from web.auth.counted_as import counted_as, is_limited
from web.auth.requests import grant_of
from web.auth.viewer_ownership import VIEWER_OWNERSHIP
from web.gateway import GATEWAY

routes = web.RouteTableDef()

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"

_ETAG = re.compile(r'\s*(?:W/)?"([^"]*)"\s*')


class _HttpError(web.HTTPException):
    """An HTTP status that has no class in :mod:`gateway.errors`."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        self.status_code = status
        body = Error(error=code, message=message).model_dump_json()
        super().__init__(text=body, headers=headers, content_type="application/json")


@routes.options("/whep/{camera}")
@describe("WebRTC", {204: None})
async def preflight(request: web.Request) -> web.Response:
    """The media type to post, and the ICE servers for clients that gather candidates before they offer."""
    response = web.Response(status=204, headers={"Accept-Post": SDP, "Allow": "OPTIONS, POST"})
    _add_links(response, request.app[GATEWAY].webrtc.ice_server_offers())
    return response


@routes.post("/whep/{camera}")
@describe("WebRTC", {201: SDP}, body={SDP: None}, errors=(400, 404, 406, 415, 503))
async def join(request: web.Request) -> web.Response:
    """Join as a viewer: send an SDP offer, get the answer."""
    _require_type(request, SDP, {"Accept-Post": SDP})
    _require_accepted(request)
    offer = await _text(request)
    camera = request.app[GATEWAY].service.camera(request.match_info["camera"])
    address, grant = request.remote or "", grant_of(request)
    viewer = await request.app[GATEWAY].webrtc.join(
        camera,
        offer,
        client_address=address,
        counted_as=counted_as(grant, address),
        is_limited=is_limited(grant),
    )
    request.app[VIEWER_OWNERSHIP].assign(request, viewer)
    response = web.Response(
        status=201,
        text=viewer.answer_sdp,
        content_type=SDP,
        headers={
            "Location": f"/whep/{camera.id}/{viewer.id}",
            "ETag": f'"{viewer.etag}"',
            "Accept-Patch": FRAGMENT,
            "Cache-Control": "no-store",
        },
    )
    _add_links(response, request.app[GATEWAY].webrtc.ice_server_offers())
    return response


@routes.options("/whep/{camera}/{viewer}")
@describe("WebRTC", {204: None})
async def preflight_viewer(_: web.Request) -> web.Response:
    """The methods and media types of a session."""
    return web.Response(status=204, headers={"Accept-Patch": FRAGMENT, "Allow": "OPTIONS, PATCH, DELETE"})


@routes.patch("/whep/{camera}/{viewer}")
@describe(
    "WebRTC",
    {200: FRAGMENT, 204: None},
    headers={"If-Match": Parameter('The ETag of the ICE session, or "*"', required=True)},
    body={FRAGMENT: None},
    errors=(400, 404, 412, 415, 428),
)
async def patch(request: web.Request) -> web.Response:
    """Add trickled candidates (204), or restart ICE (200 with the gateway's fragment); see RFC 9725 §4.3."""
    _require_type(request, FRAGMENT, {"Accept-Patch": FRAGMENT})
    viewer = _viewer(request)
    fragment = await _text(request)
    condition = request.headers.get("If-Match")
    if condition is None:
        raise _HttpError(428, "precondition_required", 'send If-Match with the ETag of the ICE session, or "*"')
    if condition.strip() not in ("*", '"*"'):
        match = _ETAG.fullmatch(condition)
        if match is None or match[1] != viewer.etag:
            raise _HttpError(412, "precondition_failed", "the ETag of the ICE session has changed")
    answer = viewer.patch(fragment)
    if answer is None:
        return web.Response(status=204)
    return web.Response(text=answer, content_type=FRAGMENT, headers={"ETag": f'"{viewer.etag}"'})


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


def _require_accepted(request: web.Request) -> None:
    accepted = request.headers.get("Accept")
    if accepted is None:
        return
    types = {part.split(";")[0].strip().lower() for part in accepted.split(",")}
    if not types & {SDP, "application/*", "*/*", ""}:
        raise _HttpError(406, "not_acceptable", f"the answer is {SDP}, which Accept does not allow")


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
