"""``liveedge discover``: the cameras on the network, and what each of them has."""

import getpass
import json
import os
import sys
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from gateway.errors import LiveedgeError, redact
from gateway.onvif.discovery import FoundDevice
from gateway.rtsp.auth import Credentials
from web.checked_resolver import address_check
from web.onvif.client import Tries
from web.onvif.look import RTSP_PORT, Look, look_at_onvif, look_at_rtsp
from web.onvif.report import DeviceReport, DiscoveredDevice
from web.onvif.search import MULTICAST_S, parse_targets, search
from web.settings import Settings

PASSWORD = "CAMERA_PASSWORD"  # noqa: S105
"""The environment variable with the password of ``--user``: an argument would be seen by every user of the machine."""


def read_password(user: str | None) -> Credentials | None:
    """The credentials for ``--user``, asked for on a terminal."""
    if user is None:
        return None
    password = os.environ.get(PASSWORD)
    if password is None:
        password = getpass.getpass(f"Password of {user}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    return Credentials(user, password)


async def discover(
    settings: Settings, addresses: Sequence[str], seconds: float | None, credentials: Credentials | None
) -> tuple[list[DiscoveredDevice], dict[str, DeviceReport | str], bool]:
    """The devices, by their address what was seen or why not, and whether the search was complete.

    Each device is asked with the credentials, if there are any. Raises :class:`~gateway.errors.BadRequestError`.
    """
    tries, check = Tries(), address_check(settings)
    targets = parse_targets(addresses, settings.allow_metadata_addresses)
    multicast_s = (0.0 if addresses else MULTICAST_S) if seconds is None else seconds
    found = await search(targets, multicast_s=multicast_s, check=check, tries=tries)
    reports: dict[str, DeviceReport | str] = {}
    taken: set[str] = set(settings.camera_tables())
    if credentials is not None:
        for device in found.devices:
            look = Look(credentials, tries, check, taken, wants_pictures=False)
            try:
                report = await _look_at(device, look)
            except LiveedgeError as error:
                reports[_key(device)] = redact(error)
            else:
                taken |= {each.camera_id for each in report.cameras}
                reports[_key(device)] = report
    return [DiscoveredDevice.of(each, []) for each in found.devices], reports, found.is_complete


async def _look_at(device: FoundDevice, look: Look) -> DeviceReport:
    if device.onvif_url is None:
        return await look_at_rtsp(device.address, RTSP_PORT, look)
    return await look_at_onvif(device.onvif_url, look)


def _key(device: FoundDevice | DiscoveredDevice) -> str:
    return device.onvif_url or device.address


def as_json(
    devices: Sequence[DiscoveredDevice], reports: dict[str, DeviceReport | str], *, is_complete: bool
) -> Iterator[str]:
    """One document."""
    listed = []
    for device in devices:
        report = reports.get(_key(device))
        told = report.model_dump() if isinstance(report, DeviceReport) else None
        error = report if isinstance(report, str) else None
        listed.append({**device.model_dump(exclude={"camera_ids"}), "report": told, "error": error})
    yield json.dumps({"devices": listed, "is_complete": is_complete}, indent=2, ensure_ascii=False)


def as_table(
    devices: Sequence[DiscoveredDevice], reports: dict[str, DeviceReport | str], *, is_complete: bool
) -> Iterator[str]:
    """Lines for people."""
    rows = [("ADDRESS", "NAME", "ONVIF")]
    rows += [(each.address, each.name or each.hardware or "-", each.onvif_url or "no, RTSP alone") for each in devices]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for row, device in zip(rows, (None, *devices), strict=True):
        yield f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}".rstrip()
        report = reports.get(_key(device)) if device is not None else None
        yield from (f"    {line}" for line in _report_lines(report))
    if not devices:
        yield "No camera has answered. Those on another network are found by address: liveedge discover 10.0.5.0/24"
    if not is_complete:
        yield "The search took too long, and was ended: search fewer addresses at once"


def _report_lines(report: DeviceReport | str | None) -> Iterator[str]:
    if report is None:
        return
    if isinstance(report, str):
        yield report
        return
    can = [name for name, has in (("PTZ", report.has_ptz), ("events", report.has_events)) if has]
    yield ", ".join(part for part in (f"{report.manufacturer} {report.model}".strip(), *can) if part)
    if report.clock_offset_s is not None and abs(report.clock_offset_s) > 2:
        yield f"its clock is off by {report.clock_offset_s:+.0f} s"
    for stream in report.streams:
        size = f"{stream.width}x{stream.height}" if stream.width else ""
        rate = f"{stream.frame_rate:g} fps" if stream.frame_rate else ""
        bits = f"{stream.bitrate_bps / 1e6:g} Mbit/s" if stream.bitrate_bps else ""
        yield " ".join(part for part in (stream.name, stream.codec, size, rate, bits, stream.url) if part)
    for camera in report.cameras:
        yield from (
            "",
            f"[cameras.{camera.camera_id}]",
            *_setting("url", camera.url),
            *_setting("sub_url", camera.sub_url),
        )
        yield from _setting("onvif_url", camera.onvif_url)
        yield ""


def _setting(name: str, url: str | None) -> Iterator[str]:
    if url is not None:
        parts = urlsplit(url)
        yield f'{name} = "{parts.scheme}://USER:PASSWORD@{url.partition("://")[2]}"'
