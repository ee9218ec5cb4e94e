"""Authorize-Only: the question of a cache whether a request would be answered.

A cache in front of the gateway asks for each of its clients whether they may have what it holds: it sends the client's
request with the header ``Authorize-Only``, whatever its value (nginx: ``auth_request``). The answer is 204, 401 or 403,
by all rules that the request itself is subject to, and nothing else happens.
"""

from aiohttp import web

from gateway.errors import UnauthorizedError
from web.auth.rate_limiter import TooManyError

AUTHORIZE_ONLY = "Authorize-Only"


def cache_answer(request: web.Request) -> web.Response | None:
    """The answer to the question of a cache, whose request has a sufficient grant; ``None`` for all other requests."""
    if AUTHORIZE_ONLY in request.headers and request.match_info.http_exception is None:
        return web.Response(status=204)
    return None


def cache_refusal(request: web.Request, error: Exception) -> Exception:
    """``error`` as a cache understands it: nginx knows no other refusals than 401 and 403."""
    if isinstance(error, TooManyError) and AUTHORIZE_ONLY in request.headers:
        return UnauthorizedError(str(error))
    return error
