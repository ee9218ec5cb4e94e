"""``/api/exports``: recordings of several cameras as one ZIP, made in the background.

A request sees the exports whose cameras its credentials all allow to see the recordings of. Others do not exist for it.
To delete an export, a token needs the scope control over its cameras, unless it made it.
"""

import asyncio

from aiohttp import hdrs, web

from gateway.access import Scope
from gateway.camera_settings import RenditionName
from gateway.clock import to_rfc3339
from gateway.errors import ForbiddenError, NotFoundError
from gateway.times import parse_time
from hls.evidence.export_job import ExportJob, ExportRequest
from hls.playback.composite_file import whole_file
from web.api import evidence_models as models
from web.api.answer import json_answer
from web.api.describe import RANGE, describe
from web.api.file_answer import send_file
from web.api.parameters import is_of_node, read_model, require_recorded_camera
from web.auth.requests import grant_of
from web.gateway import GATEWAY, Gateway

routes = web.RouteTableDef()

NO_CACHE: dict[str, str] = {hdrs.CACHE_CONTROL: "no-cache"}


@routes.post("/api/exports")
@describe("evidence", {201: models.Export}, body=models.NewExport, errors=(400, 404, 409, 503, 507))
async def create_export(request: web.Request) -> web.Response:
    """Export a time range of recordings: a ZIP with clips for each camera, and a signed manifest."""
    body = await read_model(request, models.NewExport)
    grant, gateway = grant_of(request), request.app[GATEWAY]
    for camera_id in body.cameras:
        grant.require(Scope.ARCHIVE, camera_id)
    for camera_id in body.cameras:
        await require_recorded_camera(request, camera_id)
    now_90k = gateway.clock.wall_90k()
    wanted = ExportRequest(
        tuple(body.cameras),
        parse_time(body.start, "start", now_90k),
        min(parse_time(body.end, "end", now_90k), now_90k),
        None if body.rendition == "auto" else RenditionName(body.rendition),
        body.burn_in_time,
        is_part=is_of_node(request),
        names={each: name for each in body.cameras if (name := _name_of(gateway, each)) is not None},
    )
    job = await gateway.exports.create(wanted, grant.name)
    return json_answer(models.Export.of(job), status=201, headers={"Location": f"/api/exports/{job.id}"})


@routes.get("/api/exports")
@describe("evidence", {200: models.ExportList})
async def list_exports(request: web.Request) -> web.Response:
    """List the exports, with their progress."""
    jobs = [job for job in request.app[GATEWAY].exports.jobs() if not job.request.is_part and _may_see(request, job)]
    return json_answer(models.ExportList(exports=[models.Export.of(job) for job in jobs]), headers=NO_CACHE)


@routes.get("/api/exports/{export}")
@describe("evidence", {200: models.Export}, errors=(404,))
async def get_export(request: web.Request) -> web.Response:
    """Get one export, with its progress."""
    return json_answer(models.Export.of(visible_export(request)), headers=NO_CACHE)


@routes.delete("/api/exports/{export}")
@describe("evidence", {204: None}, errors=(404, 503))
async def delete_export(request: web.Request) -> web.Response:
    """Delete an export, or cancel it. The recordings stay."""
    job, grant = visible_export(request), grant_of(request)
    if grant.name != job.owner and not all(grant.may(Scope.CONTROL, camera_id) for camera_id in job.request.cameras):
        raise ForbiddenError(
            "this needs a token with the scope control over its cameras, or its maker's", Scope.CONTROL
        )
    await request.app[GATEWAY].exports.delete(job)
    return web.Response(status=204)


@routes.get("/api/exports/{export}/export.zip")
@describe(
    "evidence",
    {200: "application/zip", 206: "application/zip", 304: None},
    headers={"Range": RANGE},
    errors=(404, 409, 416),
)
async def download_export(request: web.Request) -> web.StreamResponse:
    """Download the ZIP of an export. A download that was cut off is continued with Range and If-Range."""
    job = visible_export(request)
    file = await asyncio.to_thread(whole_file, request.app[GATEWAY].exports.path(job))
    name = f"export_{to_rfc3339(job.request.start_90k)[:19].replace(':', '')}Z_{'_'.join(job.request.cameras)}"
    headers: dict[str, str] = {**NO_CACHE, hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name[:120]}.zip"'}
    return await send_file(request, file, headers, content_type="application/zip")


def _name_of(gateway: Gateway, camera_id: str) -> str | None:
    """``None`` for a camera without a name, and for one that was removed and has recordings."""
    camera = gateway.service.cameras.get(camera_id)
    return camera.settings.name if camera is not None else None


def visible_export(request: web.Request, export_id: str | None = None) -> ExportJob:
    """The export in the path, or another one. Raises :class:`~gateway.errors.NotFoundError` unless it may be seen."""
    job = request.app[GATEWAY].exports.job(request.match_info["export"] if export_id is None else export_id)
    if not _may_see(request, job):
        raise NotFoundError("there is no such export: it was deleted, or its time is over").because("export_gone")
    return job


def _may_see(request: web.Request, job: ExportJob) -> bool:
    grant = grant_of(request)
    return all(grant.may(Scope.ARCHIVE, camera_id) for camera_id in job.request.cameras)
