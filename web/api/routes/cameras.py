"""``/api/cameras``: list, add, change and remove cameras, and start or stop their capture."""

from typing import Any

from aiohttp import web

from gateway.awaited import AWAITED_S
from gateway.camera import Camera
from gateway.errors import BadRequestError
from gateway.webrtc.stats import WebRtcStats
from web.address_policy import check_target
from web.api import models
from web.api.answer import json_answer
from web.api.describe import Parameter, describe
from web.api.parameters import JSON, MERGE_PATCH, read_model, read_object
from web.auth.authenticator import NODE_TOKEN
from web.auth.counted_as import counted_as, is_limited
from web.auth.requests import grant_of, may_view
from web.gateway import GATEWAY
from web.polled_answer import polled_answer

routes = web.RouteTableDef()


@routes.get("/api/cameras")
@describe(
    "cameras",
    {200: models.CameraList},
    query={
        "camera_id": Parameter(
            "Only these, by their ids with commas between them; one that does not exist is left out"
        ),
        "hold": Parameter(
            f"Keep those of `camera_id` captured for the next {AWAITED_S:.0f} seconds, as a viewer does: for clients"
            " that wait until a camera is live and ask again and again",
            {"type": "boolean"},
        ),
    },
    errors=(400,),
)
async def list_cameras(request: web.Request) -> web.Response:
    """List the cameras with their state, viewers and live edge."""
    cameras = [camera for camera in request.app[GATEWAY].service.cameras.values() if may_view(request, camera.id)]
    wanted, held = request.query.get("camera_id"), request.query.get("hold", "false")
    if held not in ("true", "false") or (held == "true" and wanted is None):
        raise BadRequestError("hold is true or false, and true only with camera_id")
    if wanted is not None:
        ids = set(wanted.split(","))
        cameras = [camera for camera in cameras if camera.id in ids]
    if held == "true":
        for camera in cameras:
            # All workers are asked: the one that captures the camera keeps it.
            if camera.is_own or NODE_TOKEN not in request.headers:
                camera.awaited.ask()
    answer = models.CameraList(cameras=[camera_answer(request.app, camera) for camera in cameras])
    return polled_answer(request, answer.model_dump_json().encode())


@routes.get("/api/cameras/{camera}")
@describe("cameras", {200: models.Camera}, errors=(404,))
async def get_camera(request: web.Request) -> web.Response:
    """Get one camera with its state, viewers and live edge."""
    camera = request.app[GATEWAY].service.camera(request.match_info["camera"])
    return json_answer(camera_answer(request.app, camera))


@routes.post("/api/cameras")
@describe("cameras", {201: models.Camera}, body=models.NewCamera, errors=(400, 409, 503))
async def add_camera(request: web.Request) -> web.Response:
    """Add a camera. It is kept over restarts."""
    table = await read_object(request)
    camera_id = table.pop("camera_id", None)
    if not isinstance(camera_id, str):
        raise BadRequestError('camera_id is missing: send {"camera_id": "door", "url": "rtsp://…"}').because(
            "field_invalid", field="camera_id", problem="missing"
        )
    await _check_target(request, table)
    camera = await request.app[GATEWAY].changes.add(camera_id, table)
    headers = {"Location": f"/api/cameras/{camera_id}"}
    return json_answer(camera_answer(request.app, camera), status=201, headers=headers)


@routes.patch("/api/cameras/{camera}")
@describe(
    "cameras",
    {200: models.Camera},
    body={JSON: models.CameraPatch, MERGE_PATCH: models.CameraPatch},
    errors=(400, 404, 409, 503),
)
async def change_camera(request: web.Request) -> web.Response:
    """Change a camera's settings with a JSON merge patch (RFC 7396).

    Only the settings in the body change. ``null`` resets a setting to its default. With ``revision``, 409 if the
    settings have changed since.
    """
    patch = await read_object(request, JSON, MERGE_PATCH)
    revision = patch.pop("revision", None)
    if not isinstance(revision, str | None):
        raise BadRequestError("revision: must be that of the camera, a text").because(
            "setting_invalid", field="revision"
        )
    await _check_target(request, patch)
    camera = await request.app[GATEWAY].changes.change(request.match_info["camera"], patch, revision)
    return json_answer(camera_answer(request.app, camera))


@routes.delete("/api/cameras/{camera}")
@describe("cameras", {204: None}, errors=(404, 409, 503))
async def remove_camera(request: web.Request) -> web.Response:
    """Remove a camera. Its recordings stay."""
    await request.app[GATEWAY].changes.remove(request.match_info["camera"])
    return web.Response(status=204)


@routes.post("/api/cameras/{camera}/capture/start")
@describe("cameras", {200: models.Camera}, body=models.CaptureCommand, body_required=False, errors=(400, 404, 503))
async def start_capture(request: web.Request) -> web.Response:
    """Start the capture of a camera, as ``capture_start_request`` does over Socket.IO."""
    command = await _command(request)
    service = request.app[GATEWAY].service
    camera = service.camera(request.match_info["camera"])
    grant = grant_of(request)
    owner = counted_as(grant, request.remote or "") if is_limited(grant) else None
    await service.start_capture(command.client_id, camera.id, command.metadata, owner=owner)
    return json_answer(camera_answer(request.app, camera))


@routes.post("/api/cameras/{camera}/capture/stop")
@describe("cameras", {200: models.Camera}, body=models.CaptureCommand, body_required=False, errors=(400, 404))
async def stop_capture(request: web.Request) -> web.Response:
    """Withdraw a client's start of the capture, as ``capture_stop_request`` does over Socket.IO."""
    command = await _command(request)
    service = request.app[GATEWAY].service
    camera = service.camera(request.match_info["camera"])
    await service.stop_capture(command.client_id, camera.id)
    return json_answer(camera_answer(request.app, camera))


def camera_answer(app: web.Application, camera: Camera) -> models.Camera:
    """A camera as the API shows it."""
    gateway = app[GATEWAY]
    status = camera.status()
    return models.Camera(
        **{**dict(status), "live_edge": gateway.live_edge(camera.id) or status.live_edge},
        revision=gateway.camera_store.revision(camera),
        record=camera.settings.record,
        record_sub=camera.settings.record_sub,
        start=camera.settings.start,
        paused=camera.settings.paused,
        is_configured=gateway.camera_store.is_configured(camera.id),
        has_onvif=camera.settings.onvif_url is not None,
        webrtc=WebRtcStats.of([viewer.stats() for viewer in gateway.webrtc.viewers_of(camera.id)]),
        forward=[
            models.ForwardStatus(
                server=each.target.name,
                state=each.state,
                error=each.error,
                packets_sent=each.packets_sent,
                packets_dropped=each.packets_dropped,
                reconnects=each.reconnects,
            )
            for each in gateway.forward.forwards.get(camera.id, [])
        ],
        can_talk=gateway.talk.of(camera).may_have_back_channel,
        talker=gateway.talk.talker_name(camera.id),
    )


async def _check_target(request: web.Request, table: dict[str, Any]) -> None:
    gateway = request.app[GATEWAY]
    configured = [camera.settings for camera in gateway.service.cameras.values()]
    await check_target(table, gateway.camera_store.settings, configured)


async def _command(request: web.Request) -> models.CaptureCommand:
    return await read_model(request, models.CaptureCommand) if request.can_read_body else models.CaptureCommand()
