"""Checks: what a request passes before its authentication. One coroutine for all three, since every request has it.

:class:`~web.middleware.proxy_headers.ProxyHeaders` →
:class:`~web.middleware.host_check.HostCheck` → :class:`~web.middleware.cors.Cors`
"""

from collections import Counter
from collections.abc import Awaitable, Callable

from aiohttp import web

from web.middleware.cors import Cors
from web.middleware.host_check import HostCheck
from web.middleware.proxy_headers import ProxyHeaders
from web.settings import Settings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Checks:
    """See the module. ``refused`` counts refused requests by reason."""

    def __init__(self, settings: Settings, refused: Counter[str]) -> None:
        self._proxies = ProxyHeaders(settings)
        self._hosts = HostCheck(settings, refused)
        self.cors = Cors(settings, refused)

    def reload(self, settings: Settings) -> None:
        """Check by other settings from now on."""
        self._proxies.reload(settings)
        self._hosts.reload(settings)
        self.cors.reload(settings)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Raises :class:`~web.middleware.host_check.UnknownHostError` and
        :class:`~web.middleware.cors.ForeignOriginError`."""
        request = self._proxies.forwarded(request)
        self._hosts.check(request)
        preflight = self.cors.check(request)
        return await handler(request) if preflight is None else preflight
