"""Client addresses: parse them, match them with networks, and find the network that one client controls."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_address(text: str | None) -> Address | None:
    """An IP address, also in brackets or with a zone; ``None`` for other text."""
    try:
        return ipaddress.ip_address((text or "").strip("[]").partition("%")[0])
    except ValueError:
        return None


def is_in_networks(text: str | None, networks: Iterable[Network]) -> bool:
    """Whether an address, as text, is in one of the networks."""
    address = parse_address(text)
    return address is not None and any(address in network for network in networks)


@lru_cache(maxsize=1024)
def client_network(text: str) -> str:
    """What limits and delays count by: an IPv4 address (also mapped into IPv6, or 6to4), or the /64 of an IPv6 address.

    Other text is returned as it is.
    """
    address = parse_address(text)
    if address is None:
        return text
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if address.sixtofour is not None:
            return str(address.sixtofour)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
