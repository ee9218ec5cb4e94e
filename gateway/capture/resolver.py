"""Looks up host names on a thread of its own, so that an interrupt does not have to wait for a name server.

A name that does not exist gets an error of its own. A lookup that hangs is left to end alone.

Connections go to the addresses that were found and checked: a name server can give another answer to the next question
(DNS rebinding).
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Callable

from gateway.capture.engine import Address, CaptureSource
from gateway.capture.url import CameraUrl
from gateway.errors import CameraTimeoutError, CameraUnreachableError

POLL_S = 0.05
"""How often a lookup checks for an interrupt, in seconds."""


def checked_addresses(url: CameraUrl, source: CaptureSource, stop: threading.Event) -> list[Address]:
    """The addresses of the URL's host, each of them checked, in the order in which to try them (RFC 6724).

    For a thread; empty once ``stop`` is set. Raises :class:`~gateway.errors.CameraUnreachableError` for a name without
    an address, :class:`~gateway.errors.CameraTimeoutError` where no name server answers, and what
    ``source.check_address`` raises.
    """
    found = _look_up(url, source.timeout_s, stop)
    if source.check_address is not None:
        for address in found:
            source.check_address(address)
    return found


async def addresses(url: CameraUrl, source: CaptureSource) -> list[Address]:
    """The addresses of the URL's host, each of them checked, in the order in which to try them.

    Raises as :func:`checked_addresses`.
    """
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def finished() -> None:
        # The loop may be closed by now: the lookup was left to end alone.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(done.set)

    lookup = _Lookup(url, finished)
    try:
        async with asyncio.timeout(source.timeout_s):
            await done.wait()
    except TimeoutError:
        raise _no_answer(url, source.timeout_s) from None
    found = lookup.addresses()
    if source.check_address is not None:
        for address in found:
            source.check_address(address)
    return found


class _Lookup:
    """One lookup on a thread of its own, which calls ``on_done`` there; an address is its own answer, at once."""

    def __init__(self, url: CameraUrl, on_done: Callable[[], None]) -> None:
        self._url = url
        self._found: dict[Address, None] = {}
        self._failed = False
        self._on_done = on_done
        try:
            self._found[ipaddress.ip_address(url.host)] = None
        except ValueError:
            threading.Thread(target=self._run, name="capture-resolver", daemon=True).start()
        else:
            on_done()

    def addresses(self) -> list[Address]:
        """The result. Raises :class:`~gateway.errors.CameraUnreachableError` for a name without an address."""
        if self._failed:
            raise CameraUnreachableError(
                f"there is no address for the name {self._url.host}; check its spelling, or use the camera's address"
            ).because("host_unknown")
        return list(self._found)

    def _run(self) -> None:
        try:
            # It also understands the odd notations of addresses (0xa9fea9fe, 2852039166), as connecting would.
            for entry in socket.getaddrinfo(self._url.host, self._url.connect_port, type=socket.SOCK_STREAM):
                self._found[ipaddress.ip_address(entry[4][0])] = None
        except (OSError, UnicodeError):
            self._failed = True
        self._on_done()


def _look_up(url: CameraUrl, timeout_s: float, stop: threading.Event) -> list[Address]:
    done = threading.Event()
    lookup = _Lookup(url, done.set)
    deadline = time.monotonic() + timeout_s
    while not done.wait(POLL_S):
        if stop.is_set():
            return []
        if time.monotonic() > deadline:
            raise _no_answer(url, timeout_s)
    return lookup.addresses()


def _no_answer(url: CameraUrl, timeout_s: float) -> CameraTimeoutError:
    return CameraTimeoutError(
        f"no name server gave the address of {url.host} within {timeout_s:g} s; check this machine's DNS, or use the"
        " camera's address in the URL"
    ).because("name_server_silent")
