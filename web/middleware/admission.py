"""Admission: all that a request passes on its way to a handler, and its answer on the way back.

Rules, in this order, each in a module of its own:

1. :mod:`~web.middleware.proxy_headers`: the address, host and scheme that the client used.
2. :mod:`~web.middleware.host_check`, :mod:`~web.middleware.cors`: who may ask at all. A preflight request is answered
   here.
3. :mod:`web.auth.authenticator`: which grant the request has, and whether it is sufficient.
4. :mod:`~web.middleware.authorize_only`: the question of a cache is answered here.
5. :mod:`~web.middleware.content_coding`, :mod:`~web.middleware.request_limits`: what it may cost.
6. The handler, or another node of the cluster, for as long as the grant lasts (:mod:`web.auth.revocation`).
7. :mod:`~web.middleware.errors`: what any of them raised becomes an answer.
8. ``record`` gets each status.

They are plain functions and context managers in one coroutine. As five middlewares, with what aiohttp puts around each,
they took a sixth of the CPU of a request for a part of live HLS.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from web.auth.authenticator import Authenticator
from web.auth.grant import ANONYMOUS
from web.auth.requests import credential_note, grant_of
from web.auth.revocation import CancelOnRevoke
from web.middleware.authorize_only import cache_answer, cache_refusal
from web.middleware.content_coding import refuse_content_codings
from web.middleware.cors import Cors
from web.middleware.errors import CLIENT_GONE, error_answer
from web.middleware.host_check import HostCheck
from web.middleware.proxy_headers import ProxyHeaders
from web.middleware.request_limits import SAFE_METHODS, UNSAFE_TIMEOUT_S, RequestLimits
from web.settings import Settings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

Record = Callable[[web.Request, int, float], None]
"""Is called with each request, its status and when it began (monotonic seconds)."""


class OtherNodes(Protocol):
    """What the other nodes of a cluster have to do with a request."""

    def received(self, request: web.Request) -> web.Request:
        """The request as its client made it, where another node forwarded it. Raises ``UnauthorizedError``."""
        ...

    def elsewhere(self, request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse] | None:
        """The answer of other nodes; ``None``: ``handler`` answers."""
        ...


class Admission:
    """See the module. ``refused`` counts refused requests by reason."""

    def __init__(
        self,
        settings: Settings,
        authenticator: Authenticator,
        refused: Counter[str],
        record: Record,
        *,
        unsafe_timeout_s: float = UNSAFE_TIMEOUT_S,
    ) -> None:
        self._proxies = ProxyHeaders(settings)
        self._hosts = HostCheck(settings, refused)
        self.cors = Cors(settings, refused)
        self._authenticator = authenticator
        self._limits = RequestLimits(settings, refused, unsafe_timeout_s=unsafe_timeout_s)
        self._record = record
        self.nodes: OtherNodes | None = None
        """``None`` where this gateway is alone."""

    def reload(self, settings: Settings) -> None:
        """Admit by other settings from now on. The authenticator is reloaded by its owner."""
        for rule in (self._proxies, self._hosts, self.cors, self._limits):
            rule.reload(settings)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """See the module."""
        began_s = time.monotonic()
        status = CLIENT_GONE  # unless there is an answer
        note = credential_note(request)
        note.lacks_credential = True
        received = request
        try:
            request = self._proxies.forwarded(request)
            if self.nodes is not None:
                request = self.nodes.received(request)
            self._hosts.check(request)
            response: web.StreamResponse | None = self.cors.preflight_answer(request)
            if response is None:
                waiting = self._authenticator.authenticate_request(request)
                if waiting is not None:
                    await waiting
                note.lacks_credential = grant_of(request) is ANONYMOUS
                response = cache_answer(request)
            if response is None:
                refuse_content_codings(request)
                with self._limits.count(request), CancelOnRevoke(request):
                    elsewhere = self.nodes.elsewhere(request, handler) if self.nodes is not None else None
                    answering = elsewhere if elsewhere is not None else handler(request)
                    is_safe = request.method in SAFE_METHODS
                    response = await (answering if is_safe else self._limits.within_timeout(answering))
            status = response.status
            return response
        except Exception as error:
            answer = error_answer(received, cache_refusal(request, error))
            if answer is None:
                status = error.status if isinstance(error, web.HTTPException) else CLIENT_GONE
                raise
            status = answer.status
            return answer
        finally:
            note.lacks_credential = False
            self._record(received, status, began_s)
