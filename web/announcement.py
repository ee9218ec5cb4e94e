"""Where people and programs reach this process: addresses that can be opened.

Nobody can open ``http://0.0.0.0/``: a server that listens on every address (``0.0.0.0``, ``::``) is at ``localhost`` on
this machine, and for other machines at the address that this one has on the network.
"""

import ipaddress
import socket

_SOMEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses of documentation (RFC 5737, RFC 3849): they are routed like any other, and nobody has them."""


def url_host(host: str) -> str:
    """The host of a URL that reaches a server which listens on ``host``, from this machine."""
    if _is_every_address(host):
        return "[::1]" if ":" in host else "localhost"  # a machine's localhost may be 127.0.0.1 alone
    return f"[{host}]" if ":" in host else host


def announcement(host: str, port: int) -> tuple[str, str]:
    """The address of the page of a server that listens there, and what to say of the way from other machines."""
    elsewhere = _network_address(host) if _is_every_address(host) else None
    hint = f"; from other machines at http://{url_host(elsewhere)}:{port}/" if elsewhere is not None else ""
    return f"http://{url_host(host)}:{port}/", hint


def _is_every_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == ""


def _network_address(host: str) -> str | None:
    """This machine's address on the way to other networks; ``None`` if there is none. Sends nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as route:
            route.connect((_SOMEWHERE[family], 9))
            address = str(route.getsockname()[0])
    except OSError:
        return None
    found = ipaddress.ip_address(address)
    return None if found.is_loopback or found.is_link_local or found.is_unspecified else address
