"""What the HTTP API answers about walls, as models; see :mod:`web.api.models`."""

from pydantic import BaseModel, Field

from web.wall_store import WallSettings


class Wall(WallSettings):
    """A saved wall."""

    wall_id: str


class WallList(BaseModel):
    """The saved walls, in the order in which they were made."""

    walls: list[Wall] = Field(description="with the cameras alone that the token may view; without those of none")
