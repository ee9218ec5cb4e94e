"""FrameOptions: the JPEG frames that a client wants of a camera, and what several clients of one receiver get. Sans-IO.

The EMS has one stream of frames for each camera, for all its clients together. It has the greatest frame rate,
width and quality of what they asked for. A client that asks for nothing counts with the camera's settings.
"""

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from gateway.jpeg.codec import JPEG_QUALITY

FrameRate = Annotated[float, Field(gt=0, le=60, description="frames per second, at most")]
Width = Annotated[int, Field(ge=16, le=7680, description="pixels, at most")]
Quality = Annotated[int, Field(ge=1, le=100, description=f"of the JPEG, on libjpeg's scale; {JPEG_QUALITY} without it")]


class FrameOptions(BaseModel):
    """See the module. ``None``: nothing was asked for; of ``width`` in a result, the camera's."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    frame_rate: FrameRate | None = None
    width: Width | None = None
    quality: Quality | None = None


def combined(wanted: Iterable[FrameOptions], frame_rate: float, width: int | None) -> tuple[float, int | None, int]:
    """Frame rate, width (``None``: the camera's) and quality for all of them. The other arguments are the settings."""
    each = tuple(wanted) or (FrameOptions(),)
    widths = [one.width or width for one in each]
    return (
        max(one.frame_rate or frame_rate for one in each),
        None if None in widths else max(one for one in widths if one is not None),
        max(one.quality or JPEG_QUALITY for one in each),
    )
