"""CheckedResolver: addresses for aiohttp, each checked before a connection is made to it.

The connection goes to the addresses that were checked, so that a name server cannot give another answer for the
connection (DNS rebinding). aiohttp asks no resolver for a host that is an address: :func:`check_host` is for those.

A lookup has a thread of its own, and there is at most one at a time: a name server that does not answer must not take
the threads that others need.
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.capture.engine import Address
from gateway.errors import ForbiddenError, LiveedgeError
from web.address_policy import is_metadata
from web.settings import Settings

CheckAddress = Callable[[Address], None]

Found = list[tuple[Any, ...]]


def refuse_metadata(address: Address) -> None:
    """The rule of :mod:`web.address_policy` for cameras. Raises :class:`~gateway.errors.ForbiddenError`."""
    if is_metadata(address):
        raise ForbiddenError(
            f"its host has the address {address}, which may be a cloud's metadata service, so no connection was made;"
            " correct the url, or set ALLOW_METADATA_ADDRESSES=true"
        )


def address_check(settings: Settings) -> CheckAddress | None:
    """The check of the addresses of endpoints; ``None`` allows all."""
    return None if settings.allow_metadata_addresses else refuse_metadata


def check_host(host: str, check: CheckAddress | None) -> None:
    """Check a host that is an address; any other is left to the resolver. Raises what ``check`` raises."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host.partition("%")[0])
        if check is not None:
            check(address)


def refusal_of(error: BaseException) -> LiveedgeError | None:
    """What a check has raised, where aiohttp raises an error of its own because of it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, LiveedgeError):
        cause = cause.__cause__ or cause.__context__
    return cause


class CheckedResolver(AbstractResolver):
    """See the module. ``check`` raises for an address that no connection may be made to; ``None`` allows all."""

    def __init__(self, check: CheckAddress | None) -> None:
        self._check = check
        self._is_running = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Addresses of a name. Raises ``OSError`` for a name without one, and what ``check`` raises."""
        if self._is_running:
            raise OSError(None, "no name server answers")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Found] = loop.create_future()

        def look_up() -> None:
            found: Found | Exception
            try:
                # It also understands unusual notations of addresses (0xa9fea9fe, 2852039166).
                found = list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
            except (OSError, UnicodeError) as error:
                found = error
            with contextlib.suppress(RuntimeError):  # the loop may be closed by now
                loop.call_soon_threadsafe(self._finish, done, found)

        self._is_running = True
        threading.Thread(target=look_up, name="webhook-resolver", daemon=True).start()
        return [self._result(host, *entry) for entry in await done]

    def _finish(self, done: asyncio.Future[Found], found: Found | Exception) -> None:
        self._is_running = False
        if done.done():
            return
        if isinstance(found, Exception):
            done.set_exception(found)
        else:
            done.set_result(found)

    def _result(self, host: str, family: int, _kind: int, proto: int, _name: str, address: Any) -> ResolveResult:
        if self._check is not None:
            self._check(ipaddress.ip_address(str(address[0]).partition("%")[0]))
        return ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=int(address[1]),
            family=family,
            proto=proto,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )

    async def close(self) -> None:
        """A lookup that hangs is left to end alone."""
