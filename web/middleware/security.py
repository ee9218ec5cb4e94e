"""The security of the gateway: what is looked at before anybody asks who somebody is, and what every answer says.

Rules, in this order:

1. A proxy named in ``TRUSTED_PROXIES`` is believed who it forwards for, by which scheme and which host; nobody else is.
2. One address has at most ``CONNECTIONS_PER_ADDRESS`` requests open at a time, the endless ones among them. What
   changes something is not endless, however slowly its body comes.
3. While auth is off, the gateway answers only under names that no stranger can point at it: addresses, names without a
   dot, and those of ``ALLOWED_HOSTS``. Otherwise a web page could make its own name lead here (DNS rebinding) and read
   every camera as its own.
4. Another site's page may not use the gateway: not to change anything, not to connect to Socket.IO, and while auth is
   off not to fetch pictures either, unless its origin is in ``CORS_ORIGINS``. Programs that are no browsers say nothing
   of an origin, and are not concerned. What is open to everybody (``/static/``) is open to every page.
5. Answers say the same to the browser: CORS for those origins alone, a strict policy for the page, no sniffing, no
   framing by others, and no address (it may be signed) in a Referer.
"""

import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from gateway.errors import ForbiddenError
from web.auth import policy
from web.auth.client_network import client_network
from web.auth.rate_limiter import TooManyError
from web.settings import Settings

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SAFE_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})

SOCKET_IO = "/socket.io/"

CHANGE_S = 30.0
"""A request that changes something takes so long at most, its body included: three times what a camera may take."""

PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'self'",
    )
)
"""Nothing from elsewhere, nothing inline. ``blob:`` is what Media Source, workers and drawn pictures are."""

PUBLIC_PREFIX = "/static/"
"""Other people's pages load the player from here."""

PREFLIGHT_S = 600

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match, If-None-Match, Range",
    "Access-Control-Max-Age": str(PREFLIGHT_S),
}

EXPOSED = (
    "Location, ETag, Link, Accept-Post, Accept-Patch, Retry-After, Content-Length, Content-Range, Date, Age,"
    " X-Captured-At, X-Age-Seconds, WWW-Authenticate"
)


class ForeignOriginError(ForbiddenError):
    """A page of another site."""

    code = "forbidden_origin"


class UnknownHostError(ForbiddenError):
    """A name that a stranger may have pointed here."""

    code = "forbidden_host"


class SecurityMiddleware:
    """See the module."""

    def __init__(self, settings: Settings, *, change_s: float = CHANGE_S) -> None:
        self._change_s = change_s
        self._open: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """By reason."""
        self.reload(settings)

    def reload(self, settings: Settings) -> None:
        """Let other origins, hosts, proxies and limits be in force from now on."""
        self._settings = settings
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.cors_origins)
        self._hosts = frozenset(host.lower() for host in (*settings.allowed_hosts, settings.host))

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Rules 1 to 4."""
        request = self._forwarded(request)
        address = client_network(request.remote or "")
        if self._open[address] >= self._settings.connections_per_address:
            self.refused["connections"] += 1
            raise TooManyError(
                f"{self._settings.connections_per_address} requests of {address} are open already;"
                " CONNECTIONS_PER_ADDRESS allows no more",
                retry_after_s=2,
            )
        self._open[address] += 1
        bound: asyncio.Timeout | None = None
        try:
            self._check_host(request)
            self._check_origin(request)
            if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
                return web.Response(status=204, headers=PREFLIGHT)
            if request.method in SAFE_METHODS or request.path == SOCKET_IO:
                return await handler(request)
            async with asyncio.timeout(self._change_s) as bound:
                return await handler(request)
        except TimeoutError:
            if bound is None or not bound.expired():
                raise
            raise web.HTTPRequestTimeout from None
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    async def on_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Rule 5."""
        headers = response.headers
        headers["Server"] = "liveedge"
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        is_page = response.content_type == "text/html"
        headers["Content-Security-Policy"] = PAGE_POLICY if is_page else "frame-ancestors 'self'"
        if is_page:
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
            headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=()"
        is_public = request.path.startswith(PUBLIC_PREFIX)
        # With auth on, knowing a signed address is the right to see what it shows, whatever page it is on.
        is_shared = is_public or self._settings.has_auth or bool(self._origins)
        headers["Cross-Origin-Resource-Policy"] = "cross-origin" if is_shared else "same-origin"
        if is_public:
            headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
            return
        origin = request.headers.get(hdrs.ORIGIN)
        if self._origins:
            _vary(response, hdrs.ORIGIN)
        if origin is not None and self._is_listed(origin):
            headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED
        if self._settings.has_auth:
            # A shared cache would give it to whoever comes next (RFC 9111 §3.5).
            caching = headers.get(hdrs.CACHE_CONTROL)
            if caching is not None:
                headers[hdrs.CACHE_CONTROL] = caching.replace("public", "private")
            _vary(response, hdrs.AUTHORIZATION)

    def _forwarded(self, request: web.Request) -> web.Request:
        proxies = self._settings.trusted_proxies
        if not proxies or not is_in(request.remote, proxies):
            return request
        hops = [hop.strip() for value in request.headers.getall("X-Forwarded-For", []) for hop in value.split(",")]
        # The last one that is no proxy of ours: what stands before it, anybody can have written.
        client = next((hop for hop in reversed(hops) if not is_in(hop, proxies)), None)
        changes: dict[str, Any] = {}
        if client is not None and _address(client) is not None:
            changes["remote"] = client
        if (host := request.headers.get("X-Forwarded-Host", "").rpartition(",")[2].strip()) != "":
            changes["host"] = host
        if (scheme := request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip()) in ("http", "https"):
            changes["scheme"] = scheme
        return request.clone(**changes) if changes else request

    def _check_host(self, request: web.Request) -> None:
        if self._settings.has_auth:
            return
        name = host_name(request.host)
        if not (_is_unambiguous(name) or name in self._hosts):
            self.refused["host"] += 1
            raise UnknownHostError(
                f"the gateway is not known as {name[:100]!r}: while auth is off, names that it is called by have to be"
                " in ALLOWED_HOSTS"
            )

    def _check_origin(self, request: web.Request) -> None:
        headers = request.headers
        if request.path.startswith(PUBLIC_PREFIX):
            return
        origin = headers.get(hdrs.ORIGIN)
        if origin is None and headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
            # What a page shows without CORS (<img>, <video>) names its origin only here, and not even that must it.
            origin = _origin_of(headers.get(hdrs.REFERER, "")) or "null"
        if origin is None or self._is_listed(origin) or _is_same(origin, request.host):
            return
        is_change = request.method not in SAFE_METHODS or request.path == SOCKET_IO
        # A link may lead here. With auth on, whoever fetches has a token or a signed address, or gets nothing.
        is_link = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
        if is_change or (not self._settings.has_auth and not is_link and not _is_open(request)):
            self.refused["origin"] += 1
            raise ForeignOriginError(
                f"pages of {origin[:100]!r} may not use this gateway; CORS_ORIGINS lists the origins that may"
            )

    def _is_listed(self, origin: str) -> bool:
        return "*" in self._origins or origin.lower() in self._origins


def host_name(host: str) -> str:
    """The name in a Host header, without its port; empty where that is none."""
    if "@" in host:
        return ""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_unambiguous(name: str) -> bool:
    """A name that only its owner can point somewhere: an address, or one that is not in the public DNS."""
    return _address(name) is not None or (name != "" and "." not in name) or name.endswith((".localhost", ".local"))


def _is_same(origin: str, host: str) -> bool:
    # The scheme is the proxy's affair: it may end TLS.
    try:
        parts = urlsplit(origin)
        default = {"http": 80, "https": 443}.get(parts.scheme)
        own = urlsplit(f"//{host}")
        return (
            default is not None
            and parts.hostname == own.hostname
            and (parts.port or default) in (own.port, default if own.port is None else own.port)
        )
    except ValueError:
        return False


def _origin_of(referer: str) -> str | None:
    try:
        parts = urlsplit(referer)
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else None


def _is_open(request: web.Request) -> bool:
    match = request.match_info
    rule = policy.rule_of(request.method, match) if match.http_exception is None else None
    return rule is not None and rule.is_public


def _address(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address((text or "").strip("[]").partition("%")[0])
    except ValueError:
        return None


def is_in(text: str | None, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    """Whether an address, as text, is in one of the networks."""
    address = _address(text)
    return address is not None and any(address in network for network in networks)


def _vary(response: web.StreamResponse, name: str) -> None:
    vary = response.headers.get(hdrs.VARY)
    if vary is None:
        response.headers[hdrs.VARY] = name
    elif name.lower() not in vary.lower():
        response.headers[hdrs.VARY] = f"{vary}, {name}"
