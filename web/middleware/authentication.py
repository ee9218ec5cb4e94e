"""Authentication of HTTP requests, and the question of a cache whether one would be answered.

A cache in front of the gateway asks for each of its clients whether they may have what it holds: it sends the client's
request with the header ``Authorize-Only``, whatever its value (nginx: ``auth_request``). The answer is 204, 401 or 403,
by all rules that the request itself is subject to, and nothing else happens.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.errors import UnauthorizedError
from web.auth.authenticator import AUTHENTICATOR
from web.auth.grant import ANONYMOUS
from web.auth.rate_limiter import TooManyError
from web.auth.requests import credential_note, grant_of
from web.auth.revocation import CancelOnRevoke

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

AUTHORIZE_ONLY = "Authorize-Only"


@web.middleware
async def authentication(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a request without a sufficient grant; cancel one whose grant is revoked meanwhile."""
    note = credential_note(request)
    note.lacks_credential = True
    try:
        await request.app[AUTHENTICATOR].authenticate_request(request)
        note.lacks_credential = grant_of(request) is ANONYMOUS
        if AUTHORIZE_ONLY in request.headers and request.match_info.http_exception is None:
            return web.Response(status=204)
        with CancelOnRevoke(request):
            return await handler(request)
    except TooManyError as error:
        if AUTHORIZE_ONLY in request.headers:
            # nginx knows no other refusals than 401 and 403.
            raise UnauthorizedError(str(error)) from None
        raise
    finally:
        note.lacks_credential = False
