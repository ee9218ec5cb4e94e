"""ProxyHeaders: believe ``X-Forwarded-For``, ``-Host`` and ``-Proto`` from the proxies in ``TRUSTED_PROXIES``.

From any other client these headers are ignored, because every client can send them.
"""

from typing import Any

from aiohttp import web

from gateway.client_address import is_in_networks, parse_address
from web.settings import Settings


class ProxyHeaders:
    """See the module."""

    def __init__(self, settings: Settings) -> None:
        self.reload(settings)

    def reload(self, settings: Settings) -> None:
        """Trust other proxies from now on."""
        self._proxies = settings.trusted_proxies

    def forwarded(self, request: web.Request) -> web.Request:
        """The request with the address, host and scheme that its client used."""
        if not self._proxies or not is_in_networks(request.remote, self._proxies):
            return request
        hops = [
            _without_port(hop) for value in request.headers.getall("X-Forwarded-For", []) for hop in value.split(",")
        ]
        # The last hop that is not a trusted proxy. The client itself may have written the hops before it.
        client = next((hop for hop in reversed(hops) if not is_in_networks(hop, self._proxies)), None)
        changes: dict[str, Any] = {}
        if client is not None and parse_address(client) is not None:
            changes["remote"] = client
        if (host := request.headers.get("X-Forwarded-Host", "").rpartition(",")[2].strip()) != "":
            changes["host"] = host
        if (scheme := request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip()) in ("http", "https"):
            changes["scheme"] = scheme
        return request.clone(**changes) if changes else request


def _without_port(hop: str) -> str:
    """``192.0.2.7:4711`` and ``[2001:db8::7]:4711``, as some load balancers write them, without the port."""
    hop = hop.strip()
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
