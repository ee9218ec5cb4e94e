"""WS-Discovery messages (WS-Discovery April 2005 §5; ONVIF Core §7): the question for cameras, and their answers.

Rules:

1. Anybody on the network can answer, with anything. So the host is always the sender's own: of the addresses that a
   camera lists, the one with it is taken, else the port and path of the first.
"""

import contextlib
import ipaddress
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from gateway.onvif.xml import Element, descendants, parse_xml, text

PORT = 3702
MULTICAST_V4 = "239.255.255.250"
MULTICAST_V6 = "ff02::c"
"""WS-Discovery §2.4; of one link."""

DEVICE_PATH = "/onvif/device_service"
"""The usual path of the device service (Core §5.2.1 requires it of newer devices)."""

_TYPES = {
    "dn:NetworkVideoTransmitter": "http://www.onvif.org/ver10/network/wsdl",
    "tds:Device": "http://www.onvif.org/ver10/device/wsdl",
}

_SCOPE = "onvif://www.onvif.org/"


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A device that answered: its address, where its device service is, and what it says of itself.

    ``onvif_url`` is ``None`` for a camera that only speaks RTSP.
    """

    address: str
    onvif_url: str | None
    name: str = ""
    hardware: str = ""
    location: str = ""
    endpoint: str = ""


def probes() -> list[bytes]:
    """The questions: some devices answer only the one type, some only the other."""
    return [_probe(name, uri) for name, uri in _TYPES.items()]


def _probe(name: str, uri: str) -> bytes:
    prefix = name.partition(":")[0]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"'
        ' xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
        f' xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:{prefix}="{uri}"><e:Header>'
        f"<w:MessageID>urn:uuid:{uuid.uuid4()}</w:MessageID>"
        "<w:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>"
        "<w:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action></e:Header>"
        f"<e:Body><d:Probe><d:Types>{name}</d:Types></d:Probe></e:Body></e:Envelope>"
    ).encode()


def parse_matches(data: bytes, sender: str) -> list[FoundDevice]:
    """The devices of an answer from the address ``sender``; rule 1. Raises ``OnvifError`` for what is none."""
    found = []
    for match in descendants(parse_xml(data), "ProbeMatch"):
        url = _own_address(text(match, "XAddrs").split(), sender)
        if url is not None:
            found.append(_device(match, sender, url))
    return found


def _own_address(addresses: Sequence[str], sender: str) -> str | None:
    found = []
    for each in addresses:
        try:
            parts = urlsplit(each)
            port = parts.port
        except ValueError:
            continue
        if parts.scheme in ("http", "https"):
            if _is_host(parts.hostname or "", sender):
                return each
            host = f"[{sender}]" if ":" in sender else sender
            place = host if port is None else f"{host}:{port}"
            found.append(f"{parts.scheme}://{place}{parts.path or DEVICE_PATH}")
    return found[0] if found else None


def _is_host(host: str, address: str) -> bool:
    """Whether a host is this address, however that is written."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host) == ipaddress.ip_address(address)
    return False


def _device(match: Element, sender: str, url: str) -> FoundDevice:
    scopes: dict[str, str] = {}
    for each in text(match, "Scopes").split():
        if each.startswith(_SCOPE):
            kind, _, value = each.removeprefix(_SCOPE).partition("/")
            readable = unquote(value).replace("_", " ").strip()[:100]
            if readable.isprintable():
                scopes.setdefault(kind, readable)
    return FoundDevice(
        sender,
        url,
        scopes.get("name", ""),
        scopes.get("hardware", ""),
        scopes.get("location", ""),
        text(match, "EndpointReference", "Address")[:200],
    )
