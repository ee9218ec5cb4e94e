"""What a search and a look at a device find, as HTTP, the command line and the page show it. Never a password."""

from typing import Self

from pydantic import BaseModel, Field

from gateway.onvif.discovery import FoundDevice


class DiscoveredDevice(BaseModel):
    """A device on the network. What it says of itself is empty where it says nothing."""

    address: str = Field(description="its IP address")
    onvif_url: str | None = Field(description="where its ONVIF device service is; null for a camera with RTSP alone")
    name: str
    hardware: str
    location: str
    camera_ids: list[str] = Field(description="cameras of this gateway with the same address")

    @classmethod
    def of(cls, device: FoundDevice, camera_ids: list[str]) -> Self:
        return cls(
            address=device.address,
            onvif_url=device.onvif_url,
            name=device.name,
            hardware=device.hardware,
            location=device.location,
            camera_ids=camera_ids,
        )


class DeviceStream(BaseModel):
    """A stream of a device. ``null``: the device does not tell. Rates are the limits that are set in the device."""

    token: str = Field(description="the ONVIF profile; empty without ONVIF")
    name: str
    source: str = Field(description="the lens or channel that it shows")
    codec: str
    width: int | None
    height: int | None
    frame_rate: float | None
    bitrate_bps: int | None
    url: str = Field(description="its RTSP address, without user and password")
    picture: str | None = Field(description="a JPEG of it, in base64")
    problem: str | None = Field(description="why there is no picture, as a sentence")
    problem_code: str | None = Field(default=None, description="the same for programs: the code or reason of an error")


class DeviceCamera(BaseModel):
    """A camera as it can be added: the streams that were chosen for one lens or channel."""

    camera_id: str = Field(description="an id that is free")
    name: str
    url: str = Field(description="the RTSP address of the main stream, without user and password")
    sub_url: str | None = Field(description="the same of the sub stream")
    onvif_url: str | None


class DeviceReport(BaseModel):
    """A device that was looked at."""

    address: str
    onvif_url: str | None
    manufacturer: str
    model: str
    firmware: str
    serial: str
    clock_offset_s: float | None = Field(description="its clock minus the gateway's; null if it tells none")
    has_ptz: bool
    has_events: bool
    streams: list[DeviceStream]
    cameras: list[DeviceCamera] = Field(description="what to add: main and sub stream are chosen")
