"""Cancel the answer to a request when the credential of the request is revoked.

An answer that has not started becomes 401 or 403. One that has started is cut off.
"""

import asyncio
from types import TracebackType

from aiohttp import hdrs, web

from gateway.errors import LiveedgeError
from web.auth.grant import Grant
from web.auth.policy import Rule
from web.auth.requests import RULE, SESSION
from web.auth.sessions import AuthSession

_IS_STARTED = web.RequestKey("response_is_started", bool)
"""Whether the status line may have been sent already."""


class CancelOnRevoke:
    """Cancels the body of the ``with`` when the credential of a GET or HEAD request is revoked.

    Raises the reason, which becomes the answer. If the answer has started (:func:`note_response_started`), closes the
    connection and raises ``ConnectionResetError``. It is made like :class:`asyncio.Timeout`, but without its coroutines
    and without a timer: it is around every request.
    """

    __slots__ = ("_cancelling", "_reason", "_request", "_rule", "_session", "_task")

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._reason: LiveedgeError | None = None
        self._session: AuthSession | None = None

    def __enter__(self) -> None:
        request = self._request
        rule = request.get(RULE)
        if rule is None or request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
            return
        task = asyncio.current_task()
        assert task is not None
        self._rule: Rule = rule
        self._task: asyncio.Task[object] = task
        self._cancelling = task.cancelling()
        self._session = request[SESSION]
        self._session.subscribe(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is None:
            return
        self._session.unsubscribe(self)
        if self._reason is None:
            return
        is_cancelled_twice = self._task.uncancel() > self._cancelling
        if is_cancelled_twice or kind is not asyncio.CancelledError:
            return
        request = self._request
        if not request.get(_IS_STARTED):
            raise self._reason from None
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the credential of this request was revoked") from None

    # --- as web.auth.sessions.Subscription

    @property
    def is_download(self) -> bool:
        return self._rule.is_download

    def require(self, grant: Grant) -> None:
        self._rule.require(grant, self._request)

    def callback(self, error: LiveedgeError) -> None:
        self._reason = error
        self._task.cancel()


async def note_response_started(request: web.Request, _: web.StreamResponse) -> None:
    """For ``on_response_prepare``: from now on the answer cannot be replaced by an error."""
    request[_IS_STARTED] = True
