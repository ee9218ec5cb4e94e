"""Talk-back: a microphone to the camera's loudspeaker, over WebRTC. The offer and the answer are those of WHIP.

GET, HEAD  /talk/{camera}            how the camera is talked to, and who talks
POST       /talk/{camera}            offer with audio that is sent; 201 with the answer, Location, ETag and Link
GET, HEAD  /talk/{camera}/{talker}   204: it may talk; 404 with the reason when it has ended
PATCH      /talk/{camera}/{talker}   trickled candidates, an ICE restart (RFC 8840 fragments)
DELETE     /talk/{camera}/{talker}   give the floor back
OPTIONS    on either                 Accept-Post and Accept-Patch; the CORS middleware answers preflight requests

The POST takes the floor, and its answer comes when the camera is ready. So a refusal is an answer to it: 409
``talk_busy`` while somebody else talks, 409 ``no_back_channel`` where there is no loudspeaker, 406 for an offer without
sound that can be taken, 503 where the camera cannot be reached.
"""

from aiohttp import web

from gateway.access import Scope
from gateway.clock import to_rfc3339
from gateway.errors import LiveedgeError
from gateway.talk.errors import TalkBusyError
from gateway.talk.talker import WebRtcTalker
from web.api import models
from web.api.answer import json_answer
from web.api.describe import Parameter, describe
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
from web.auth.requests import grant_of
from web.auth.viewer_ownership import VIEWER_OWNERSHIP
from web.gateway import GATEWAY

routes = web.RouteTableDef()

RETRY_AFTER_S = 2


@routes.get("/talk/{camera}")
@describe("WebRTC", {200: models.Talk}, errors=(404, 409, 503))
async def get_talk(request: web.Request) -> web.Response:
    """Get how a camera is talked to, and who talks. A camera without a back channel: 409 `no_back_channel`."""
    camera = request.app[GATEWAY].service.camera(request.match_info["camera"])
    talk = request.app[GATEWAY].talk.of(camera)
    formats = await talk.formats()
    turn = talk.turn
    choice = turn.choice if turn is not None else None
    answer = models.Talk(
        codec=choice.format.name if choice is not None else formats[0].name,
        talker=turn.who if turn is not None else None,
        since=to_rfc3339(turn.began_90k) if turn is not None else None,
        max_seconds=camera.settings.talk_max,
    )
    return json_answer(answer)


@routes.options("/talk/{camera}")
@describe("WebRTC", {200: None})
async def talk_preflight(request: web.Request) -> web.Response:
    """Whether a camera can be talked to: then `Allow` has `POST`. A camera that is not known to is asked.

    Also the media type to post, and the ICE servers for clients that gather candidates before they offer.
    """
    gateway = request.app[GATEWAY]
    try:
        await gateway.talk.of(gateway.service.camera(request.match_info["camera"])).formats()
        allow = "GET, HEAD, OPTIONS, POST"
    except LiveedgeError:  # GET has the reason
        allow = "GET, HEAD, OPTIONS"
    response = web.Response(headers={"Accept-Post": SDP, "Allow": allow})
    add_links(response, gateway.webrtc.ice_server_offers())
    return response


@routes.post("/talk/{camera}")
@describe("WebRTC", {201: SDP}, body={SDP: None}, errors=(400, 404, 406, 409, 415, 503))
async def talk(request: web.Request) -> web.Response:
    """Talk to a camera: send an SDP offer, get the answer, and the floor.

    One talks at a time: 409 `talk_busy` with Retry-After while somebody else does. 409 `no_back_channel`: the camera
    has no loudspeaker that can be reached.
    """
    require_type(request, SDP, {"Accept-Post": SDP})
    accept(request)
    gateway = request.app[GATEWAY]
    camera = gateway.service.camera(request.match_info["camera"])
    gateway.require_owned(camera.id)
    offer = await text(request)
    try:
        talker = await gateway.talk.join(camera, offer, who=grant_of(request).owner.strip())
    except TalkBusyError as error:
        raise HttpError(409, error.code, str(error), {"Retry-After": str(RETRY_AFTER_S)}) from None
    request.app[VIEWER_OWNERSHIP].assign(request, talker, Scope.TALK)
    headers = session_headers(f"/talk/{camera.id}/{talker.id}", talker)
    response = web.Response(status=201, body=talker.answer_sdp.encode(), headers=headers)
    add_links(response, gateway.webrtc.ice_server_offers())
    return response


@routes.options("/talk/{camera}/{talker}")
@describe("WebRTC", {200: None})
async def talk_preflight_session(_: web.Request) -> web.Response:
    """The methods and media types of a session."""
    return web.Response(headers={"Accept-Patch": FRAGMENT, "Allow": "DELETE, GET, HEAD, OPTIONS, PATCH"})


@routes.get("/talk/{camera}/{talker}")
@describe("WebRTC", {204: None}, errors=(404,))
async def check_talker(request: web.Request) -> web.Response:
    """Whether the session still has the floor; 404 says why it has ended. Without content."""
    _talker(request)
    return web.Response(status=204)


@routes.patch("/talk/{camera}/{talker}")
@describe(
    "WebRTC",
    {200: FRAGMENT, 204: None},
    headers={"If-Match": Parameter('ETags of the ICE session, or "*"')},
    body={FRAGMENT: None},
    errors=(400, 404, 412, 415, 428),
)
async def patch_talker(request: web.Request) -> web.Response:
    """Add trickled candidates (204), or restart ICE (200 with the gateway's fragment); see RFC 9725 §4.3."""
    return await patched(request, _talker(request))


@routes.delete("/talk/{camera}/{talker}")
@describe("WebRTC", {200: None}, errors=(404,))
async def end_talker(request: web.Request) -> web.Response:
    """Give the floor back."""
    await _talker(request).close("the client ended the session")
    return web.Response()


def _talker(request: web.Request) -> WebRtcTalker:
    talker = request.app[GATEWAY].talk.talker(request.match_info["talker"], request.match_info["camera"])
    request.app[VIEWER_OWNERSHIP].require(request, talker)
    return talker
