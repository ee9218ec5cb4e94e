"""Cors: which web pages of other origins may use the gateway.

Rules:

1. A page of another origin may not change anything and may not connect to Socket.IO. While authentication is off it may
   not fetch anything either: every page could otherwise read the cameras of a gateway on its user's machine.
2. Origins in ``CORS_ORIGINS`` may do what their user may. They get the CORS headers, which let a page read answers.
3. Public routes are open to every page. Everything below ``/static/`` also gets ``Access-Control-Allow-Origin: *``,
   because other sites load the player from there.
4. Pages of the other nodes of a cluster may do what their user may, and so may who sends an offer that another node
   signed, after a redirect from there: that node has judged the page. Its origin may be ``null`` by then (Fetch §4.4).
5. Programs that are not browsers send no origin. They are not restricted.
"""

from collections import Counter
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from gateway.errors import ForbiddenError
from web.auth import policy
from web.auth.origin import is_same_origin
from web.middleware.request_limits import SAFE_METHODS, SOCKET_IO
from web.settings import Settings

STATIC = "/static/"

PREFLIGHT_MAX_AGE_S = 600

PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Range,"
    " If-Unmodified-Since, Range",
    "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE_S),
}

EXPOSED_HEADERS = (
    "Location, ETag, Link, Allow, Accept-Post, Accept-Patch, Retry-After, Content-Length, Content-Range, Date, Age,"
    " X-Captured-At, X-Age-Seconds, WWW-Authenticate, Liveedge-Away"
)


class ForeignOriginError(ForbiddenError):
    """A page of another origin sent the request."""

    code = "forbidden_origin"


class Cors:
    """See the module. ``refused`` counts refused requests by reason."""

    def __init__(self, settings: Settings, refused: Counter[str]) -> None:
        self._refused = refused
        self.node_origins: Callable[[], Collection[str]] = tuple
        """Those of rule 4."""
        self.is_signed: Callable[[web.Request], bool] = lambda _: False
        """Whether another node has signed a request."""
        self.reload(settings)

    def reload(self, settings: Settings) -> None:
        """Allow other origins from now on."""
        self._has_auth = settings.has_auth
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.cors_origins)

    def preflight_answer(self, request: web.Request) -> web.Response | None:
        """The answer to a preflight request; ``None`` for all others. Raises :class:`ForeignOriginError`."""
        self._check(request)
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            return web.Response(status=204, headers=PREFLIGHT_HEADERS)
        return None

    async def on_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the CORS headers (rules 2 and 3)."""
        if request.path.startswith(STATIC):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
            return
        if self._origins or self.node_origins():
            add_vary(response, hdrs.ORIGIN)
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and (self._is_allowed(origin) or self.is_signed(request)):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED_HEADERS

    def _check(self, request: web.Request) -> None:
        headers = request.headers
        if request.path.startswith(STATIC):
            return
        origin = headers.get(hdrs.ORIGIN)
        if origin is None and headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
            # An <img> or <video> without CORS sends no Origin. Its Referer has the origin, unless the page hides it.
            origin = _origin_of(headers.get(hdrs.REFERER, "")) or "null"
        if origin is None or self._is_allowed(origin) or is_same_origin(origin, request.host):
            return
        if self.is_signed(request):
            return
        is_change = request.method not in SAFE_METHODS or request.path == SOCKET_IO
        # A link from another site is allowed. With authentication, the request needs a token or a signed URL anyway.
        is_link = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
        if is_change or (not self._has_auth and not is_link and not _is_public(request)):
            self._refused["origin"] += 1
            raise ForeignOriginError(
                f"pages of {origin[:100]!r} may not use this gateway; CORS_ORIGINS lists the origins that may"
            )

    def _is_allowed(self, origin: str) -> bool:
        return "*" in self._origins or origin.lower() in self._origins or origin.lower() in self.node_origins()


def add_vary(response: web.StreamResponse, name: str) -> None:
    """Add a name to the Vary header, once."""
    vary = response.headers.get(hdrs.VARY)
    if vary is None:
        response.headers[hdrs.VARY] = name
    elif name.lower() not in vary.lower():
        response.headers[hdrs.VARY] = f"{vary}, {name}"


def _origin_of(referer: str) -> str | None:
    try:
        parts = urlsplit(referer)
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else None


def _is_public(request: web.Request) -> bool:
    match = request.match_info
    rule = policy.rule_of(request.method, match) if match.http_exception is None else None
    return rule is not None and rule.is_public
