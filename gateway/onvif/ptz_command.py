"""PtzCommand: a movement, as HTTP and Socket.IO take it."""

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

TIMEOUT_MAX_S = 2.0
"""Of a movement. Over HTTP, and behind an EMS, nobody sees that a client has died: its camera turns no longer."""

_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML document can have (XML 1.0 §2.2): a camera would take the whole message for broken."""

Share = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
Place = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class PtzFields(BaseModel):
    """What to do. ``pan`` is positive to the right, ``tilt`` up, ``zoom`` in."""

    model_config = ConfigDict(strict=True)

    action: Literal["move", "step", "stop", "home", "preset", "center"] = Field(
        description="`move` until `timeout_s` or the next command, `step` by a share of the range, `stop`, `home`, go"
        " to a `preset`, or turn so that `x`, `y` of the picture is its `center`"
    )
    pan: Share = 0.0
    tilt: Share = 0.0
    zoom: Share = 0.0
    timeout_s: Annotated[float, Field(ge=0.1, le=TIMEOUT_MAX_S, allow_inf_nan=False)] = 1.0
    preset: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(default=None, description="its token")
    x: Place | None = Field(default=None, description="0 is the left edge")
    y: Place | None = Field(default=None, description="0 is the upper edge")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.action in ("move", "step") and not (self.pan or self.tilt or self.zoom):
            raise ValueError(f"{self.action} needs pan, tilt or zoom")
        if self.action == "preset" and self.preset is None:
            raise ValueError("preset needs the token of a preset")
        if self.preset is not None and _NOT_XML.search(self.preset):
            raise ValueError("preset has control characters")
        if self.action == "center" and (self.x is None or self.y is None):
            raise ValueError("center needs x and y")
        return self


class PtzPreset(BaseModel):
    """A place that the camera remembers."""

    token: str
    name: str


class PtzState(BaseModel):
    """What the camera can do."""

    camera_id: str
    can_move: bool
    can_step: bool
    can_zoom: bool
    can_center: bool = Field(description="whether it can turn to a place of the picture")
    is_center_estimated: bool = Field(
        description="whether it does not say what its picture spans: it gets near the place"
    )
    presets: list[PtzPreset]
