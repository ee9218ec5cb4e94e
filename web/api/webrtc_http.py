"""What WHEP and WHIP have in common over HTTP: media types, preconditions, and Link headers (RFC 9725 §4)."""

from typing import Protocol

from aiohttp import web

from gateway.errors import BadRequestError
from gateway.webrtc.ice.servers import IceServer
from gateway.webrtc.sdp.offer import OFFER_MAX_BYTES
from web.api.accept import Accept
from web.api.entity_tags import is_listed
from web.api.models import Error

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"


class IceSession(Protocol):
    """A session with one ICE session: of a viewer, a publisher or a talker."""

    @property
    def etag(self) -> str:
        """Its tag, without quotes."""
        ...

    def patch(self, fragment: str) -> str | None:
        """Handle an SDP fragment; our own fragment after an ICE restart. Raises ``BadRequestError``."""
        ...


class HttpError(web.HTTPException):
    """An HTTP status that has no class in :mod:`gateway.errors`."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        self.status_code = status
        body = Error(error=code, message=message).model_dump_json()
        super().__init__(text=body, headers=headers, content_type="application/json")


def require_type(request: web.Request, wanted: str, headers: dict[str, str]) -> None:
    """Raises an error with 415 for a body of another media type."""
    if request.content_type != wanted:
        raise HttpError(415, "unsupported_media_type", f"the body must be {wanted}", headers)


def accept(request: web.Request) -> Accept:
    """The media types that the client accepts. Raises an error with 406 if SDP is none of them."""
    accept = Accept(request.headers.getall("Accept", []))
    if not accept.allows(SDP):
        raise HttpError(406, "not_acceptable", f"the answer is {SDP}, which Accept does not allow")
    return accept


def require_match(request: web.Request, etag: str) -> None:
    """Check the precondition (RFC 9110 §13.1.1). ``"*"`` in quotes is taken for ``*``, as RFC 9725 writes it."""
    fields = request.headers.getall("If-Match", [])
    if not fields:
        raise HttpError(428, "precondition_required", 'send If-Match with the ETag of the ICE session, or "*"')
    is_any = ",".join(fields).strip() == '"*"'
    if not is_any and not is_listed(fields, etag, is_weak_allowed=False):
        raise HttpError(412, "precondition_failed", "the ETag of the ICE session has changed")


async def text(request: web.Request) -> str:
    """The body. Raises ``BadRequestError`` for one that is too long or no text."""
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


def add_links(response: web.Response, servers: list[IceServer]) -> None:
    """Name the ICE servers (RFC 9725 §4.6)."""
    for server in servers:
        response.headers.add("Link", server.link())


def session_headers(location: str, session: IceSession) -> dict[str, str]:
    """Of the answer that has made a session (RFC 9725 §4.2)."""
    return {
        "Content-Type": SDP,
        "Location": location,
        "ETag": f'"{session.etag}"',
        "Accept-Patch": FRAGMENT,
        "Cache-Control": "no-store",
    }


async def patched(request: web.Request, session: IceSession) -> web.Response:
    """Add trickled candidates (204), or restart ICE (200 with our fragment); RFC 9725 §4.3.

    Raises errors with 412, 415 and 428, and ``BadRequestError``.
    """
    require_type(request, FRAGMENT, {"Accept-Patch": FRAGMENT})
    require_match(request, session.etag)
    answer = session.patch(await text(request))
    if answer is None:
        return web.Response(status=204)
    return web.Response(body=answer.encode(), headers={"Content-Type": FRAGMENT, "ETag": f'"{session.etag}"'})
