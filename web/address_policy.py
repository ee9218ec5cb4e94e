"""Where cameras that come by API may be. What stands in the configuration was written by whoever owns the machine.

An admin's token lets the gateway connect to an address of their choosing and shows what answers: it must not become a
way to what only this machine reaches (server-side request forgery).

Rules:

1. The scheme is rtsp or rtsps, or what a configured camera has; files are no cameras.
2. The host has an address, and none of its addresses is link-local or a cloud's metadata service, unless
   ``ALLOW_METADATA_ADDRESSES`` says so. It is read by the same parser that the engines connect with.
3. A name may lead elsewhere tomorrow. So the addresses are looked at with each connect as well, after a restart too,
   and the connection is made to an address that was looked at (:mod:`gateway.capture.resolver`).
4. Where a camera sends us (a redirect, ``source=`` of a transport) is out of our sight: libav goes there by itself.
   ``docs/security.md`` says what is left of it, and what keeps it in.
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

SCHEMES = frozenset({"rtsp", "rtsps", "fake"})

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
"""RFC 6052 §2.1: an IPv4 address in disguise, as IPv4-mapped ones are."""


async def check_target(table: Mapping[str, Any], settings: Settings, configured: Iterable[CameraSettings]) -> None:
    """Look at what an API call says of a camera. Raises :class:`~gateway.errors.BadRequestError`."""
    url = table.get("url")
    if not isinstance(url, str):
        return  # its absence, or its type, is somebody else's to tell
    schemes = SCHEMES | {_scheme(camera.url.get_secret_value()) for camera in configured}
    if _scheme(url) not in schemes:
        raise BadRequestError("url: it does not start with rtsp:// or rtsps://")
    if _scheme(url) not in ("rtsp", "rtsps"):
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
                f"url: {host} is at {address}, where no camera is but perhaps this machine's own credentials;"
                " ALLOW_METADATA_ADDRESSES=true allows it"
            )


def refuse_metadata(address: Address) -> None:
    """Rule 3. Raises :class:`~gateway.errors.CameraRefusedError`."""
    if is_metadata(address):
        raise CameraRefusedError(
            f"the camera's name leads to {address} now, where no camera is but perhaps this machine's own credentials,"
            " and no connection was made; correct the name, or set ALLOW_METADATA_ADDRESSES=true"
        )


def is_metadata(address: Address) -> bool:
    """Whether this is link-local or a cloud's metadata service, in whatever notation."""
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
            # It reads the odd notations of addresses too (0xa9fea9fe, 2852039166), as connecting would.
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise BadRequestError(
            f"url: there is no address for {host} now; check its spelling, or write the camera's address"
        ) from None
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
