"""Which URLs the API accepts for a camera. Cameras in the configuration are not checked: the operator wrote them.

An admin token makes the gateway connect to a URL and shows what answers. This must not give access to services that
only the gateway's machine can reach (server-side request forgery).

Rules:

1. The scheme is rtsp or rtsps, alone or over HTTP, rtmp or rtmps, or the scheme of a configured camera. A file or a
   port of this host (udp, rtp) is none: only the configuration may name them.
   Where its ONVIF is, http and https.
2. The host has an address, and none of its addresses is link-local, a cloud's metadata service or no host at all,
   unless ``ALLOW_METADATA_ADDRESSES`` is true. The URL is read by the parser that the engines connect with.
3. A name can resolve to another address later. So the addresses are checked at each connect too, also after a restart,
   and the connection goes to an address that was checked (:mod:`gateway.capture.resolver`).
4. Addresses to which a camera refers the gateway (a redirect) are checked for every camera, also for a configured one.
   The engine ``opencv`` connects on its own and checks none.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from gateway.camera_settings import CameraSettings
from gateway.capture.engine import Address
from gateway.capture.url import parse
from gateway.errors import BadRequestError, CameraRefusedError, CaptureError
from gateway.forward.target import SCHEMES as FORWARD_SCHEMES
from gateway.forward.target import connect_url
from web.settings import Settings

TALK_SCHEMES = frozenset({"rtsp", "rtsps", "rtsp+http", "rtsps+http"})
SCHEMES = TALK_SCHEMES | {"rtmp", "rtmps", "fake"}

STARTS = {"onvif_url": ("http://", "https://"), "talk_url": ("rtsp://", "rtsps://")}
"""What a field begins with, where that is not the scheme of a stream."""

RESOLVE_S = 5.0

METADATA = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",  # link-local; AWS, GCP, Azure, OpenStack
        "fe80::/10",  # link-local
        "fd00:ec2::/32",  # AWS: metadata, credentials of EKS pods
        "fd20:ce::254/128",  # GCP
        "fd00:42::42/128",  # Scaleway
        "fd00:a9fe:a9fe::1/128",  # Akamai (Linode)
        "100.100.100.200/32",  # Alibaba
        "192.0.0.192/32",  # Oracle
        "168.63.129.16/32",  # Azure
    )
)

NO_CAMERA = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this host (RFC 1122 §3.2.1.3)
        "224.0.0.0/4",  # multicast
        "255.255.255.255/32",  # broadcast
        "::/96",  # this host, and IPv4-compatible, which nothing uses (RFC 4291 §2.5.5.1)
        "64:ff9b:1::/48",  # NAT64 within one network (RFC 8215): where the IPv4 address is, only that network knows
        "ff00::/8",  # multicast
        "fec0::/10",  # site-local, deprecated (RFC 3879)
    )
)
"""Addresses to which no camera can answer; connecting to some of them connects to this machine."""

LAST_32 = tuple(
    ipaddress.ip_network(network)
    for network in (
        "::ffff:0:0/96",  # IPv4-mapped (RFC 4291 §2.5.5.2)
        "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765 §2.1)
        "64:ff9b::/96",  # NAT64 (RFC 6052 §2.1)
    )
)
"""Networks whose addresses end with an IPv4 address."""

SIX_TO_FOUR = ipaddress.ip_network("2002::/16")
TEREDO = ipaddress.ip_network("2001::/32")
ISATAP = (0x0000_5EFE, 0x0200_5EFE)
"""RFC 5214 §6.1: bits 64 to 95 of an address whose last 32 are an IPv4 address."""


async def check_target(table: Mapping[str, Any], settings: Settings, configured: Iterable[CameraSettings]) -> None:
    """Check the settings of a camera in an API call. Raises :class:`~gateway.errors.BadRequestError`."""
    urls = [each.get_secret_value() for camera in configured for each in (camera.url, camera.sub_url) if each]
    schemes = SCHEMES | ({_scheme(url) for url in urls} - {"file", "udp", "rtp"})
    for name in ("url", "sub_url"):
        url = table.get(name)
        if isinstance(url, str):  # CameraStore reports a missing url and a wrong type
            await _check_url(name, url, schemes, settings)
    onvif_url = table.get("onvif_url")
    if isinstance(onvif_url, str):
        await _check_url("onvif_url", onvif_url, ("http", "https"), settings)
    talk_url = table.get("talk_url")
    if isinstance(talk_url, str):
        await _check_url("talk_url", talk_url, TALK_SCHEMES, settings)
    for number, url in enumerate(table.get("forward") or (), start=1):
        if isinstance(url, str) and _scheme(connect_url(url)) in FORWARD_SCHEMES:
            await _check_url(f"forward, number {number}", connect_url(url), FORWARD_SCHEMES, settings)


async def _check_url(name: str, url: str, schemes: Collection[str], settings: Settings) -> None:
    if _scheme(url) not in schemes:
        starts = STARTS.get(name, ("rtsp://", "rtsps://", "rtmp://", "rtmps://"))
        raise BadRequestError(f"{name}: it does not start with {', '.join(starts[:-1])} or {starts[-1]}").because(
            "url_scheme", field=name, expected=", ".join(starts)
        )
    if _scheme(url) == "fake":
        return
    try:
        host = parse(url).host
    except CaptureError as error:
        raise BadRequestError(f"{name}: {error}").because("url_unreadable", field=name) from None
    if settings.allow_metadata_addresses:
        return
    for address in await _addresses(name, host):
        if is_metadata(address):
            raise BadRequestError(
                f"{name}: {host} has the address {address}, which may be a cloud's metadata service and not a camera;"
                " ALLOW_METADATA_ADDRESSES=true allows it"
            ).because("url_metadata", field=name, host=host, address=str(address))


def refuse_metadata(address: Address) -> None:
    """Rule 3. Raises :class:`~gateway.errors.CameraRefusedError`."""
    if is_metadata(address):
        raise CameraRefusedError(
            f"the camera's name resolves to {address}, which may be a cloud's metadata service and not a camera, so no"
            " connection was made; correct the name, or set ALLOW_METADATA_ADDRESSES=true"
        )


def is_metadata(address: Address) -> bool:
    """Whether no camera can be there: link-local, a cloud's metadata service, this host or multicast; in IPv4, in IPv6,
    or in IPv4 that any translation or tunnel would take out of an IPv6 address."""
    if address.is_loopback:
        return False  # a camera may be on this machine; ::1 is in ::/96
    if any(address in network for network in (*METADATA, *NO_CAMERA)):
        return True
    if isinstance(address, ipaddress.IPv4Address):
        return False
    return any(is_metadata(embedded) for embedded in _embedded(int(address), address))


def is_public(address: Address) -> bool:
    """Whether an address is on the Internet: also each IPv4 address that a translation would take out of it."""
    if not address.is_global or is_metadata(address):
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return True
    return all(is_public(embedded) for embedded in _embedded(int(address), address))


def _embedded(bits: int, address: ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    """Every IPv4 address that a network may take out of an IPv6 address."""
    if any(address in network for network in LAST_32) or (bits >> 32) & 0xFFFF_FFFF in ISATAP:
        yield ipaddress.IPv4Address(bits & 0xFFFF_FFFF)
    if address in SIX_TO_FOUR:
        yield ipaddress.IPv4Address((bits >> 80) & 0xFFFF_FFFF)
    if address in TEREDO:
        yield ipaddress.IPv4Address((bits >> 64) & 0xFFFF_FFFF)  # the server
        yield ipaddress.IPv4Address(~bits & 0xFFFF_FFFF)  # the client (RFC 4380 §4)


def _scheme(url: str) -> str:
    return url.strip().partition("://")[0].lower()


async def _addresses(name: str, host: str) -> list[Address]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_S):
            # getaddrinfo also reads unusual notations (0xa9fea9fe, 2852039166), as connecting does.
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise BadRequestError(
            f"{name}: {host} cannot be resolved; check its spelling, or use the camera's address"
        ).because("url_unresolved", field=name, host=host) from None
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
