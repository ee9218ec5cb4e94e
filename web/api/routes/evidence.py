"""``/api/evidence`` and ``/api/cameras/{camera}/…/evidence``: records, public keys, and their verification."""

from aiohttp import hdrs, web

from gateway.access import Scope
from gateway.camera_settings import RenditionName
from gateway.errors import BadRequestError
from hls.archive.segment import RecordedStream
from web.api import evidence_models as models
from web.api.answer import json_answer
from web.api.describe import SPAN, describe
from web.api.parameters import RENDITION, parse_rendition, read_model, require_recorded_camera, segment_id, time_range
from web.auth.requests import grant_of
from web.gateway import GATEWAY

routes = web.RouteTableDef()

NO_CACHE: dict[str, str] = {hdrs.CACHE_CONTROL: "no-cache"}


@routes.get("/api/evidence/key")
@describe("evidence", {200: models.EvidenceKeys})
async def key(request: web.Request) -> web.Response:
    """Get the public keys of the signatures."""
    evidence = request.app[GATEWAY].evidence
    return json_answer(models.EvidenceKeys(id=evidence.key.key_id, public_keys=await _keys(request)), headers=NO_CACHE)


@routes.get("/api/cameras/{camera}/segments/{segment}/evidence")
@describe("evidence", {200: models.SegmentEvidence}, errors=(404,))
async def segment_evidence(request: web.Request) -> web.Response:
    """Get the signed statement of a segment: put it beside the file to verify it later."""
    record = await request.app[GATEWAY].evidence.record(request.match_info["camera"], segment_id(request))
    answer = models.SegmentEvidence(record=models.EvidenceRecord.of(record), public_keys=await _keys(request))
    return json_answer(answer, headers=NO_CACHE)


@routes.get("/api/cameras/{camera}/evidence")
@describe("evidence", {200: models.Chain}, query={**SPAN, **RENDITION}, errors=(400, 404))
async def chain(request: web.Request) -> web.Response:
    """Get the chain of a stream in a time range, and what is wrong with it: what retention deleted, what is missing."""
    camera_id = request.match_info["camera"]
    evidence = request.app[GATEWAY].evidence
    stream = RecordedStream(camera_id, parse_rendition(request) or RenditionName.MAIN)
    records = await evidence.records(stream, *time_range(request))
    if not records:
        await require_recorded_camera(request, camera_id)
    answer = models.Chain(
        records=[models.EvidenceRecord.of(record) for record in records],
        findings=[models.EvidenceFinding.of(finding) for finding in await evidence.findings(records)],
        public_keys=await _keys(request),
    )
    return json_answer(answer, headers=NO_CACHE)


@routes.post("/api/evidence/verify")
@describe("evidence", {200: models.Verification}, body=models.VerifyRequest, errors=(400,))
async def verify(request: web.Request) -> web.Response:
    """Find the record of a file by its SHA-256, or verify that a key of this gateway signed a statement."""
    body = await read_model(request, models.VerifyRequest)
    evidence, grant = request.app[GATEWAY].evidence, grant_of(request)
    if body.sha256 is not None:
        records = [
            record for record in await evidence.of_sha256(body.sha256) if grant.may(Scope.ARCHIVE, record.camera_id)
        ]
        found = [models.EvidenceRecord.of(record) for record in records]
        key_id = records[0].key_id if records else None
        return json_answer(models.Verification(valid=bool(found), key=key_id, records=found))
    if body.statement is None or body.signature is None:
        raise BadRequestError("send sha256, or statement and signature")
    statement = body.statement.encode()
    keys = (await evidence.keys()).values()
    key_id = next((each.key_id for each in keys if each.is_signature(body.signature, statement)), None)
    return json_answer(models.Verification(valid=key_id is not None, key=key_id))


async def _keys(request: web.Request) -> list[models.EvidenceKey]:
    return [models.EvidenceKey.of(each) for each in (await request.app[GATEWAY].evidence.keys()).values()]
