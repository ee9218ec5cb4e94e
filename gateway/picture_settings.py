"""The settings of what is made of a camera's decoded pictures: JPEG frames, and what detectors find."""

import re
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator

from gateway.config.field import Applies, SettingsGroup, setting


class DetectorName(StrEnum):
    """A detector that comes with liveedge."""

    MOTION = "motion"


class JpegSettings(SettingsGroup):
    """JPEG frames: MJPEG, Socket.IO and the frame callback."""

    title: ClassVar[str] = "JPEG"

    frame_rate: float = setting(
        10.0,
        gt=0,
        le=60,
        unit="frames/s",
        help="most JPEG frames per second; open streams keep the rate that they began with",
        applies=Applies.LIVE,
    )
    frame_width: int | None = setting(
        None,
        ge=16,
        le=7680,
        unit="px",
        unset="the camera's width",
        example=640,
        help="width of JPEG frames; open streams keep the width that they began with",
        applies=Applies.LIVE,
    )


ZONES_MAX = 16


def _check_detector(value: object) -> object:
    if value is None or (
        isinstance(value, str) and (value in tuple(DetectorName) or re.fullmatch(r"[\w.]+:\w+", value))
    ):
        return value
    raise ValueError("name motion, or your own detector as package.module:Class")


def _check_zones(value: str | None) -> str | None:
    zones(value)
    return value


def zones(text: str | None) -> tuple[tuple[float, float, float, float], ...]:
    """The rectangles of a ``detector_zones`` setting, as shares of the picture. Raises ``ValueError``."""
    found = []
    for part in filter(str.strip, (text or "").split(";")):
        try:
            left, top, width, height = (float(number) / 100 for number in part.split(","))
        except ValueError:
            left = -1.0
        if not (left >= 0 <= top and width > 0 < height and left + width <= 1.0001 >= top + height):
            raise ValueError(
                "is not left,top,width,height in percent of the picture; several are separated by semicolons"
            )
        found.append((left, top, width, height))
    if len(found) > ZONES_MAX:
        raise ValueError(f"has more than {ZONES_MAX} rectangles")
    return tuple(found)


class DetectorSettings(SettingsGroup):
    """What looks at the pictures of a camera."""

    title: ClassVar[str] = "Detectors"

    detector: Annotated[str | None, BeforeValidator(_check_detector)] = setting(
        None,
        unset="none",
        example=DetectorName.MOTION,
        help="what looks at the camera's keyframes and makes [events](events.md#detectors) of what it finds:"
        " `motion`, or your own as `package.module:Class`. It keeps the sub stream captured, or the main stream of a"
        " camera without one",
        applies=Applies.LIVE,
    )
    detector_sensitivity: float = setting(
        0.5,
        ge=0,
        le=1,
        help="how small and how faint a thing the detector finds; 1 is the most sensitive",
        unit="share",
        applies=Applies.LIVE,
    )
    detector_zones: Annotated[str | None, AfterValidator(_check_zones)] = setting(
        None,
        unset="all of the picture",
        example="0,40,100,60",
        help="rectangles of the picture in which the detector looks, each as left,top,width,height in percent; several"
        " are separated by semicolons",
        applies=Applies.LIVE,
    )
