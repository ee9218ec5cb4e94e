"""Host names, looked up so that an interrupt does not have to wait for a name server, and nobody is led astray.

libav resolves names where nothing can interrupt it. Asking first, from a thread that may be left to its own end, makes
the system's resolver answer libav from its cache, and gives a name that does not exist its own error.

Where a source checks addresses, libav gets an address that was checked in place of the name: whoever answers for a name
can answer the next question otherwise (DNS rebinding), and libav's would be the next. The camera then reads the address
in its requests, where it is used to read whatever people call it by.
"""

import ipaddress
import socket
import threading
import time
from dataclasses import replace

from gateway.capture.engine import Address, CaptureSource
from gateway.capture.url import CameraUrl
from gateway.errors import CameraTimeoutError, CameraUnreachableError

LOOK_S = 0.05
"""How often an interrupt is looked for, in seconds."""


def destinations(url: CameraUrl, source: CaptureSource, stop: threading.Event) -> list[CameraUrl]:
    """The URL as it may be connected to, or one for each address of its host where addresses are checked.

    They are in the order to try them in (RFC 6724); none once ``stop`` is set. Raises
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
            # It reads the odd notations of addresses too (0xa9fea9fe, 2852039166), as connecting would.
            for entry in socket.getaddrinfo(url.host, url.connect_port, type=socket.SOCK_STREAM):
                found[ipaddress.ip_address(entry[4][0])] = None
        except (OSError, UnicodeError) as error:
            failure.append(error)
        done.set()

    threading.Thread(target=look_up, name="capture-resolver", daemon=True).start()
    deadline = time.monotonic() + timeout_s
    while not done.wait(LOOK_S):
        if stop.is_set():
            return []
        if time.monotonic() > deadline:
            raise CameraTimeoutError(
                f"no name server told the address of {url.host} within {timeout_s:g} s; check this machine's DNS, or"
                " write the camera's address"
            )
    if failure:
        raise CameraUnreachableError(
            f"there is no address for the name {url.host}; check its spelling, or write the camera's address"
        )
    return list(found)
