"""``/api/status``: what is well and what is ill, room by room."""

from aiohttp import web

from web import keys
from web.views import camera_view

routes = web.RouteTableDef()


@routes.get("/api/status")
async def status(request: web.Request) -> web.Response:
    """The whole house at this moment."""
    app = request.app
    return web.json_response(
        {
            "status": "ok",
            "cameras": [camera_view(app, camera) for camera in app[keys.SERVICE].cameras.values()],
            "messaging": app[keys.MESSAGING].status(),
            "browsers": app[keys.BROWSER].status(),
            "archive": app[keys.ARCHIVE].status(),
            "webrtc": {"udp_port": app[keys.WEBRTC].udp_port, "viewers": len(app[keys.WEBRTC].viewers)},
        }
    )
