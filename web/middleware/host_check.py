"""HostCheck: refuse unknown names in the Host header while authentication is off.

Without it, a web page could make its own name resolve to this gateway (DNS rebinding) and read every camera as if the
gateway were part of its own site. It accepts addresses, names that nobody can register in the public DNS, ``HOST``,
``ALLOWED_HOSTS``, and the host of ``NODE_URL``.
"""

from collections import Counter
from functools import lru_cache
from urllib.parse import urlsplit

from aiohttp import web

from gateway.client_address import parse_address
from gateway.errors import ForbiddenError
from web.settings import Settings


class UnknownHostError(ForbiddenError):
    """The Host header has a name that somebody else may have pointed here."""

    code = "forbidden_host"


class HostCheck:
    """See the module. ``refused`` counts refused requests by reason."""

    def __init__(self, settings: Settings, refused: Counter[str]) -> None:
        self._refused = refused
        self.reload(settings)

    def reload(self, settings: Settings) -> None:
        """Accept other names from now on."""
        self._is_enabled = not settings.has_auth
        self._hosts = frozenset(host.lower() for host in (*settings.allowed_hosts, settings.host))
        if settings.node_url is not None:
            self._hosts |= {host_name(urlsplit(settings.node_url).netloc).lower()}

    def check(self, request: web.Request) -> None:
        """Raises :class:`UnknownHostError`."""
        name = host_name(request.host)
        if self._is_enabled and not _is_private(name) and name not in self._hosts:
            self._refused["host"] += 1
            raise UnknownHostError(
                f"unknown host name {name[:100]!r}: while authentication is off, ALLOWED_HOSTS must list the names of"
                " the gateway"
            )


@lru_cache(maxsize=256)
def host_name(host: str) -> str:
    """The name in a Host header, without its port; empty if there is none."""
    if "@" in host:
        return ""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


@lru_cache(maxsize=256)
def _is_private(name: str) -> bool:
    """Whether a name is an address, or a name that does not exist in the public DNS."""
    return (
        parse_address(name) is not None or (name != "" and "." not in name) or name.endswith((".localhost", ".local"))
    )
