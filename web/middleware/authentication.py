"""Authentication of HTTP requests."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from web.auth.authenticator import AUTHENTICATOR
from web.auth.grant import ANONYMOUS
from web.auth.requests import credential_note, grant_of
from web.auth.revocation import CancelOnRevoke

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def authentication(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a request without a sufficient grant; cancel one whose grant is revoked meanwhile."""
    note = credential_note(request)
    note.lacks_credential = True
    try:
        await request.app[AUTHENTICATOR].authenticate_request(request)
        note.lacks_credential = grant_of(request) is ANONYMOUS
        with CancelOnRevoke(request):
            return await handler(request)
    finally:
        note.lacks_credential = False
