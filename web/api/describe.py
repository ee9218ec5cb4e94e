"""``describe``: what a route takes and gives, said at the route itself; :mod:`web.api.openapi` makes the document of
it.

The summary is the handler's docstring, the address and its parameters are the router's, and the scope is the access
table's: here is only what none of them knows. The decorator changes nothing about the handler.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from web.api.times import TIME_HELP

H = TypeVar("H", bound=Callable[..., Any])

Model = type[BaseModel]

Answer = Model | str | None
"""A JSON model, a media type, or nothing."""

ATTRIBUTE = "__description__"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or a header, with its JSON schema."""

    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False


@dataclass(frozen=True, slots=True)
class Description:
    """See the module. ``body`` is a JSON model or, as ``{media type: model}``, whatever else can be sent."""

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
    """Say what a handler takes and gives. ``errors`` are the statuses of errors that belong to it in particular."""
    bodies = {} if body is None else body if isinstance(body, Mapping) else {"application/json": body}
    description = Description(tag, answers, query or {}, headers or {}, bodies, body_required, errors)

    def decorate(handler: H) -> H:
        setattr(handler, ATTRIBUTE, description)
        return handler

    return decorate


def description_of(handler: object) -> Description | None:
    """What was said of a handler."""
    found = getattr(handler, ATTRIBUTE, None)
    return found if isinstance(found, Description) else None


# --- parameters that several routes take

TIME: Mapping[str, Any] = {"type": "string", "examples": ["2026-11-23T18:50:00Z", "1795459800.5", "now"]}

SPAN = {
    "start": Parameter(f"From here on. {TIME_HELP}", TIME),
    "end": Parameter(f"Up to here. {TIME_HELP}", TIME),
}

WIDTH = Parameter("Width in pixels; the height follows", {"type": "integer", "minimum": 16, "maximum": 7680})

RANGE = Parameter("Part of the file, in bytes (RFC 9110 §14)", {"type": "string", "examples": ["bytes=0-1023"]})
