"""The clock of the host, as far as the archive depends on it: confirm it after it was set."""

from aiohttp import web

from hls.archive.status import ClockStatus
from web.api.answer import json_answer
from web.api.describe import describe
from web.gateway import GATEWAY

routes = web.RouteTableDef()


@routes.post("/api/archive/clock/confirm")
@describe("archive", {200: ClockStatus})
async def confirm_clock(request: web.Request) -> web.Response:
    """Say that the clock of the host is right after it was set, so that recordings are deleted for their age again."""
    archive = request.app[GATEWAY].archive
    archive.confirm_clock()
    return json_answer(archive.clock_status())
