"""``describe``: a decorator with the request and the answers of a route, for :mod:`web.api.openapi`.

The rest of the document comes from elsewhere: summaries from the handlers' docstrings, paths and path parameters from
the router, scopes from the access table. The decorator does not change the handler.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from gateway.times import TIME_HELP

H = TypeVar("H", bound=Callable[..., Any])

Model = type[BaseModel]

Answer = Model | str | None
"""A JSON model, a media type, or no body."""

ATTRIBUTE = "__description__"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or a header, with its JSON schema."""

    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False


@dataclass(frozen=True, slots=True)
class Description:
    """See the module. ``body`` maps media types to models; ``None`` is a body without a model."""

    tag: str
    answers: Mapping[int, Answer]
    query: Mapping[str, Parameter]
    headers: Mapping[str, Parameter]
    body: Mapping[str, Model | None]
    body_required: bool
    errors: Sequence[int]


def describe(
    tag: str,
    answers: Mapping[int, Answer],
    *,
    query: Mapping[str, Parameter] | None = None,
    headers: Mapping[str, Parameter] | None = None,
    body: Mapping[str, Model | None] | Model | None = None,
    body_required: bool = True,
    errors: Sequence[int] = (),
) -> Callable[[H], H]:
    """Describe a handler. ``errors`` are the error statuses that are specific to the route."""
    bodies = {} if body is None else body if isinstance(body, Mapping) else {"application/json": body}
    description = Description(tag, answers, query or {}, headers or {}, bodies, body_required, errors)

    def decorate(handler: H) -> H:
        setattr(handler, ATTRIBUTE, description)
        return handler

    return decorate


def description_of(handler: object) -> Description | None:
    """The description of a handler, or ``None``."""
    found = getattr(handler, ATTRIBUTE, None)
    return found if isinstance(found, Description) else None


# --- parameters of several routes

TIME: Mapping[str, Any] = {"type": "string", "examples": ["2026-11-23T18:50:00Z", "1795459800.5", "now"]}

SPAN = {
    "start": Parameter(f"Start of the time range. {TIME_HELP}", TIME),
    "end": Parameter(f"End of the time range. {TIME_HELP}", TIME),
}

WIDTH = Parameter(
    "Width in pixels. The height keeps the aspect ratio.", {"type": "integer", "minimum": 16, "maximum": 7680}
)

WAIT = Parameter(
    "Wait at most so many seconds for a camera that is starting. The default is also the most.",
    {"type": "integer", "minimum": 0},
)

RANGE = Parameter("A byte range of the file (RFC 9110 §14)", {"type": "string", "examples": ["bytes=0-1023"]})
