"""What the nodes of a cluster ask of each other."""

import contextlib

from aiohttp import hdrs, web

from gateway.camera_settings import RenditionName
from gateway.capture.relay_protocol import MEDIA_TYPE
from gateway.clock import CLOCK_RATE
from gateway.errors import BadRequestError, ConflictError, UnavailableError
from hls.archive.segment_record import write_record
from hls.playback.clip import CLIP_MAX_S
from web.api.describe import SPAN, Parameter, describe
from web.api.parameters import JSON, RENDITION, parse_rendition, time_range
from web.cluster.node_files import PATH
from web.cluster.relay_sender import RelaySender, tune
from web.gateway import GATEWAY

routes = web.RouteTableDef()


@routes.get("/api/cluster/cameras/{camera}/room")
@describe("cluster", {204: None}, errors=(404, 409, 503))
async def room(request: web.Request) -> web.Response:
    """Whether this node captures a camera and takes a WebRTC viewer more of it, for another node alone."""
    gateway = request.app[GATEWAY]
    camera = gateway.service.camera(request.match_info["camera"])
    if gateway.cluster is None or not gateway.cluster.captures(camera.id):
        raise ConflictError("this node of the cluster does not capture the camera")
    if not gateway.cluster.is_ready or not gateway.webrtc.limits.has_room(camera.id):
        raise UnavailableError("this node of the cluster takes no more viewers of the camera")
    return web.Response(status=204)


@routes.get("/api/cluster/cameras/{camera}/relay")
@describe(
    "cluster",
    {200: MEDIA_TYPE},
    query={"rendition": Parameter("The stream of the camera", {"enum": ["main", "sub"]})},
    errors=(400, 404, 409),
)
async def relay(request: web.Request) -> web.StreamResponse:
    """The packets of a camera that this node captures, for another node of the cluster alone."""
    gateway = request.app[GATEWAY]
    camera = gateway.service.camera(request.match_info["camera"])
    rendition = camera.rendition(parse_rendition(request) or RenditionName.MAIN)
    cluster, node = gateway.cluster, gateway.node
    if cluster is None or node is None or not cluster.captures(camera.id):
        raise ConflictError("this node of the cluster does not capture the camera")
    response = web.StreamResponse(headers={hdrs.CACHE_CONTROL: "no-store", "X-Accel-Buffering": "no"})
    response.content_type = MEDIA_TYPE
    transport = request.transport
    tune(transport.get_extra_info("socket") if transport is not None else None)
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    sender = RelaySender(camera, rendition, lambda: cluster.captures(camera.id), node.links.relays_sent)
    # Without an end by the other node, nobody watches the camera there any more.
    with contextlib.suppress(ConnectionError):
        await sender.send(
            cluster.coordinator.node.name,
            cluster.epoch(camera.id),
            response.write,
            lambda: transport is None or transport.is_closing(),
        )
    return response


@routes.get(PATH)
@describe("cluster", {200: JSON}, query={**SPAN, **RENDITION}, errors=(400,))
async def recorded(request: web.Request) -> web.Response:
    """What this node has recorded of a camera in a time range, file by file, for another node alone."""
    start_90k, end_90k = time_range(request)
    if start_90k is None or end_90k is None or end_90k - start_90k > CLIP_MAX_S * CLOCK_RATE:
        raise BadRequestError("give the start and the end of a clip")
    reader = request.app[GATEWAY].own_archive_reader
    found = await reader.segments.spans(request.match_info["camera"], start_90k, end_90k, parse_rendition(request))
    records = ",".join(write_record(*whole, None).decode() for whole in found)
    body = f'{{"recorded":[{records}]}}'.encode()
    return web.Response(body=body, content_type=JSON, headers={hdrs.CACHE_CONTROL: "no-store"})
