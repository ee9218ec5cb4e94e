"""The cookies of sign-in. Browsers do not tell ports apart in cookies: the names do, for several gateways on a host."""

from typing import Literal

from aiohttp import hdrs, web

from web.auth.origin import is_same_origin

SAFE_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})


def session_cookie(request: web.Request) -> str:
    """The name of the cookie with the secret of a session. Only this host can set one with its prefix (RFC 6265bis)."""
    port = request.url.port or 0
    return f"__Host-liveedge-{port}" if request.secure else f"liveedge-{port}"


def attempt_cookie(request: web.Request) -> str:
    """The name of the cookie of a sign-in that is under way."""
    port = request.url.port or 0
    return f"__Secure-liveedge-sign-in-{port}" if request.secure else f"liveedge-sign-in-{port}"


def set_cookie(
    answer: web.Response,
    request: web.Request,
    name: str,
    value: str,
    path: str,
    max_age_s: int,
    same_site: Literal["Lax", "Strict"],
) -> None:
    """Scripts cannot read it; over TLS it is never sent without TLS."""
    answer.set_cookie(
        name, value, path=path, max_age=max_age_s, httponly=True, secure=request.secure, samesite=same_site
    )


def remove_cookie(answer: web.Response, request: web.Request, name: str, path: str) -> None:
    """The browser forgets it."""
    answer.del_cookie(name, path=path, httponly=True, secure=request.secure)


def session_secret(request: web.Request) -> str | None:
    """The secret in a request's cookie, where it may be used; ``None`` otherwise.

    Against requests that another page makes the browser send (CSRF), beside ``SameSite=Strict``: the request comes from
    the gateway's own pages, as the browser says in Sec-Fetch-Site and Origin; what changes something has to have one of
    the two. Other ports and names of the same site are other pages.
    """
    secret = request.cookies.get(session_cookie(request))
    if secret is None:
        return None
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get(hdrs.ORIGIN)
    is_own = site in (None, "same-origin", "none") and (origin is None or is_same_origin(origin, request.host))
    is_proven = site == "same-origin" or origin is not None
    return secret if is_own and (is_proven or request.method in SAFE_METHODS) else None
