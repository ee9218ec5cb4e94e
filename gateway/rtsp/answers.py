"""What RTSP responses say (RFC 2326 §12), and what requests of a server are answered."""

import re
from collections.abc import Sequence
from typing import NoReturn

from gateway.rtsp.errors import RtspProtocolError, RtspStatusError
from gateway.rtsp.messages import Headers, Request, Response
from gateway.rtsp.redirect import RedirectError, redirect_location
from gateway.rtsp.sdp import SessionDescription, content_base, parse_sdp

REDIRECTS = frozenset({301, 302, 303, 305, 307, 308})
"""Statuses whose Location is where the stream is."""


def check(method: str, response: Response, uri: str) -> None:
    """Let a success pass. Raises as :func:`redirect`."""
    if response.status in REDIRECTS:
        redirect(method, response, uri)
    if response.status >= 300 or response.status < 200:
        raise status_error(method, response)


def redirect(method: str, response: Response, uri: str) -> NoReturn:
    """Raises :class:`~gateway.rtsp.redirect.RedirectError` for a redirect of ``uri``.

    Where it leads nowhere, it is an :class:`~gateway.rtsp.errors.RtspStatusError`.
    """
    location = redirect_location(uri, response.headers.get("Location"))
    raise status_error(method, response) if location is None else RedirectError(location)


def status_error(method: str, response: Response) -> RtspStatusError:
    """The error for a refusal of a request of this method, with its ``Retry-After``."""
    after = response.headers.get("Retry-After") or ""
    return RtspStatusError(
        method, response.status, response.reason, float(after) if re.fullmatch(r"[0-9]{1,6}", after) else None
    )


def words(values: Sequence[str]) -> frozenset[str]:
    """The words between commas of a header, in upper case."""
    return frozenset(word.strip().upper() for value in values for word in value.split(",") if word.strip())


def session_header(response: Response) -> tuple[str | None, float | None]:
    """Identifier and time-out in seconds of the Session header (§12.37), where it has them."""
    identifier, *parameters = [part.strip() for part in (response.headers.get("Session") or "").split(";")]
    timeout_s = None
    for parameter in parameters:
        found = re.fullmatch(r"(?i)timeout\s*=\s*([0-9]{1,9})", parameter)
        if found and int(found[1]) > 0:
            timeout_s = float(found[1])
    return identifier or None, timeout_s


def description_of(response: Response, uri: str) -> SessionDescription:
    """The description in a response to DESCRIBE of ``uri``, under whatever name.

    Raises :class:`~gateway.rtsp.errors.RtspProtocolError`.
    """
    kind = (response.headers.get("Content-Type") or "application/sdp").partition(";")[0].strip().lower()
    if kind not in ("", "application/sdp") and not response.body.lstrip().startswith(b"v=0"):
        raise RtspProtocolError(f"a description that is no SDP: {kind[:60]}")
    base = content_base(uri, response.headers.get("Content-Base"), response.headers.get("Content-Location"))
    return parse_sdp(response.body, base)


def answer_to(request: Request) -> Response:
    """The answer to a request of the server: it wants to know that we are there, or tells us something."""
    headers = Headers([("CSeq", request.headers.get("CSeq") or "0")])
    if request.method in ("OPTIONS", "GET_PARAMETER", "SET_PARAMETER", "TEARDOWN", "REDIRECT"):
        return Response(200, "OK", headers)
    return Response(501, "Not Implemented", headers)
