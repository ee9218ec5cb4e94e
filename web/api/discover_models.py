"""What ``/api/discover`` takes and answers. Reports of devices are in :mod:`web.onvif.report`."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from gateway.capture.url import parse
from gateway.errors import CaptureError
from web.onvif.report import DiscoveredDevice

ADDRESSES_MAX = 64


class DiscoverRequest(BaseModel):
    """Where to search. Without addresses, by multicast."""

    model_config = ConfigDict(extra="forbid", strict=True)

    addresses: list[Annotated[str, Field(max_length=64)]] = Field(
        default_factory=list,
        max_length=ADDRESSES_MAX,
        description="IPv4 addresses, with a port or without, and private networks, as in `192.168.1.0/24`",
    )
    seconds: float | None = Field(
        default=None,
        ge=0,
        le=30,
        description="how long answers to multicast are awaited; 3, or with addresses 0, if it is missing",
    )


class DiscoverAnswer(BaseModel):
    """The devices that were found, by address."""

    devices: list[DiscoveredDevice]
    is_complete: bool = Field(description="false if the search took too long and was ended")


def _check_onvif_url(url: str) -> str:
    try:
        parts = parse(url)
    except CaptureError:
        raise ValueError("must be as in http://192.0.2.7/onvif/device_service") from None
    if parts.scheme not in ("http", "https") or parts.userinfo:
        raise ValueError("must be as in http://192.0.2.7/onvif/device_service, without user and password")
    return str(parts)


class DeviceRequest(BaseModel):
    """A device to look at: by its ONVIF address, or one with RTSP alone by its host."""

    model_config = ConfigDict(extra="forbid", strict=True)

    onvif_url: Annotated[str, Field(max_length=500), AfterValidator(_check_onvif_url)] | None = None
    address: str | None = Field(
        default=None, max_length=253, pattern=r"^[A-Za-z0-9.:-]+$", description="address or name"
    )
    rtsp_port: int = Field(default=554, ge=1, le=65_535)
    user: str | None = Field(default=None, max_length=200)
    password: SecretStr | None = Field(default=None, max_length=500, json_schema_extra={"writeOnly": True})
    pictures: bool = Field(default=True, description="whether to take a picture of each stream")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.onvif_url is None) == (self.address is None):
            raise ValueError("name either onvif_url or address")
        return self
