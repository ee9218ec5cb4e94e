"""web.onvif.search: which addresses are searched, and what is found there."""

import asyncio
import ipaddress
import socket
from typing import cast

import pytest

from gateway.errors import BadRequestError
from gateway.onvif.discovery import FoundDevice
from tests.gateway.onvif.test_discovery import match
from tests.support.onvif_camera import OnvifCamera
from tests.support.rtsp import free_port
from web.checked_resolver import refuse_metadata
from web.onvif.client import Tries
from web.onvif.multicast import multicast_search, unicast_search
from web.onvif.search import merged, parse_targets, search


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        (["192.168.1.20"], 1),
        (["192.168.1.20", " 192.168.1.20 ", "192.168.1.20:8080"], 2),
        (["192.168.1.0/24"], 254),
        (["192.168.1.77/24"], 254),
        (["10.0.0.0/31"], 2),
        (["100.64.8.0/28"], 14),
        (["203.0.113.9"], 1),
        (["10.1.0.0/22"], 1022),
        (["fd00::1", "[fd00::1]", "[fd00::1]:8080", "fd00::0:1"], 2),
        (["fd00:1::/120"], 255),
        (["2001:db8::9"], 1),
    ],
)
def test_addresses_and_private_networks_are_searched(texts: list[str], count: int) -> None:
    assert len(parse_targets(texts)) == count


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.0.0.0/8", "at most 1024"),
        ("8.8.8.0/24", "not a private network"),
        ("169.254.169.254", "metadata"),
        ("0.0.0.0", "metadata"),
        ("255.255.255.255", "metadata"),
        ("camera.local", "no address"),
        ("192.168.1.20:0", "between 1 and 65535"),
        ("192.168.1.20:99999", "between 1 and 65535"),
        ("fd00::/64", "at most 1024"),
        ("2600::/120", "not a private network"),
        ("fe80::1", "metadata"),
        ("fe80::1%eth0", "metadata"),
        ("fd00::1:99999", "no address"),
        ("[fd00::1]:0", "between 1 and 65535"),
        ("", "no address"),
        ("-1", "no address"),
    ],
)
def test_other_addresses_are_refused_with_a_sentence(text: str, why: str) -> None:
    with pytest.raises(BadRequestError, match=why):
        parse_targets([text])


def test_networks_are_bounded_together_and_leave_out_what_no_camera_has() -> None:
    with pytest.raises(BadRequestError, match="more than 1024"):
        parse_targets([f"10.0.{number}.0/24" for number in range(5)])
    assert parse_targets(["169.254.1.0/24"]) == []


async def test_a_port_with_onvif_is_found_and_another_is_not() -> None:
    with OnvifCamera() as camera:
        targets = parse_targets([f"127.0.0.1:{camera.port}", f"127.0.0.1:{free_port()}"])
        found = await search(targets, multicast_s=0, check=refuse_metadata, tries=Tries())
    assert [each.onvif_url for each in found.devices] == [camera.url]
    assert found.is_complete
    assert sum(camera.asked.values()) == camera.asked["GetSystemDateAndTime"]  # nothing that a user is needed for


async def test_a_port_that_takes_connections_and_says_nothing_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.onvif.search.ASK_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        targets = parse_targets([f"127.0.0.1:{server.getsockname()[1]}"])
        found = await search(targets, multicast_s=0, check=None, tries=Tries())
    assert found.devices == []


def test_a_device_is_told_once_with_what_says_most() -> None:
    url = "http://192.0.2.7:80/onvif/device_service"
    found = merged(
        [
            FoundDevice("192.0.2.9", None),
            FoundDevice("192.0.2.7", url),
            FoundDevice("192.0.2.7", None),
            FoundDevice("192.0.2.7", "http://192.0.2.7/other", "Yard"),
            FoundDevice("192.0.2.7", "http://192.0.2.7:8080/second"),
            FoundDevice("fd00::7", "http://[fd00::7]/onvif/device_service", endpoint="urn:uuid:7"),
            FoundDevice("fd00::8", "http://[fd00::8]/onvif/device_service", endpoint="urn:uuid:8"),
            FoundDevice("192.0.2.8", "http://192.0.2.8/onvif/device_service", endpoint="urn:uuid:8"),
        ]
    )
    assert [(each.address, each.name, each.onvif_url) for each in found] == [
        ("192.0.2.7", "Yard", "http://192.0.2.7/other"),
        ("192.0.2.7", "", "http://192.0.2.7:8080/second"),
        ("192.0.2.8", "", "http://192.0.2.8/onvif/device_service"),
        ("192.0.2.9", "", None),
        ("fd00::7", "", "http://[fd00::7]/onvif/device_service"),
    ]


class Responder(asyncio.DatagramProtocol):
    """A camera's answer to every question, from its own address."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked.append(addr[0])
        self.transport.sendto(match(self.address, "onvif://www.onvif.org/name/Six"), addr)


@pytest.mark.parametrize("is_multicast", [True, False])
async def test_a_camera_with_ipv6_is_found(monkeypatch: pytest.MonkeyPatch, is_multicast: bool) -> None:
    # Nothing is multicast on loopback: the question goes to the address itself, from the sockets of multicast.
    responder = Responder("http://[0::1]:8080/onvif http://192.0.2.7/onvif")
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: responder, local_addr=("::1", 0))
    port = transport.get_extra_info("sockname")[1]
    monkeypatch.setattr("web.onvif.multicast.PORT", port)
    monkeypatch.setattr("web.onvif.multicast.MULTICAST_V6", "::1")
    monkeypatch.setattr("web.onvif.multicast.MULTICAST_V4", "127.0.0.1")
    if is_multicast:
        found = await multicast_search(0.3, refuse_metadata)
    else:
        found = await unicast_search([ipaddress.ip_address("::1")], 0.3, refuse_metadata)
    transport.close()
    assert [(each.address, each.onvif_url, each.name) for each in found] == [("::1", "http://[0::1]:8080/onvif", "Six")]
    assert not [each for each in responder.asked if each.startswith("fe80")]
