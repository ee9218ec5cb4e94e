"""ExportJob: what somebody wants exported, and how far that is. The tables have it as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from gateway.errors import BadRequestError, LiveedgeError

CAMERAS_MAX = 16

SPAN_MAX_90K = 24 * 3600 * CLOCK_RATE


class ExportState(StrEnum):
    """The state of an export."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        return self in (ExportState.DONE, ExportState.FAILED)


class NoSpaceError(LiveedgeError):
    """The disk, or the space for exports, is full (RFC 4918 §11.5)."""

    code = "no_space"
    status = 507


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """``cameras`` in [``start_90k``, ``end_90k``). Without a ``rendition``, the main stream, or what is recorded.
    ``is_part``: of the export of another node, with what this one has recorded. ``names``: what people call the
    cameras, by id, when the export is asked for.

    Raises :class:`~gateway.errors.BadRequestError` for more than an export can have.
    """

    cameras: tuple[str, ...]
    start_90k: int
    end_90k: int
    rendition: RenditionName | None = None
    burn_in_time: bool = False
    is_part: bool = False
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= len(self.cameras) <= CAMERAS_MAX or len({*self.cameras}) < len(self.cameras):
            raise BadRequestError(f"an export has 1 to {CAMERAS_MAX} cameras, each of them once").because(
                "export_cameras", limit=CAMERAS_MAX
            )
        if self.end_90k <= self.start_90k:
            raise BadRequestError("end is not after start").because("end_before_start")
        if self.end_90k - self.start_90k > SPAN_MAX_90K:
            raise BadRequestError("an export has 24 hours at most: make several").because("export_too_long", hours=24)

    def as_json(self) -> dict[str, Any]:
        return {
            "cameras": list(self.cameras),
            "start_90k": self.start_90k,
            "end_90k": self.end_90k,
            "rendition": self.rendition.value if self.rendition is not None else None,
            "burn_in_time": self.burn_in_time,
            "is_part": self.is_part,
            "names": dict(self.names),
        }

    @classmethod
    def of(cls, values: dict[str, Any]) -> "ExportRequest":
        name = values["rendition"]
        return cls(
            tuple(values["cameras"]),
            values["start_90k"],
            values["end_90k"],
            RenditionName(name) if name is not None else None,
            values["burn_in_time"],
            values.get("is_part", False),
            values.get("names", {}),
        )


@dataclass(slots=True)
class ExportJob:
    """``owner`` is the name of the credential. ``result``: ``size`` of the ZIP in bytes, or ``error`` and
    ``message``. ``progress`` is from 0 to 1."""

    id: str
    created_90k: int
    owner: str
    request: ExportRequest
    state: ExportState = ExportState.WAITING
    expires_90k: int | None = None
    result: dict[str, Any] = field(default_factory=dict)
    progress: float = 0.0

    @property
    def size(self) -> int:
        """Of its ZIP, in bytes; 0 if there is none."""
        return int(self.result.get("size", 0))
