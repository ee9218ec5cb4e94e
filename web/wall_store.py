"""WallStore: the saved walls: which cameras are shown together, in which order, columns and streams.

Rules:

1. Walls are in ``DATA_DIR/walls.json``, which is replaced atomically, and is on disk before a change is confirmed.
2. A wall is no reason not to show video: a file that cannot be read is reported, and left as it is. Until it is
   repaired or moved away there are no walls, and none can be saved.
3. In a cluster, walls are in its database, and each node has in memory what it has read. While the database is away,
   these are shown, and none can be saved.
4. At most :data:`WALLS_MAX` walls, of :data:`TILES_MAX` tiles each.
5. A camera that is gone stays in its walls: it may come back. Who shows a wall leaves it out.
6. A change that names the revision of the wall that it was made of (empty: none) replaces no other one.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sized
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.camera_settings import CAMERA_ID
from gateway.errors import ConflictError, NotFoundError, UnavailableError
from web.cluster.documents import ClusterDocuments
from web.private_files import write_private

log = logging.getLogger(__name__)

FILE_NAME = "walls.json"
VERSION = 1

WALLS_MAX = 200
TILES_MAX = 64
COLUMNS_MAX = 12
TOUR_MIN_S, TOUR_MAX_S = 3, 3600


class WallTile(BaseModel):
    """A camera on a wall."""

    model_config = ConfigDict(extra="forbid")

    camera_id: Annotated[str, Field(pattern=f"^{CAMERA_ID.pattern}$")]
    rendition: Literal["auto", "main", "sub"] = Field(
        description="the stream that is shown; `auto` chooses by the size of the tile and the network"
    )


class WallSettings(BaseModel):
    """A wall without its id: what is saved."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100, description="what people call it, in any language")]
    columns: Annotated[int, Field(ge=0, le=COLUMNS_MAX, description="0: as many as make the tiles largest")] = 0
    tiles: Annotated[list[WallTile], Field(min_length=1, max_length=TILES_MAX, description="from left to right")]
    tour_s: Annotated[int, Field(ge=TOUR_MIN_S, le=TOUR_MAX_S)] | None = Field(
        default=None, description="how many seconds a tour of the walls shows it; null: it is not in the tour"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({tile.camera_id for tile in self.tiles}) < len(self.tiles):
            raise ValueError("a camera is on a wall once")
        return self


def revision_of(wall: WallSettings) -> str:
    """What differs between two states of a wall: 16 hexadecimal digits of a hash."""
    return hashlib.sha256(wall.model_dump_json().encode()).hexdigest()[:16]


class WallStore:
    """See the module. Reads the walls when it is made: blocking. ``shared``: those of a cluster, and not of a file."""

    def __init__(self, data_dir: Path, shared: ClusterDocuments | None = None) -> None:
        self._shared = shared
        self.path = data_dir / FILE_NAME
        self._lock = asyncio.Lock()
        self.error: str | None = None
        """Why the file cannot be used; rule 2."""
        self._walls: dict[str, WallSettings] = {}
        if shared is not None:
            self._walls = _parse(shared.now())
            return
        try:
            self._walls = _read(self.path)
        except OSError as error:
            self._refuse(f"cannot be read ({error.strerror}): give it to the user that runs liveedge")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._refuse("is damaged or was not written by liveedge: restore a copy, or move it away")

    @property
    def walls(self) -> dict[str, WallSettings]:
        """All walls by their id, in the order in which they were made."""
        return dict(self._walls)

    async def refresh(self) -> None:
        """Read what other nodes have changed; nothing of a file. Raises ``UnavailableError``."""
        if self._shared is not None:
            async with self._lock:
                self._walls = _parse(await self._shared.read())

    async def put(self, wall_id: str, wall: WallSettings, revision: str | None = None) -> bool:
        """Save a wall; whether it is new. Rule 6. Raises ``ConflictError`` and ``UnavailableError``."""
        async with self._lock:
            if self._shared is not None and revision is not None:
                self._walls = _parse(await self._shared.read())
            _require_revision(self._walls.get(wall_id), revision)
            if self._shared is not None:
                is_new = await self._shared.put(wall_id, wall.model_dump_json(), _require_room)
                self._walls = {**self._walls, wall_id: wall}
                return is_new
            is_new = wall_id not in self._walls
            if is_new:
                _require_room(self._walls)
            await self._save({**self._walls, wall_id: wall})
            return is_new

    async def remove(self, wall_id: str) -> None:
        """Remove a wall. Raises ``NotFoundError`` and ``UnavailableError``."""
        async with self._lock:
            is_there = wall_id in self._walls
            if self._shared is not None:
                is_there = await self._shared.remove([wall_id])
            if not is_there:
                raise NotFoundError(f"there is no wall {wall_id[:64]!r}; GET /api/walls lists all").because("wall_gone")
            others = {key: wall for key, wall in self._walls.items() if key != wall_id}
            if self._shared is not None:
                self._walls = others
            else:
                await self._save(others)

    def problems(self) -> Iterator[tuple[str, str, None, str]]:
        """For :mod:`web.observability.health`."""
        if self.error is not None:
            yield ("settings", "walls_unreadable", None, f"the saved walls are not shown: {self.error}")

    def _refuse(self, why: str) -> None:
        self.error = f"{self.path} {why}, and restart the gateway"
        log.error("walls: %s", self.error)

    async def _save(self, walls: dict[str, WallSettings]) -> None:
        if self.error is not None:
            raise UnavailableError(f"walls cannot be saved: {self.error}", retry_after_s=60)
        tables = {wall_id: wall.model_dump() for wall_id, wall in walls.items()}
        data = json.dumps({"version": VERSION, "walls": tables}, indent=2, ensure_ascii=False).encode()
        try:
            await asyncio.to_thread(write_private, self.path, data)
        except OSError as error:
            raise UnavailableError(
                f"the wall was not saved, because DATA_DIR cannot be written ({error.strerror})", retry_after_s=30
            ) from None
        self._walls = walls


def _require_revision(saved: WallSettings | None, revision: str | None) -> None:
    if revision is not None and revision != ("" if saved is None else revision_of(saved)):
        raise ConflictError(
            "somebody else has saved this wall since it was opened; save it again to replace what they saved"
        ).because("wall_changed")


def _require_room(walls: Sized) -> None:
    if len(walls) >= WALLS_MAX:
        raise ConflictError(f"there are {WALLS_MAX} walls, the limit; DELETE removes one").because(
            "limit_reached", limit=WALLS_MAX
        )


def _parse(documents: Mapping[str, str]) -> dict[str, WallSettings]:
    """One that a newer liveedge wrote, and this one cannot read, is left out."""
    walls = {}
    for wall_id, body in documents.items():
        try:
            walls[wall_id] = WallSettings.model_validate_json(body)
        except ValidationError as error:
            log.warning("the wall %s of the cluster is not shown: %s", wall_id, error)
    return walls


def _read(path: Path) -> dict[str, WallSettings]:
    """Raises ``OSError``, and others for what is no such file."""
    try:
        kept = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    if kept["version"] != VERSION:
        raise ValueError("unknown version")
    try:
        return {str(wall_id): WallSettings.model_validate(table) for wall_id, table in kept["walls"].items()}
    except ValidationError as error:
        raise ValueError(str(error)) from None
