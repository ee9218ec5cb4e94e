"""/api/cameras: what cameras there are, how they are, and the commands for people with curl."""

from typing import Any

from aiohttp import web
from pydantic import ValidationError

from gateway.camera import Camera
from gateway.errors import BadRequestError
from web.address_policy import check_target
from web.api import models
from web.api.answer import json_answer
from web.api.describe import describe
from web.api.models import CaptureCommand
from web.auth.requests import may_view
from web.gateway import GATEWAY

routes = web.RouteTableDef()


PATCHES = {"application/json": models.CameraPatch, "application/merge-patch+json": models.CameraPatch}


@routes.get("/api/cameras")
@describe("cameras", {200: models.CameraList})
async def list_cameras(request: web.Request) -> web.Response:
    """All cameras with their state, viewers and live edge."""
    cameras = [camera for camera in request.app[GATEWAY].service.cameras.values() if may_view(request, camera.id)]
    return json_answer(models.CameraList(cameras=[camera_answer(request.app, camera) for camera in cameras]))


@routes.get("/api/cameras/{camera}")
@describe("cameras", {200: models.Camera}, errors=(404,))
async def get_camera(request: web.Request) -> web.Response:
    """One camera."""
    camera = request.app[GATEWAY].service.camera(request.match_info["camera"])
    return json_answer(camera_answer(request.app, camera))


@routes.post("/api/cameras")
@describe("cameras", {201: models.Camera}, body=models.NewCamera, errors=(400, 409, 503))
async def add_camera(request: web.Request) -> web.Response:
    """Add a camera: ``{"camera_id": …, "url": …}`` and any setting of a camera's table."""
    table = await _json_object(request)
    camera_id = table.pop("camera_id", None)
    if not isinstance(camera_id, str):
        raise BadRequestError('camera_id is missing: {"camera_id": "door", "url": "rtsp://…"}')
    await _check_target(request, table)
    camera = await request.app[GATEWAY].add_camera(camera_id, table)
    headers = {"Location": f"/api/cameras/{camera_id}"}
    return json_answer(camera_answer(request.app, camera), status=201, headers=headers)


@routes.patch("/api/cameras/{camera}")
@describe("cameras", {200: models.Camera}, body=PATCHES, errors=(400, 404, 503))
async def change_camera(request: web.Request) -> web.Response:
    """Change a camera's settings: a JSON merge patch; only what it names changes, and ``null`` takes a setting back."""
    patch = await _json_object(request, "application/json", "application/merge-patch+json")
    await _check_target(request, patch)
    camera = await request.app[GATEWAY].change_camera(request.match_info["camera"], patch)
    return json_answer(camera_answer(request.app, camera))


@routes.delete("/api/cameras/{camera}")
@describe("cameras", {204: None}, errors=(404, 409, 503))
async def remove_camera(request: web.Request) -> web.Response:
    """Remove a camera; its recordings stay."""
    await request.app[GATEWAY].remove_camera(request.match_info["camera"])
    return web.Response(status=204)


@routes.post("/api/cameras/{camera}/capture/start")
@describe("cameras", {200: models.Camera}, body=CaptureCommand, body_required=False, errors=(400, 404))
async def start_capture(request: web.Request) -> web.Response:
    """``capture_start_request``, for people with curl."""
    command = await _command(request)
    service = request.app[GATEWAY].service
    camera = service.camera(request.match_info["camera"])
    await service.start_capture(command.client_id, camera.id, command.metadata)
    return json_answer(camera_answer(request.app, camera))


@routes.post("/api/cameras/{camera}/capture/stop")
@describe("cameras", {200: models.Camera}, body=CaptureCommand, body_required=False, errors=(400, 404))
async def stop_capture(request: web.Request) -> web.Response:
    """``capture_stop_request``, for people with curl."""
    command = await _command(request)
    service = request.app[GATEWAY].service
    camera = service.camera(request.match_info["camera"])
    await service.stop_capture(command.client_id, camera.id)
    return json_answer(camera_answer(request.app, camera))


def camera_answer(app: web.Application, camera: Camera) -> models.Camera:
    """A camera as the API shows it."""
    status = camera.status()
    return models.Camera(
        **{**dict(status), "live_edge": app[GATEWAY].live_edge(camera.id) or status.live_edge},
        record=camera.settings.record,
        start=camera.settings.start,
        webrtc=models.WebRtcStats.of([viewer.stats() for viewer in app[GATEWAY].webrtc.viewers_of(camera.id)]),
    )


async def _check_target(request: web.Request, table: dict[str, Any]) -> None:
    configured = [camera.settings for camera in request.app[GATEWAY].service.cameras.values()]
    await check_target(table, request.app[GATEWAY].camera_store.settings, configured)


async def _command(request: web.Request) -> CaptureCommand:
    if not request.can_read_body:
        return CaptureCommand()
    try:
        return CaptureCommand(**await _json_object(request))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise BadRequestError(f"{where}: {first['msg']}") from None


async def _json_object(request: web.Request, *types: str) -> dict[str, Any]:
    # Demanding the type makes a browser ask first (CORS) before it sends another site's form here.
    if request.content_type not in (types or ("application/json",)):
        raise BadRequestError("send the body as Content-Type: application/json")
    try:
        body = await request.json()
    except ValueError:
        raise BadRequestError("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadRequestError("the body is not a JSON object")
    return body
