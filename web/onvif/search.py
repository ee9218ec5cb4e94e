"""Search: finds cameras by multicast, and at addresses that somebody names.

Rules:

1. An address is one host, a host and a port, or a network (CIDR). Networks are private ones (RFC 1918, RFC 6598,
   RFC 4193), and all together have at most :data:`ADDRESSES_MAX` addresses: this is a search of one's own networks.
2. Hosts that no camera can have are refused, or left out of a network (:mod:`web.address_policy`).
3. At a host :data:`PORTS` are tried, :data:`CONNECTIONS_MAX` connections at a time. Where something answers, it is
   asked for its clock, which needs no user. A host that has only RTSP is reported without an ONVIF address.
4. The whole search ends after :data:`SEARCH_S`.
"""

import asyncio
import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from yarl import URL

from gateway.capture.engine import Address
from gateway.errors import BadRequestError, LiveedgeError
from gateway.onvif import device
from gateway.onvif.discovery import DEVICE_PATH, FoundDevice
from gateway.onvif.errors import OnvifUnauthorizedError
from web.address_policy import is_metadata
from web.checked_resolver import CheckAddress
from web.onvif.client import OnvifClient, Tries
from web.onvif.multicast import multicast_search, unicast_search

ADDRESSES_MAX = 1024

CONNECTIONS_MAX = 128

CONNECT_S = 0.7
"""A camera on the same site answers within milliseconds; one that sleeps, within half a second."""

PORTS = (80, 8080, 8000, 8899, 2020)
"""HTTP; the others are the defaults of ONVIF of Hikvision's and Dahua's kin, of Chinese modules, and of TP-Link."""

RTSP_PORT = 554

ASK_S = 3.0

SEARCH_S = 60.0

MULTICAST_S = 3.0

UNICAST_S = 1.5

_SHARED = ipaddress.IPv4Network("100.64.0.0/10")
_PORT = re.compile(r"(?P<host>[^:]+|\[[^\]]+\])(?::(?P<port>\d{1,5}))?")
"""An IPv6 address with a port is in brackets (RFC 3986 §3.2.2)."""


@dataclass(frozen=True, slots=True)
class Target:
    """A host to look at; ``port`` is the only one to try, if it is given."""

    address: Address
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search: the devices by their addresses, and whether all was looked at in time."""

    devices: list[FoundDevice]
    is_complete: bool


def parse_targets(texts: Sequence[str], allows_metadata: bool = False) -> list[Target]:
    """The hosts to look at. Raises :class:`~gateway.errors.BadRequestError` by rules 1 and 2."""
    targets: dict[Target, None] = {}
    for text in texts:
        for target in _parse(text.strip()):
            if not is_metadata(target.address) or allows_metadata:
                targets[target] = None
            elif "/" not in text:
                raise BadRequestError(
                    f"{text[:60]}: no camera can be there; it may be a cloud's metadata service"
                ).because("address_invalid", address=text[:60])
            if len(targets) > ADDRESSES_MAX:
                raise BadRequestError(
                    f"these are more than {ADDRESSES_MAX} addresses: search one network after another"
                ).because("addresses_max", limit=ADDRESSES_MAX)
    return list(targets)


def _parse(text: str) -> Iterable[Target]:
    match = _PORT.fullmatch(text)
    port = int(match["port"]) if match and match["port"] else None
    try:
        network = ipaddress.ip_network(match["host"].strip("[]") if match else text, strict=False)
    except ValueError:
        raise BadRequestError(
            f"{text[:60]!r} is no address: write 192.168.1.20, 192.168.1.20:8080, 192.168.1.0/24, fd00::20 or"
            " [fd00::20]:8080"
        ).because("address_invalid", address=text[:60]) from None
    if port is not None and not 0 < port < 65_536:
        raise BadRequestError(f"{text[:60]!r}: a port is between 1 and 65535").because(
            "address_invalid", address=text[:60]
        )
    if network.num_addresses > ADDRESSES_MAX:
        raise BadRequestError(
            f"{text[:60]}: at most {ADDRESSES_MAX} addresses, which is a /22, are searched at once"
        ).because("addresses_max", limit=ADDRESSES_MAX)
    is_shared = isinstance(network, ipaddress.IPv4Network) and network.subnet_of(_SHARED)
    if network.num_addresses > 1 and not (network.is_private or is_shared):
        raise BadRequestError(f"{text[:60]} is not a private network: name single addresses").because(
            "network_public", address=text[:60]
        )
    hosts: Iterator[Address] = network.hosts() if network.num_addresses > 2 else iter(network)
    return (Target(each, port) for each in hosts)


async def search(
    targets: Sequence[Target], *, multicast_s: float = MULTICAST_S, check: CheckAddress | None, tries: Tries
) -> Found:
    """Search by multicast for ``multicast_s`` (0: not), and at ``targets``."""
    slots = asyncio.Semaphore(CONNECTIONS_MAX)
    ways = [_look_at(target, slots, check, tries) for target in targets]
    if addresses := [each.address for each in targets if each.port is None]:
        ways.append(unicast_search(addresses, UNICAST_S, check))
    if multicast_s:
        ways.append(multicast_search(multicast_s, check))
    if not ways:
        return Found([], is_complete=True)
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        done, pending = await asyncio.wait(tasks, timeout=SEARCH_S)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return Found(merged([device for task in tasks if task in done for device in task.result()]), not pending)


def merged(devices: Sequence[FoundDevice]) -> list[FoundDevice]:
    """Each device once, by its address: what said most of itself. A host may have several devices, on several ports.

    Of a device that has answered over IPv4 and IPv6, by its endpoint, IPv4 is taken.
    """
    in_v4 = {each.endpoint for each in devices if ":" not in each.address and each.endpoint}
    devices = [each for each in devices if ":" not in each.address or each.endpoint not in in_v4]
    best: dict[str, FoundDevice] = {}
    with_onvif = {each.address for each in devices if each.onvif_url is not None}
    for each in sorted(devices, key=lambda each: not each.name):
        if each.onvif_url is not None:
            best.setdefault(str(URL(each.onvif_url).origin()), each)
        elif each.address not in with_onvif:
            best.setdefault(each.address, each)
    return sorted(best.values(), key=_place)


def _place(device: FoundDevice) -> tuple[int, int, str]:
    address = ipaddress.ip_address(device.address)
    return address.version, int(address), device.onvif_url or ""


async def _look_at(
    target: Target, slots: asyncio.Semaphore, check: CheckAddress | None, tries: Tries
) -> list[FoundDevice]:
    host = str(target.address)
    ports = (target.port,) if target.port is not None else (*PORTS, RTSP_PORT)
    is_open = await asyncio.gather(*(_connects(host, port, slots) for port in ports))
    found = []
    for port, opened in zip(ports, is_open, strict=True):
        if opened and port != RTSP_PORT:
            async with slots:
                found += await _ask(host, port, check, tries)
    if not found and target.port in (None, RTSP_PORT) and is_open[-1]:
        found.append(FoundDevice(host, None))
    return found


async def _connects(host: str, port: int, slots: asyncio.Semaphore) -> bool:
    async with slots:
        try:
            async with asyncio.timeout(CONNECT_S):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True


async def _ask(host: str, port: int, check: CheckAddress | None, tries: Tries) -> list[FoundDevice]:
    """Rule 3."""
    url = str(URL.build(scheme="http", host=host, port=port, path=DEVICE_PATH))
    client = OnvifClient(url, None, tries, check)
    try:
        await client.call(device.GET_CLOCK, ASK_S)
    except OnvifUnauthorizedError:
        pass  # only a camera asks who is there
    except LiveedgeError:
        return []
    finally:
        await client.close()
    return [FoundDevice(host, url)]
