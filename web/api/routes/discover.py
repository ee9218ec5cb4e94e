"""``/api/discover``: cameras on the network, before they are added by ``POST /api/cameras``."""

from aiohttp import web

from gateway.rtsp.auth import Credentials
from web.address_policy import check_target
from web.api.answer import json_answer
from web.api.describe import describe
from web.api.discover_models import DeviceRequest, DiscoverAnswer, DiscoverRequest
from web.api.parameters import read_model
from web.gateway import GATEWAY
from web.onvif.report import DeviceReport
from web.onvif.search import MULTICAST_S
from web.onvif.service import ONVIF

routes = web.RouteTableDef()


@routes.post("/api/discover")
@describe("devices", {200: DiscoverAnswer}, body=DiscoverRequest, body_required=False, errors=(400, 503))
async def discover_devices(request: web.Request) -> web.Response:
    """Search for cameras, by WS-Discovery or at addresses.

    It takes as long as answers are awaited; for networks, up to a minute.
    """
    asked = await read_model(request, DiscoverRequest) if request.can_read_body else DiscoverRequest()
    multicast_s = asked.seconds if asked.seconds is not None else 0.0 if asked.addresses else MULTICAST_S
    devices, is_complete = await request.app[ONVIF].discover(asked.addresses, multicast_s)
    return json_answer(DiscoverAnswer(devices=devices, is_complete=is_complete))


@routes.post("/api/discover/device")
@describe("devices", {200: DeviceReport}, body=DeviceRequest, errors=(400, 409, 502, 503))
async def look_at_device(request: web.Request) -> web.Response:
    """Ask a device what it is and which streams it has, and take a picture of each.

    The password is tried once. A device that has refused two is not asked again for half an hour.
    """
    asked = await read_model(request, DeviceRequest)
    address = asked.address
    host = f"[{address}]" if address is not None and ":" in address else address
    url = f"rtsp://{host}:{asked.rtsp_port}/" if host is not None else None
    table = {"url": url, "onvif_url": asked.onvif_url}
    await check_target(table, request.app[GATEWAY].camera_store.settings, ())
    password = asked.password.get_secret_value() if asked.password is not None else ""
    credentials = None if asked.user is None else Credentials(asked.user, password)
    report: DeviceReport = await request.app[ONVIF].look_at(
        asked.onvif_url, (address or "", asked.rtsp_port), credentials, wants_pictures=asked.pictures
    )
    return json_answer(report)
