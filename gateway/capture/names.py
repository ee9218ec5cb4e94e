"""Host names, looked up so that an interrupt does not have to wait for a name server.

libav resolves names where nothing can interrupt it. Asking first, from a thread that may be left to its own end, makes
the system's resolver answer libav from its cache, and gives a name that does not exist its own error."""

import ipaddress
import socket
import threading
import time

from gateway.capture.url import CameraUrl
from gateway.errors import CameraTimeoutError, CameraUnreachableError

LOOK_S = 0.05
"""How often an interrupt is looked for, in seconds."""


def check_name(url: CameraUrl, timeout_s: float, stop: threading.Event) -> None:
    """Return once the URL's host has an address, or once ``stop`` is set.

    Raises :class:`~gateway.errors.CameraUnreachableError` for a name that has none, and
    :class:`~gateway.errors.CameraTimeoutError` where no name server answers.
    """
    try:
        ipaddress.ip_address(url.host.partition("%")[0])
    except ValueError:
        pass
    else:
        return
    failure: list[OSError | UnicodeError] = []
    done = threading.Event()

    def look_up() -> None:
        try:
            socket.getaddrinfo(url.host, url.connect_port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            failure.append(error)
        done.set()

    threading.Thread(target=look_up, name="capture-resolver", daemon=True).start()
    deadline = time.monotonic() + timeout_s
    while not done.wait(LOOK_S):
        if stop.is_set():
            return
        if time.monotonic() > deadline:
            raise CameraTimeoutError(
                f"no name server told the address of {url.host} within {timeout_s:g} s; check this machine's DNS, or"
                " write the camera's address"
            )
    if failure:
        raise CameraUnreachableError(
            f"there is no address for the name {url.host}; check its spelling, or write the camera's address"
        )
