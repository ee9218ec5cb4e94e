"""Parts of a request that several routes read: time ranges, segments, JSON bodies."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from gateway.camera_settings import RenditionName
from gateway.config.faults import describe
from gateway.errors import BadRequestError, NotFoundError
from gateway.times import parse_span
from hls.archive.segment import parse_name
from hls.mp4.silence import Silence, parse_silence
from hls.playback.activity import ActivityReader
from hls.playback.clip import Span
from hls.playback.composite_file import CompositeFile
from signaling.recordings import Recordings
from web.api.describe import Parameter
from web.auth.authenticator import NODE_TOKEN
from web.auth.requests import token_query
from web.cluster.all_activity import AllActivity
from web.cluster.away_recordings import READING
from web.cluster.nodes import away_header
from web.gateway import GATEWAY

M = TypeVar("M", bound=BaseModel)

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"

RENDITIONS = ["auto", *(name.value for name in RenditionName)]


def segment_id(request: web.Request) -> str:
    """The segment's name in the path. Raises :class:`~gateway.errors.NotFoundError` unless it is a valid name."""
    name = request.match_info["segment"]
    if parse_name(name) is None:
        raise NotFoundError(f"{name[:60]!r} is not a segment: segments have names like segment_20261122T185000Z")
    return name


def recordings_of(request: web.Request) -> Recordings:
    """The recordings of all nodes of a cluster; for another node, this one's own."""
    gateway = request.app[GATEWAY]
    return gateway.own_recordings if NODE_TOKEN in request.headers else gateway.recordings


def activity_of(request: web.Request) -> ActivityReader | AllActivity:
    """The activity of what all nodes of a cluster recorded; for another node, of what this one did."""
    gateway = request.app[GATEWAY]
    return gateway.own_activity if NODE_TOKEN in request.headers else gateway.activity


@contextlib.asynccontextmanager
async def clip_of(
    request: web.Request,
    camera_id: str,
    start_90k: int,
    end_90k: int,
    rendition: RenditionName | None,
    most_of: Span | None = None,
) -> AsyncIterator[tuple[CompositeFile, dict[str, str]]]:
    """A clip of what all nodes of a cluster recorded, with fields for the answer. Raises as the reader's ``clip``.

    With the parameter ``node``, and of a node that is away, it is of that node alone.
    """
    gateway = request.app[GATEWAY]
    if gateway.node is None or READING.get() is not None or "node" in request.query:
        async with gateway.archive_reader.clip(camera_id, start_90k, end_90k, rendition, most_of) as file:
            yield file, {}
        return
    async with gateway.node.clips.clip(camera_id, start_90k, end_90k, rendition, most_of) as (file, away):
        yield file, away_header(away)


def is_of_node(request: web.Request) -> bool:
    """Whether another node of the cluster asks for itself, and not for a client."""
    return NODE_TOKEN in request.headers and "X-Forwarded-For" not in request.headers


def archive_query(request: web.Request) -> str:
    """What every URL of a recording in the answer needs: the token of the request, and the node in a cluster."""
    cluster = request.app[GATEWAY].cluster
    stored = READING.get()
    name = cluster.coordinator.node.name if cluster is not None else ""
    node = f"node={stored.name if stored is not None else name}" if name else ""
    return "&".join(filter(None, (token_query(request), node)))


def time_range(request: web.Request) -> tuple[int | None, int | None]:
    """``start`` and ``end`` in 90 kHz ticks. Raises :class:`~gateway.errors.BadRequestError`."""
    return parse_span(request.query, request.app[GATEWAY].clock.wall_90k())


def wait_s(request: web.Request, most_s: float) -> float:
    """How many seconds the client lets its request wait for a camera, at most ``most_s``.

    Raises :class:`~gateway.errors.BadRequestError`.
    """
    text = request.query.get("wait")
    if text is None:
        return most_s
    if not (text.isascii() and text.isdecimal() and len(text) < 6):
        raise BadRequestError("wait must be a whole number of seconds")
    return min(float(text), most_s)


RENDITION = {
    "rendition": Parameter(
        "The stream that was recorded: `main` or `sub` alone. `auto`, or none: both, or the best", {"enum": RENDITIONS}
    )
}


def parse_rendition(request: web.Request, name: str = "rendition") -> RenditionName | None:
    """The stream that a query asks for; ``None`` for none or ``auto``. Raises ``BadRequestError``."""
    text = request.query.get(name)
    if text is None or text == "auto":
        return None
    try:
        return RenditionName(text)
    except ValueError:
        raise BadRequestError(f"{name}: {text[:20]!r} is no stream of a camera: name auto, main or sub") from None


SILENCE = {
    "silence": Parameter("With a track of silence, for video that was recorded without sound: as a playlist has it")
}


def silence_of(request: web.Request) -> Silence | None:
    """The silence that a query asks for. Raises :class:`~gateway.errors.BadRequestError`."""
    text = request.query.get("silence")
    return None if text is None else parse_silence(text)


async def require_recorded_camera(request: web.Request, camera_id: str) -> None:
    """Raise :class:`~gateway.errors.NotFoundError` unless the camera is configured or has recordings."""
    await request.app[GATEWAY].recordings.require_camera(camera_id)


async def read_object(request: web.Request, *media_types: str) -> dict[str, Any]:
    """The body, a JSON object. Raises :class:`~gateway.errors.BadRequestError`."""
    # Requiring the type makes a browser ask first (CORS) before it sends another site's form here.
    if request.content_type not in (media_types or (JSON,)):
        raise BadRequestError(f"send the body as Content-Type: {JSON}")
    try:
        # By its bytes: JSON is Unicode, whatever charset the type names (RFC 8259 §8.1, §11).
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise BadRequestError("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadRequestError("the body is not a JSON object")
    return body


async def read_model(request: web.Request, model: type[M], *media_types: str) -> M:
    """The body, as ``model``. Raises :class:`~gateway.errors.BadRequestError` with the first mistake."""
    return as_model(await read_object(request, *media_types), model)


def as_model(body: dict[str, Any], model: type[M]) -> M:
    """A body that was read, as ``model``. Raises :class:`~gateway.errors.BadRequestError` with the first mistake."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        # The value is not repeated: it may be a secret.
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        limits = {name: value for name, value in first.get("ctx", {}).items() if isinstance(value, str | int | float)}
        raise BadRequestError(f"{where}: {describe(first)}").because(
            "field_invalid", **{**limits, "field": where, "problem": first["type"]}
        ) from None
