"""Event: something that happened on a camera, between two moments of the wall clock.

HTTP and Socket.IO take and answer events in the models of :mod:`gateway.event_models`. :mod:`hls.events` keeps them.

Rules:

1. An event without an end is *open*: it goes on. A moment is an event whose end is its start.
2. An event of a camera that was removed stays, as the camera's recordings do.
"""

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from gateway.errors import BadRequestError

PAGE_MAX = 1000
"""Events in one answer."""

PAGE_DEFAULT = 100

EVENT_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


class ChangeKind(StrEnum):
    """What became of an event."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Event:
    """See the module. ``score`` is from 0 to 1. ``is_protected``: the recordings that it covers are kept.

    ``created_90k`` and ``updated_90k`` are when this gateway heard of it.
    """

    id: str
    camera_id: str
    start_90k: int
    end_90k: int | None
    label: str
    source: str
    score: float | None = None
    data: dict[str, Any] = field(default_factory=dict)
    is_reviewed: bool = False
    is_protected: bool = False
    created_90k: int = 0
    updated_90k: int = 0

    @property
    def is_open(self) -> bool:
        """Rule 1."""
        return self.end_90k is None


@dataclass(frozen=True, slots=True)
class EventChange:
    """A change of an event. ``number`` grows with each change and is never used twice in one index.

    ``event`` is the event as it is now, or was when it was deleted. ``node`` has it, where the
    changes are of several nodes.
    """

    number: int
    kind: ChangeKind
    event: Event
    node: str = ""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a list has. ``cameras``: ``None`` is all. Texts are compared without case."""

    cameras: frozenset[str] | None = None
    start_90k: int | None = None
    end_90k: int | None = None
    labels: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    text: str | None = None
    is_reviewed: bool | None = None


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key that makes a repeated request harmless: whose it is, and the digest of the request."""

    owner: str
    key: str
    digest: str

    @classmethod
    def of(cls, owner: str, key: str, request: object) -> Self:
        """The key of a request, which is a value of JSON."""
        return cls(owner, key, hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest())


class EventOrder(StrEnum):
    """The order of a list, by the start of its events."""

    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in order, and where the next page begins. ``away``: nodes of a cluster whose events are missing."""

    events: list[Event]
    next_cursor: str | None
    away: tuple[str, ...] = ()


# --- cursors


def cursor_of(event: Event) -> str:
    """Where the page after an event begins."""
    return base64.urlsafe_b64encode(f"{event.start_90k}/{event.id}".encode()).decode().rstrip("=")


def parse_cursor(text: str) -> tuple[int, str]:
    """The inverse of :func:`cursor_of`. Raises :class:`~gateway.errors.BadRequestError`."""
    try:
        start, _, event_id = base64.urlsafe_b64decode(text[:200] + "==").decode("ascii").partition("/")
        if start.isdecimal() and len(start) <= 18 and EVENT_ID.fullmatch(event_id):
            return int(start), event_id
    except (binascii.Error, ValueError):
        pass
    raise BadRequestError("cursor is not valid: use next_cursor of the previous answer, or leave it out")
