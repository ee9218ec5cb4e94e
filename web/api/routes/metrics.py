"""``/metrics``, for Prometheus."""

from aiohttp import web

from web.api.describe import describe
from web.observability.metrics import METRICS

routes = web.RouteTableDef()


@routes.get("/metrics")
@describe("machines", {200: "text/plain"})
async def metrics(request: web.Request) -> web.Response:
    """Metrics in the Prometheus text format."""
    headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8", "Cache-Control": "no-store"}
    return web.Response(body=request.app[METRICS].render(), headers=headers)
