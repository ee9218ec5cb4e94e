"""``/openapi.json``: the HTTP API as an OpenAPI 3.1 document, generated from the router and the routes' descriptions.

Paths and path parameters come from the router, summaries from the handlers' docstrings, scopes from the access table,
bodies and answers from :func:`web.api.describe.describe`. A route without a description is left out; a test fails then.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from signaling.asyncapi import as_markdown
from web.api.describe import Answer, Description, Parameter, description_of
from web.api.models import Error
from web.api.webhook_messages import MESSAGES, VERSION
from web.auth.policy import ROUTES, CameraMatch

REFS = "#/components/schemas/{model}"

PATH_PARAMETERS = {
    "camera": "The camera's id",
    "viewer": "The viewer's id, as in Location",
    "event": "The event's id",
    "export": "The export's id",
    "wall": "The wall's id",
    "subscription": "The subscription's id",
    "id": "The id, as in the list",
    "webhook": "The webhook's name, as in [webhooks.NAME]",
    "segment": "The archive segment's id, as in segment_20261122T185000Z",
    "init": "The init segment's id, as in EXT-X-MAP",
    "name": "The file's name, as in the playlist",
    "file": "The file's name",
}

TAGS = {
    "devices": "Cameras on the network, before they are added",
    "cameras": "Cameras, their status, and the state of the gateway",
    "WebRTC": "WebRTC over HTTP (WHEP)",
    "HLS": "Low-Latency HLS, live and from the archive",
    "archive": "Recordings",
    "evidence": "Proofs that recordings are as they were made, and exports of them",
    "events": "What happened on the cameras",
    "webhooks": "Messages to other programs' HTTP servers",
    "notifications": "Messages to browsers that have subscribed (Web Push)",
    "pictures": "JPEG and MJPEG",
    "access": "Permissions, tokens, sign-in and signed URLs",
    "cluster": "What the nodes of a cluster ask of each other",
    "machines": "Health, metrics and API documents",
    "page": "The web page and its files",
}


Route = tuple[str, str, Callable[..., Any]]
"""Method, path with names of parameters in braces, and handler."""


def routes_of(app: web.Application) -> tuple[Route, ...]:
    """The routes of an application that the document describes."""
    return tuple(
        (route.method, route.resource.canonical, route.handler)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD" and description_of(route.handler) is not None
    )


def openapi_document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The OpenAPI document of :func:`routes_of` an application."""
    operations = list(_operations(routes))
    answers = (
        {Error}
        | {data for data, _ in MESSAGES.values()}
        | {model for _, _, _, description in operations for model in _answers(description)}
    )
    bodies = {model for _, _, _, description in operations for model in description.body.values() if model is not None}
    _, schemas = models_json_schema(
        [
            *((model, "serialization") for model in sorted(answers, key=lambda model: model.__name__)),
            *((model, "validation") for model in sorted(bodies, key=lambda model: model.__name__)),
        ],
        ref_template=REFS,
        schema_generator=_Schemas,
    )
    paths: dict[str, dict[str, Any]] = {}
    first: dict[str, str] = {}
    for method, path, handler, description in operations:
        # Two templates that differ only in the name of a parameter are one path (OpenAPI 3.1 §4.8.8.2).
        path = first.setdefault(re.sub(r"\{\w+\}", "{}", path), path)
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, handler, description)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "liveedge",
            "version": version,
            "description": "Live video and recordings of RTSP cameras. Times in requests are RFC 3339 with a zone, or"
            " Unix seconds. Times in answers are RFC 3339 UTC. /asyncapi.json describes the Socket.IO events.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "webhooks": {kind: {"post": _webhook(kind, data, when)} for kind, (data, when) in MESSAGES.items()},
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "signed": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "token",
                    "description": "A short-lived token for one URL, from POST /api/sign",
                },
            },
        },
    }
    return as_markdown(document)


class _Schemas(GenerateJsonSchema):
    """An answer has every field of its model; a request body may leave out those with a default."""

    def field_is_required(self, field: Any, *rest: Any, **options: Any) -> bool:
        return self.mode == "serialization" or super().field_is_required(field, *rest, **options)


def _operations(routes: Iterable[Route]) -> Iterator[tuple[str, str, object, Description]]:
    for method, path, handler in routes:
        description = description_of(handler)
        if description is not None:
            yield method, path, handler, description


def _operation(method: str, path: str, handler: object, description: Description) -> dict[str, Any]:
    summary, _, rest = (inspect.getdoc(handler) or "").partition("\n")
    rule = ROUTES.get((method, path))
    access = ""
    security: list[dict[str, list[str]]] = []
    if rule is not None and rule.is_for_nodes:
        access = "Needs the key that the nodes of a cluster share."
    elif rule is not None and not rule.is_public:
        if rule.scope is not None:
            access = f"Needs the scope `{rule.scope.value}`" + (
                " for every camera." if rule.cameras is CameraMatch.ALL else "."
            )
        security = [{}, {"bearer": []}]
        if rule.family is not None:
            security.append({"signed": []})
    operation: dict[str, Any] = {
        "operationId": getattr(handler, "__name__", "") + ("" if method != "OPTIONS" else f"_{len(path)}"),
        "tags": [description.tag],
        "summary": summary,
        "description": "\n\n".join(part for part in (rest.strip(), access) if part),
        "security": security,
        "parameters": [
            *(_path_parameter(name) for name in re.findall(r"\{(\w+)\}", path)),
            *(_parameter(name, "query", parameter) for name, parameter in description.query.items()),
            *(_parameter(name, "header", parameter) for name, parameter in description.headers.items()),
        ],
        "responses": {
            **{str(status): _answer(status, answer) for status, answer in description.answers.items()},
            **{str(status): _answer(status, Error) for status in description.errors},
            "default": {"description": "Any other error", **_content(Error)},
        },
    }
    if description.body:
        operation["requestBody"] = {
            "required": description.body_required,
            "content": {kind: {"schema": _schema(model)} for kind, model in description.body.items()},
        }
    return operation


def _webhook(kind: str, data: type[BaseModel], when: str) -> dict[str, Any]:
    """A message to an endpoint of ``[webhooks.NAME]``, as the operation that the endpoint serves."""
    properties = {
        "type": {"const": kind},
        "version": {"const": VERSION},
        "timestamp": {"type": "string", "format": "date-time", "description": "when it happened"},
        "data": _schema(data),
    }
    body = {"type": "object", "properties": properties, "required": list(properties)}
    return {
        "operationId": f"webhook_{kind.replace('.', '_')}",
        "tags": ["webhooks"],
        "summary": when[:1].upper() + when[1:],
        "description": "Signed by the Standard Webhooks specification.",
        "parameters": [
            _parameter("webhook-id", "header", Parameter("the same in each attempt", required=True)),
            _parameter("webhook-timestamp", "header", Parameter("Unix seconds of the attempt", required=True)),
            _parameter("webhook-signature", "header", Parameter("`v1,` and base64; several by spaces", required=True)),
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"2XX": {"description": "The message is taken"}, "default": {"description": "It is sent again"}},
    }


def _path_parameter(name: str) -> dict[str, Any]:
    text = PATH_PARAMETERS.get(name, "")
    return {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string"}}


def _parameter(name: str, where: str, parameter: Parameter) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": parameter.required,
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }


def _answer(status: int, answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        described["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
    return described | _content(answer)


def _content(answer: Answer) -> dict[str, Any]:
    if answer is None:
        return {}
    if isinstance(answer, str):
        return {"content": {answer: {}}}
    return {"content": {"application/json": {"schema": _schema(answer)}}}


def _schema(model: type[BaseModel] | None) -> dict[str, Any]:
    return {"type": "string"} if model is None else {"$ref": REFS.format(model=model.__name__)}


def _answers(description: Description) -> Iterator[type[BaseModel]]:
    for answer in description.answers.values():
        if isinstance(answer, type):
            yield answer
