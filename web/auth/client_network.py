"""The network that one client controls: what limits and delays count by."""

import ipaddress
from functools import lru_cache


@lru_cache(maxsize=1024)
def client_network(address: str) -> str:
    """An IPv4 address (also mapped into IPv6, or 6to4), or the /64 of an IPv6 address. Other text is returned as is."""
    try:
        ip = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        if ip.sixtofour is not None:
            return str(ip.sixtofour)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
