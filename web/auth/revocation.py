"""Cancel the answer to a request when the credential of the request is revoked.

An answer that has not started becomes 401 or 403. One that has started is cut off.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import hdrs, web

from gateway.errors import LiveedgeError
from web.auth.requests import RULE, SESSION

_IS_STARTED = web.RequestKey("response_is_started", bool)
"""Whether the status line may have been sent already."""


@contextlib.asynccontextmanager
async def cancel_on_revoke(request: web.Request) -> AsyncIterator[None]:
    """Cancel the body of the ``async with`` when the credential of a GET or HEAD request is revoked.

    Raises the reason, which becomes the answer. If the answer has started (:func:`note_response_started`), closes the
    connection and raises ``ConnectionResetError``.
    """
    rule = request.get(RULE)
    if rule is None or request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        yield
        return
    reason: LiveedgeError | None = None
    try:
        async with asyncio.timeout(None) as timeout:

            def revoke(error: LiveedgeError) -> None:
                nonlocal reason
                reason = error
                timeout.reschedule(asyncio.get_running_loop().time())

            unsubscribe = request[SESSION].on_revoke(
                revoke, require=lambda grant: rule.require(grant, request), is_download=rule.is_download
            )
            try:
                yield
            finally:
                unsubscribe()
    except TimeoutError:
        if reason is None:
            raise
        if not request.get(_IS_STARTED):
            raise reason from None
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the credential of this request was revoked") from None


async def note_response_started(request: web.Request, _: web.StreamResponse) -> None:
    """For ``on_response_prepare``: from now on the answer cannot be replaced by an error."""
    request[_IS_STARTED] = True
