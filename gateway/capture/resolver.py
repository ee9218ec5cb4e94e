"""Looks up host names on a thread of its own, so that an interrupt does not have to wait for a name server.

libav resolves names where nothing can interrupt it. This lookup comes first: the system's resolver then answers libav
from its cache, and a name that does not exist gets an error of its own. A lookup that hangs is left to end alone.

Where a source checks addresses, libav gets a checked address instead of the name. A name server can give another answer
to the next question (DNS rebinding), and libav's would be the next. The camera then sees the address in its requests,
instead of the name.
"""

import ipaddress
import socket
import threading
import time
from dataclasses import replace

from gateway.capture.engine import Address, CaptureSource
from gateway.capture.url import CameraUrl
from gateway.errors import CameraTimeoutError, CameraUnreachableError

POLL_S = 0.05
"""How often a lookup checks for an interrupt, in seconds."""


def destinations(url: CameraUrl, source: CaptureSource, stop: threading.Event) -> list[CameraUrl]:
    """The URLs to connect to: the URL itself, or one for each address of its host where addresses are checked.

    They are in the order in which to try them (RFC 6724); empty once ``stop`` is set. Raises
    :class:`~gateway.errors.CameraUnreachableError` for a name without an address,
    :class:`~gateway.errors.CameraTimeoutError` where no name server answers, and what ``source.check_address`` raises.
    """
    addresses = _look_up(url, source.timeout_s, stop)
    if source.check_address is None:
        return [url] if addresses else []
    for address in addresses:
        source.check_address(address)
    return [replace(url, host=str(address)) for address in addresses]


def _look_up(url: CameraUrl, timeout_s: float, stop: threading.Event) -> list[Address]:
    try:
        return [ipaddress.ip_address(url.host)]
    except ValueError:
        pass
    found: dict[Address, None] = {}
    failure: list[OSError | UnicodeError] = []
    done = threading.Event()

    def look_up() -> None:
        try:
            # It also understands the odd notations of addresses (0xa9fea9fe, 2852039166), as connecting would.
            for entry in socket.getaddrinfo(url.host, url.connect_port, type=socket.SOCK_STREAM):
                found[ipaddress.ip_address(entry[4][0])] = None
        except (OSError, UnicodeError) as error:
            failure.append(error)
        done.set()

    threading.Thread(target=look_up, name="capture-resolver", daemon=True).start()
    deadline = time.monotonic() + timeout_s
    while not done.wait(POLL_S):
        if stop.is_set():
            return []
        if time.monotonic() > deadline:
            raise CameraTimeoutError(
                f"no name server gave the address of {url.host} within {timeout_s:g} s; check this machine's DNS, or"
                " use the camera's address in the URL"
            )
    if failure:
        raise CameraUnreachableError(
            f"there is no address for the name {url.host}; check its spelling, or use the camera's address"
        )
    return list(found)
