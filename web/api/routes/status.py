"""``/api/status``: what is well and what is ill, room by room."""

from typing import Any

from aiohttp import web

from gateway.access import Scope
from web.api import keys, models
from web.api.describe import describe
from web.api.views import camera_view
from web.auth.authenticator import grant_of, may_view
from web.gateway import Gateway
from web.observability.health import problems

routes = web.RouteTableDef()


@routes.get("/api/status")
@describe("cameras", {200: models.Status})
async def status(request: web.Request) -> web.Response:
    """The whole gateway now: ``status`` is ``ok``, or ``ill`` with a sentence in ``problems`` for each thing.

    Whoever may view some cameras alone is told of those, and not of the rest of the gateway.
    """
    app = request.app
    is_whole = grant_of(request).may_everywhere(Scope.VIEW)
    ill = [
        problem
        for problem in problems(app[keys.GATEWAY])
        if is_whole or (problem["camera"] is not None and may_view(request, problem["camera"]))
    ]
    archive = app[keys.ARCHIVE].status()
    if not is_whole:
        recorders = archive["cameras"].items()
        archive = {"cameras": {camera_id: each for camera_id, each in recorders if may_view(request, camera_id)}}
    cameras = [camera for camera in app[keys.SERVICE].cameras.values() if may_view(request, camera.id)]
    return web.json_response(
        {
            "status": "ill" if ill else "ok",
            "problems": ill,
            "settings": _settings(app[keys.GATEWAY]) if is_whole else None,
            "cameras": [camera_view(app, camera) for camera in cameras],
            "messaging": app[keys.MESSAGING].status(),
            "browsers": app[keys.BROWSER].status(),
            "archive": archive,
            "webrtc": {"udp_port": app[keys.WEBRTC].udp_port, "viewers": len(app[keys.WEBRTC].viewers)},
        }
    )


def _settings(gateway: Gateway) -> dict[str, Any]:
    return {"error": gateway.reload_error, "restart_needed": gateway.restart_needed}
