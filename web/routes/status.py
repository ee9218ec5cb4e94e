"""``/api/status``: what is well and what is ill, room by room."""

from aiohttp import web

from web import keys
from web.problems import problems
from web.views import camera_view

routes = web.RouteTableDef()


@routes.get("/api/status")
async def status(request: web.Request) -> web.Response:
    """The whole house now: ``status`` is ``ok``, or ``ill`` with a sentence in ``problems`` for each thing."""
    app = request.app
    ill = problems(app[keys.HOUSE])
    return web.json_response(
        {
            "status": "ill" if ill else "ok",
            "problems": ill,
            "cameras": [camera_view(app, camera) for camera in app[keys.SERVICE].cameras.values()],
            "messaging": app[keys.MESSAGING].status(),
            "browsers": app[keys.BROWSER].status(),
            "archive": app[keys.ARCHIVE].status(),
            "webrtc": {"udp_port": app[keys.WEBRTC].udp_port, "viewers": len(app[keys.WEBRTC].viewers)},
        }
    )
