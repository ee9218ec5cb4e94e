"""``/api/status``: the state of the whole gateway."""

from aiohttp import web

from gateway.access import Scope
from gateway.compiled import pure_reason
from hls.archive.status import ArchiveStatus
from web.api import models
from web.api.describe import describe
from web.api.routes.cameras import camera_answer
from web.auth.requests import grant_of, may_view
from web.gateway import GATEWAY, Gateway
from web.observability.health import problems
from web.polled_answer import polled_answer

routes = web.RouteTableDef()


@routes.get("/api/status")
@describe("cameras", {200: models.Status})
async def status(request: web.Request) -> web.Response:
    """State of the whole gateway.

    ``status`` is ``ok``, or ``degraded`` with a sentence in ``problems`` for each problem. Credentials
    for some cameras only see those cameras, and no state of the rest of the gateway.
    """
    app = request.app
    is_whole = grant_of(request).may_everywhere(Scope.VIEW)
    found = [
        problem
        for problem in problems(app[GATEWAY])
        if is_whole or (problem.camera_id is not None and may_view(request, problem.camera_id))
    ]
    archive = app[GATEWAY].archive.status()
    if not is_whole:
        recorders = archive.cameras.items()
        archive = ArchiveStatus(cameras={key: each for key, each in recorders if may_view(request, key)})
    cameras = [camera for camera in app[GATEWAY].service.cameras.values() if may_view(request, camera.id)]
    webrtc, cluster = app[GATEWAY].webrtc, app[GATEWAY].cluster
    answer = models.Status(
        status="degraded" if found else "ok",
        problems=found,
        settings=_settings(app[GATEWAY]) if is_whole else None,
        cameras=[camera_answer(app, camera) for camera in cameras],
        messaging=app[GATEWAY].messaging.status(),
        browsers=app[GATEWAY].browser.status(),
        archive=archive,
        webrtc=models.WebRtcServerStatus(udp_port=webrtc.udp_port, viewers=len(webrtc.viewers)),
        cluster=cluster.status() if cluster is not None and is_whole else None,
        pure_python=pure_reason(),
    )
    return polled_answer(request, answer.model_dump_json().encode())


def _settings(gateway: Gateway) -> models.SettingsState:
    return models.SettingsState(error=gateway.reload_error, restart_needed=gateway.restart_needed)
