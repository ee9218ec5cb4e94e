"""The device service: the camera's clock, its services, what it is (ONVIF Core §8)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.onvif.soap import NAMESPACES, Service, call
from gateway.onvif.xml import Element, child, descendants, number, text

GET_CLOCK = call(Service.DEVICE, "GetSystemDateAndTime", is_public=True)

GET_SERVICES = call(
    Service.DEVICE,
    "GetServices",
    "<tds:IncludeCapability>false</tds:IncludeCapability>",
    is_public=True,
)

GET_CAPABILITIES = call(
    Service.DEVICE,
    "GetCapabilities",
    "<tds:Category>All</tds:Category>",
    is_public=True,
)
"""For cameras that are older than GetServices."""

YEAR_MIN, YEAR_MAX = 2, 9998
"""A clock of another year is none: with some seconds more or less, it could not be written."""

GET_INFORMATION = call(Service.DEVICE, "GetDeviceInformation")

_CAPABILITIES = {"Media": Service.MEDIA, "Events": Service.EVENTS, "PTZ": Service.PTZ}


@dataclass(frozen=True, slots=True)
class DeviceInformation:
    """What the camera says it is; empty where it says nothing."""

    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    serial: str = ""


def parse_clock(answer: Element) -> float | None:
    """The camera's clock in Unix seconds; ``None`` where it tells neither UTC nor local time with its zone.

    A clock that people set need not tell UTC (Core, ``SystemDateTime``).
    """
    told = child(answer, "SystemDateAndTime")
    at = _moment(child(told, "UTCDateTime"))
    if at is not None:
        return at
    local, zone = _moment(child(told, "LocalDateTime")), _ZONE.match(text(told, "TimeZone", "TZ"))
    if local is None or zone is None:
        return None
    west_s = int(zone["hours"]) * 3600 + int(zone["minutes"] or 0) * 60
    summer_s = 3600 if text(told, "DaylightSavings") in ("true", "1") else 0
    return local + (-west_s if zone["sign"] == "-" else west_s) - summer_s


_ZONE = re.compile(r"(?:[A-Za-z]{3,}|<[^>]+>)(?P<sign>[+-]?)(?P<hours>\d{1,2})(?::(?P<minutes>\d{2}))?")
"""Standard time of a POSIX TZ: hours west of Greenwich (POSIX.1 §8.3)."""


def _moment(found: Element | None) -> float | None:
    parts = [
        number(found, group, name)
        for group, name in (
            *(("Date", name) for name in ("Year", "Month", "Day")),
            *(("Time", name) for name in ("Hour", "Minute", "Second")),
        )
    ]
    if any(part is None for part in parts):
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in parts)
    if not YEAR_MIN <= year <= YEAR_MAX:
        return None
    try:
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def parse_services(answer: Element) -> Mapping[Service, str]:
    """The addresses of the services, as the camera writes them."""
    by_namespace = {NAMESPACES[service]: service for service in Service}
    found: dict[Service, str] = {}
    for each in descendants(answer, "Service"):
        service = by_namespace.get(text(each, "Namespace").rstrip("/"))
        if service is not None:
            found.setdefault(service, text(each, "XAddr"))
    return found


def parse_capabilities(answer: Element) -> Mapping[Service, str]:
    """The same, of :data:`GET_CAPABILITIES`."""
    capabilities = child(answer, "Capabilities")
    return {
        service: address for name, service in _CAPABILITIES.items() if (address := text(capabilities, name, "XAddr"))
    }


def parse_information(answer: Element) -> DeviceInformation:
    """What the camera is."""
    names = ("Manufacturer", "Model", "FirmwareVersion", "SerialNumber")
    return DeviceInformation(*(text(answer, name)[:100] for name in names))


_MASKED = re.compile(r"[^A-Za-z0-9]+")


def suggested_id(name: str, taken: frozenset[str], fallback: str = "camera") -> str:
    """A camera id of a device's name that is not taken: at most 64 letters, digits and hyphens."""
    base = _MASKED.sub("-", name).strip("-").lower()[:56] or fallback
    if base not in taken:
        return base
    return next(each for number in range(2, len(taken) + 3) if (each := f"{base}-{number}") not in taken)
