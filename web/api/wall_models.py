"""What the HTTP API answers about walls, as models; see :mod:`web.api.models`."""

from pydantic import BaseModel, Field

from web.wall_store import WallSettings


class Wall(WallSettings):
    """A saved wall."""

    wall_id: str
    revision: str = Field(description="another one after each change")


class WallChange(WallSettings):
    """A wall that is saved."""

    revision: str | None = Field(
        default=None,
        description="that of the wall that was changed, or empty for a new one: 409 if another one is saved by now;"
        " null: whatever is saved is replaced",
    )


class WallList(BaseModel):
    """The saved walls, in the order in which they were made."""

    walls: list[Wall] = Field(description="with the cameras alone that the token may view; without those of none")
