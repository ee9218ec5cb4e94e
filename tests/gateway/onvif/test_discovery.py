"""gateway.onvif.discovery: answers from anybody on the network."""

import pytest

from gateway.onvif.discovery import parse_matches, probes
from gateway.onvif.errors import OnvifError
from gateway.onvif.xml import parse_xml


def match(addresses: str, scopes: str = "") -> bytes:
    return (
        '<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"'
        ' xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><e:Body><d:ProbeMatches><d:ProbeMatch>'
        f"<d:Scopes>{scopes}</d:Scopes><d:XAddrs>{addresses}</d:XAddrs></d:ProbeMatch></d:ProbeMatches></e:Body>"
        "</e:Envelope>"
    ).encode()


@pytest.mark.parametrize(
    ("addresses", "url"),
    [
        ("http://192.0.2.7/onvif/device_service", "http://192.0.2.7/onvif/device_service"),
        ("http://169.254.9.9/x http://192.0.2.7:8080/y", "http://192.0.2.7:8080/y"),
        # Another host is never asked in the place of the sender.
        ("http://203.0.113.1:8899/onvif/device_service", "http://192.0.2.7:8899/onvif/device_service"),
        ("https://user:pw@internal.example/admin?x=1", "https://192.0.2.7/admin"),
    ],
)
def test_the_host_is_the_senders(addresses: str, url: str) -> None:
    (found,) = parse_matches(match(addresses), "192.0.2.7")
    assert (found.address, found.onvif_url) == ("192.0.2.7", url)


@pytest.mark.parametrize(
    ("addresses", "url"),
    [
        ("http://192.0.2.7/a http://[FD00:0::7]/b", "http://[FD00:0::7]/b"),
        ("http://192.0.2.7:8080/a", "http://[fd00::7]:8080/a"),
        ("http://[fe80::1]/a", "http://[fd00::7]/a"),
    ],
)
def test_the_host_is_the_senders_in_ipv6(addresses: str, url: str) -> None:
    (found,) = parse_matches(match(addresses), "fd00::7")
    assert found.onvif_url == url


@pytest.mark.parametrize("addresses", ["", "file:///etc/passwd", "http://[", "http://h:99999/", "rtsp://192.0.2.7/"])
def test_a_device_without_an_address_is_none(addresses: str) -> None:
    assert parse_matches(match(addresses), "192.0.2.7") == []


def test_what_a_device_says_of_itself_is_decoded_and_harmless() -> None:
    scopes = "onvif://www.onvif.org/name/Front%20door onvif://www.onvif.org/hardware/DS-2CD%0A onvif://x/name/other"
    (found,) = parse_matches(match("http://192.0.2.7/", scopes), "192.0.2.7")
    assert (found.name, found.hardware, found.location) == ("Front door", "DS-2CD", "")


def test_a_datagram_that_is_no_answer_is_an_error() -> None:
    with pytest.raises(OnvifError):
        parse_matches(b"GET / HTTP/1.1", "192.0.2.7")


def test_probes_are_well_formed_and_differ() -> None:
    one, two = (parse_xml(each) for each in probes())
    assert {text for each in (one, two) for text in [next(e.text for e in each.iter() if e.tag.endswith("Types"))]} == {
        "dn:NetworkVideoTransmitter",
        "tds:Device",
    }
