"""SecurityHeaders: the headers of every answer that restrict what a browser, or a shared cache, does with it."""

from collections.abc import Callable, Collection

from aiohttp import hdrs, web

from web.middleware.cors import STATIC, add_vary
from web.settings import Settings

CONNECT = "connect-src 'self'"

PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        CONNECT,
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'self'",
    )
)
"""Content-Security-Policy of the page: nothing from other origins, nothing inline.

Media Source, workers and canvas pictures have ``blob:`` URLs.
"""

HEADERS = {
    "Server": "liveedge",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "frame-ancestors 'self'",
}

PAGE_HEADERS = HEADERS | {
    "Content-Security-Policy": PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
}


class SecurityHeaders:
    """See the module."""

    def __init__(self, settings: Settings) -> None:
        self.node_origins: Callable[[], Collection[str]] = tuple
        """To which the page is redirected: those of the other nodes of a cluster."""
        self.reload(settings)

    def reload(self, settings: Settings) -> None:
        """Apply other settings from now on."""
        self._has_auth = settings.has_auth
        self._has_cookies = settings.oidc_issuer is not None
        # With authentication, a client that knows a signed URL may show it on any page.
        self._is_shared = settings.has_auth or bool(settings.cors_origins)

    async def on_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the headers: no sniffing, no framing by other sites, and no URL (it may be signed) in a Referer."""
        headers = response.headers
        is_static = request.path.startswith(STATIC)
        is_page = headers.get(hdrs.CONTENT_TYPE, "").startswith("text/html")
        headers.update(PAGE_HEADERS if is_page else HEADERS)
        if is_page and (origins := " ".join(sorted(self.node_origins()))):
            headers["Content-Security-Policy"] = PAGE_POLICY.replace(CONNECT, f"{CONNECT} {origins}")
        headers["Cross-Origin-Resource-Policy"] = "cross-origin" if is_static or self._is_shared else "same-origin"
        if self._has_auth and not is_static:
            # A shared cache would give the answer to the next client, whatever its token (RFC 9111 §3.5).
            caching = headers.get(hdrs.CACHE_CONTROL)
            if caching is not None:
                headers[hdrs.CACHE_CONTROL] = caching.replace("public", "private")
            add_vary(response, hdrs.AUTHORIZATION)
            if self._has_cookies:
                add_vary(response, hdrs.COOKIE)
