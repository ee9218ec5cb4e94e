"""The AsyncAPI 3 document of all Socket.IO events, generated from :data:`signaling.events.EVENTS`.

AsyncAPI speaks of what an application *receives* and *sends*; the application is the gateway. Each event is a message
on the channel of every endpoint that carries it. Its acknowledgement is the ``reply`` of the operation. Socket.IO has
no binding in AsyncAPI: a message's ``name`` is the event's name.
"""

from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from signaling.answers import Refusal
from signaling.events import EVENTS, EVENTS_VERSION, Direction, Endpoint, Event

CHANNELS = {
    Endpoint.EMS: ("ems", "The gateway as client of the Event Management Service at SOCKETIO_SERVER_URL?type=service."),
    Endpoint.BROWSER: ("browser", "The gateway's own Socket.IO server at /socket.io/, default namespace."),
}

TEXTS = {"description", "summary", "title"}
"""Keys of an API document whose values are text for people."""


def asyncapi_document(version: str) -> dict[str, Any]:
    """The document that ``/asyncapi.json`` serves. ``version`` is the gateway's; the document has its own."""
    received = dict.fromkeys(event.model for event in EVENTS if event.direction is Direction.IN)
    sent = dict.fromkeys(event.model for event in EVENTS if event.direction is Direction.OUT)
    sent |= dict.fromkeys(event.ack for event in EVENTS if event.ack is not None)
    sent[Refusal] = None
    modes: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        *((model, "validation") for model in received),
        *((model, "serialization") for model in sent if model not in received),
    ]
    _, definitions = models_json_schema(modes, ref_template="#/components/schemas/{model}", schema_generator=_Schemas)
    messages: dict[str, Any] = {}
    for event in EVENTS:
        messages[_key(event)] = {
            "name": event.name,
            "title": event.summary,
            "payload": _schema(event.model),
        }
        if event.ack is not None:
            messages[f"{_key(event)}_ack"] = {
                "name": event.name,
                "title": f"Acknowledgement of {event.name}",
                "payload": {"oneOf": [_schema(event.ack), _schema(Refusal)]},
            }
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for endpoint, (name, description) in CHANNELS.items():
        passing = [event for event in EVENTS if endpoint in event.endpoints]
        keys = [_key(event) for event in passing]
        keys += [f"{_key(event)}_ack" for event in passing if event.ack is not None]
        channels[name] = {
            "address": "/socket.io/",
            "description": description,
            "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in keys},
        }
        for event in passing:
            operations[f"{name}_{_key(event)}"] = _operation(event, name)
    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "liveedge",
            "version": EVENTS_VERSION,
            "x-gateway-version": version,
            "description": "Commands to the gateway, camera status, WebRTC signaling and JPEG frames over Socket.IO.",
            "license": {"name": "Apache-2.0"},
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": definitions["$defs"]},
    }
    return as_markdown(document)


def as_markdown(document: dict[str, Any]) -> dict[str, Any]:
    """A copy of an API document with code in single backticks (Markdown); docstrings have double ones."""
    return {key: _as_markdown(value, key) for key, value in document.items()}


def _as_markdown(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return as_markdown(value)
    if isinstance(value, list):
        return [_as_markdown(each, key) for each in value]
    return value.replace("``", "`") if isinstance(value, str) and key in TEXTS else value


class _Schemas(GenerateJsonSchema):
    """Data that the gateway sends has every field, except those whose value is ``None``."""

    def field_is_required(self, field: Any, *rest: Any, **options: Any) -> bool:
        if self.mode == "validation":
            return super().field_is_required(field, *rest, **options)
        return field["schema"].get("default", ...) is not None


def _operation(event: Event, channel: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "action": "receive" if event.direction is Direction.IN else "send",
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": event.summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{_key(event)}"}],
    }
    if event.ack is not None:
        operation["reply"] = {
            "channel": {"$ref": f"#/channels/{channel}"},
            "messages": [{"$ref": f"#/channels/{channel}/messages/{_key(event)}_ack"}],
        }
    return operation


def _key(event: Event) -> str:
    # The direction is part of the key because webrtc_ice_candidate is sent in both.
    return f"{event.name}_{event.direction.value}"


def _schema(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
