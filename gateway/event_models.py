"""What clients send and get of an event, over HTTP and Socket.IO.

Rules:

1. Times in the past are allowed. One in the future may be :data:`FUTURE_S` ahead at most, since the clock of the sender
   may be ahead.
2. What a client sends is bounded, and can be answered as JSON to every client: no NUL, no lone surrogate, no NaN.
"""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from gateway.clock import CLOCK_RATE, seconds_90k, to_rfc3339
from gateway.errors import BadRequestError
from gateway.event import Event
from gateway.json_value import json_text
from gateway.times import TIME_HELP, parse_time

FUTURE_S = 60
"""How far the clock of a sender may be ahead."""

DURATION_MAX_S = 366 * 86_400

DATA_MAX_BYTES = 8 * 1024
"""JSON of one event: boxes, plates, a link. Pictures and lists of frames belong elsewhere."""

DATA_DEPTH_MAX = 16

TEXT_MAX = 64


# --- what a client sends


def check_text(text: str) -> str:
    """A label or a source. Raises ``ValueError`` for what cannot be shown on one line."""
    if not text.isprintable():
        raise ValueError("must have printable characters only")
    if text != text.strip():
        raise ValueError("must not begin or end with a space")
    return text


def check_data(data: dict[str, Any]) -> dict[str, Any]:
    """Rule 2. Raises ``ValueError``."""
    _check_depth(data)
    text = json_text(data)
    if len(text.encode()) > DATA_MAX_BYTES:
        raise ValueError(f"must be at most {DATA_MAX_BYTES} bytes of JSON")
    if "\\u0000" in text and _has_nul(data):
        raise ValueError("must not contain the character NUL")
    return data


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(DATA_DEPTH_MAX + 1):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise ValueError(f"must be nested at most {DATA_DEPTH_MAX} levels deep")


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(inner) for key, inner in value.items())
    return isinstance(value, list) and any(_has_nul(each) for each in value)


Text = Annotated[str, Field(min_length=1, max_length=TEXT_MAX), AfterValidator(check_text)]
Data = Annotated[dict[str, JsonValue], AfterValidator(check_data)]
Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def check_moment(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """A time as JSON has it: text or a number. Raises ``ValueError``, in place of one error for each type."""
    try:
        return check(value)
    except ValidationError:
        raise ValueError("must be a time: text or a number") from None


Moment = Annotated[str | int | float, WrapValidator(check_moment), Field(description=TIME_HELP)]


class EventFields(BaseModel):
    """The fields of a new event."""

    model_config = ConfigDict(strict=True)

    label: Annotated[Text, Field(description="what happened, such as `person` or `ring`")]
    start: Annotated[Moment, Field(description=f"now, if it is missing. {TIME_HELP}")] = "now"
    end: Annotated[
        Moment | None, Field(description=f"`null` or missing: the event goes on, until it gets an end. {TIME_HELP}")
    ] = None
    duration_s: Annotated[
        float | None,
        Field(ge=0, le=DURATION_MAX_S, allow_inf_nan=False, description="seconds, in place of `end`; 0 is a moment"),
    ] = None
    score: Annotated[Score | None, Field(description="how sure the source is, from 0 to 1")] = None
    source: Annotated[Text | None, Field(description="who found it; the gateway names the sender if missing")] = None
    data: Annotated[Data, Field(description=f"anything else, at most {DATA_MAX_BYTES} bytes of JSON")] = {}
    reviewed: bool = False
    protect: Annotated[bool, Field(description="whether the recordings that it covers are kept")] = False

    def event(self, camera_id: str, source: str, now_90k: int) -> Event:
        """The event. Raises :class:`~gateway.errors.BadRequestError`."""
        start_90k = _moment(self.start, "start", now_90k)
        end_90k = None if self.end is None else _moment(self.end, "end", now_90k)
        if self.duration_s is not None:
            if end_90k is not None:
                raise BadRequestError("end and duration_s are both given: give one of them")
            end_90k = _not_future(start_90k + seconds_90k(self.duration_s), "duration_s", now_90k)
        _check_order(start_90k, end_90k)
        return Event(
            str(uuid.uuid4()),
            camera_id,
            start_90k,
            end_90k,
            self.label,
            self.source or source,
            self.score,
            self.data,
            self.reviewed,
            self.protect,
            now_90k,
            now_90k,
        )


class EventPatchFields(BaseModel):
    """The fields of an event to change. ``null`` for ``end`` opens it again, for ``score`` and ``data`` removes them.

    Members of ``data`` are changed one by one; those that are ``null`` are removed (RFC 7396).
    """

    model_config = ConfigDict(strict=True)

    # No default: what is not given does not change.
    label: Text = Field(default_factory=str)
    start: Moment = Field(default_factory=int)
    end: Moment | None = None
    score: Score | None = None
    source: Text = Field(default_factory=str)
    data: dict[str, JsonValue] | None = None
    reviewed: bool = False
    protect: bool = False

    def apply(self, event: Event, now_90k: int) -> Event:
        """The changed event, or an equal one. Raises :class:`~gateway.errors.BadRequestError`."""
        given = self.model_fields_set
        values: dict[str, Any] = {name: getattr(self, name) for name in ("label", "score", "source") if name in given}
        if "start" in given:
            values["start_90k"] = _moment(self.start, "start", now_90k)
        if "end" in given:
            values["end_90k"] = None if self.end is None else _moment(self.end, "end", now_90k)
        if "reviewed" in given:
            values["is_reviewed"] = self.reviewed
        if "protect" in given:
            values["is_protected"] = self.protect
        if "data" in given:
            values["data"] = {} if self.data is None else _merged(event.data, self.data)
        changed = replace(event, **values)
        _check_order(changed.start_90k, changed.end_90k)
        return event if changed == event else replace(changed, updated_90k=now_90k)


def _merged(data: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """``data`` after a JSON merge patch (RFC 7396), checked."""
    try:
        _check_depth(patch)
        return check_data(_merge(data, patch))
    except ValueError as error:
        raise BadRequestError(f"data {error}") from None


def _merge(target: object, patch: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merge(result.get(name), value) if isinstance(value, dict) else value
    return result


def _moment(value: str | int | float, name: str, now_90k: int) -> int:
    return _not_future(moment_90k(value, name, now_90k), name, now_90k)


def moment_90k(value: str | int | float, name: str, now_90k: int) -> int:
    """A time as JSON has it. Raises :class:`~gateway.errors.BadRequestError`."""
    if not isinstance(value, str):
        # A number of JSON may have an exponent; a negative one, NaN and infinity are refused as text is.
        value = f"{value:.6f}" if isinstance(value, float) else str(value)
    return parse_time(value, name, now_90k)


def _not_future(time_90k: int, name: str, now_90k: int) -> int:
    if time_90k > now_90k + FUTURE_S * CLOCK_RATE:
        raise BadRequestError(
            f"{name} is more than {FUTURE_S} s in the future: the gateway's clock says {to_rfc3339(now_90k)}"
        )
    return time_90k


def _check_order(start_90k: int, end_90k: int | None) -> None:
    if end_90k is not None and end_90k < start_90k:
        raise BadRequestError("end is before start")
    if end_90k is not None and end_90k - start_90k > DURATION_MAX_S * CLOCK_RATE:
        raise BadRequestError(f"an event lasts at most {DURATION_MAX_S // 86_400} days")


# --- what a client gets

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""RFC 3339, UTC."""


class EventModel(BaseModel):
    """Something that happened on a camera."""

    model_config = ConfigDict(frozen=True)

    id: str
    camera_id: str
    start: Time
    end: Time | None = Field(default=None, description="null: it goes on")
    label: str
    score: float | None = Field(default=None, description="how sure the source is, from 0 to 1")
    source: str = Field(description="who found it")
    data: dict[str, JsonValue]
    reviewed: bool = Field(description="whether a person has seen it")
    protect: bool = Field(description="whether the recordings that it covers are kept")
    created: Time = Field(description="when the gateway heard of it")
    updated: Time = Field(description="when it was changed last")

    @classmethod
    def of(cls, event: Event) -> Self:
        """An event as clients see it."""
        return cls(
            id=event.id,
            camera_id=event.camera_id,
            start=to_rfc3339(event.start_90k),
            end=None if event.end_90k is None else to_rfc3339(event.end_90k),
            label=event.label,
            score=event.score,
            source=event.source,
            data=event.data,
            reviewed=event.is_reviewed,
            protect=event.is_protected,
            created=to_rfc3339(event.created_90k),
            updated=to_rfc3339(event.updated_90k),
        )
