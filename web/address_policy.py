"""Which URLs the API accepts for a camera. Cameras in the configuration are not checked: the operator wrote them.

An admin token makes the gateway connect to a URL and shows what answers. This must not give access to services that
only the gateway's machine can reach (server-side request forgery).

Rules:

1. The scheme is rtsp or rtsps, alone or over HTTP, or the scheme of a configured camera. A file is not a camera.
2. The host has an address, and none of its addresses is link-local or a cloud's metadata service, unless
   ``ALLOW_METADATA_ADDRESSES`` is true. The URL is read by the parser that the engines connect with.
3. A name can resolve to another address later. So the addresses are checked at each connect too, also after a restart,
   and the connection goes to an address that was checked (:mod:`gateway.capture.resolver`).
4. Addresses to which a camera refers the gateway (a redirect) are checked for every camera, also for a configured one.
   The engine ``opencv`` connects on its own and checks none.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.camera_settings import CameraSettings
from gateway.capture.engine import Address
from gateway.capture.url import parse
from gateway.errors import BadRequestError, CameraRefusedError, CaptureError
from web.settings import Settings

SCHEMES = frozenset({"rtsp", "rtsps", "rtsp+http", "rtsps+http", "fake"})

RESOLVE_S = 5.0

METADATA = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",  # link-local; AWS, GCP, Azure, OpenStack
        "fe80::/10",  # link-local
        "fd00:ec2::254/128",  # AWS
        "fd20:ce::254/128",  # GCP
        "100.100.100.200/32",  # Alibaba
        "192.0.0.192/32",  # Oracle
        "168.63.129.16/32",  # Azure
    )
)

NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052 §2.1: the last four bytes are an IPv4 address, as in IPv4-mapped addresses."""


async def check_target(table: Mapping[str, Any], settings: Settings, configured: Iterable[CameraSettings]) -> None:
    """Check the settings of a camera in an API call. Raises :class:`~gateway.errors.BadRequestError`."""
    url = table.get("url")
    if not isinstance(url, str):
        return  # CameraStore reports a missing url and a wrong type
    schemes = SCHEMES | ({_scheme(camera.url.get_secret_value()) for camera in configured} - {"file"})
    if _scheme(url) not in schemes:
        raise BadRequestError("url: it does not start with rtsp:// or rtsps://")
    if _scheme(url) == "fake":
        return
    try:
        host = parse(url).host
    except CaptureError as error:
        raise BadRequestError(f"url: {error}") from None
    if settings.allow_metadata_addresses:
        return
    for address in await _addresses(host):
        if is_metadata(address):
            raise BadRequestError(
                f"url: {host} has the address {address}, which may be a cloud's metadata service and not a camera;"
                " ALLOW_METADATA_ADDRESSES=true allows it"
            )


def refuse_metadata(address: Address) -> None:
    """Rule 3. Raises :class:`~gateway.errors.CameraRefusedError`."""
    if is_metadata(address):
        raise CameraRefusedError(
            f"the camera's name resolves to {address}, which may be a cloud's metadata service and not a camera, so no"
            " connection was made; correct the name, or set ALLOW_METADATA_ADDRESSES=true"
        )


def is_metadata(address: Address) -> bool:
    """Whether this is link-local or a cloud's metadata service, in IPv4 or embedded in IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_metadata(address.ipv4_mapped)
        if address.sixtofour is not None:
            return is_metadata(address.sixtofour)
        if address in NAT64:
            return is_metadata(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return any(address in network for network in METADATA)


def _scheme(url: str) -> str:
    return url.strip().partition("://")[0].lower()


async def _addresses(host: str) -> list[Address]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_S):
            # getaddrinfo also reads unusual notations (0xa9fea9fe, 2852039166), as connecting does.
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise BadRequestError(
            f"url: {host} cannot be resolved; check its spelling, or use the camera's address"
        ) from None
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
