"""``/api/discover``: from the search to a camera that is captured."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.rtsp.auth import Credentials
from gateway.session import SessionState
from tests.support.auth_gateway import Client, bearer
from tests.support.configured import write
from tests.support.eventually import eventually
from tests.support.onvif_camera import OnvifCamera
from tests.support.rtsp import VIEWER, RtspServer
from web.gateway import GATEWAY
from web.onvif.look import with_credentials

pytestmark = pytest.mark.integration


async def test_a_camera_is_found_looked_at_and_added(
    place: Path, open_gateway: Callable[[], Any], rtsp_server: RtspServer
) -> None:
    write(place)
    client = await open_gateway()
    user, password = VIEWER
    with OnvifCamera(user, password) as camera:
        camera.stream_url = f"rtsp://10.0.0.1:{rtsp_server.guarded_port}/cam"
        found = await (await client.post("/api/discover", json={"addresses": [f"127.0.0.1:{camera.port}"]})).json()
        assert found["is_complete"]
        (device,) = found["devices"]
        assert (device["onvif_url"], device["camera_ids"]) == (camera.url, [])
        asked = {"onvif_url": device["onvif_url"], "user": user, "password": password}
        reply = await client.post("/api/discover/device", json=asked)
        report = await reply.json()
        assert reply.status == 200, report
        assert base64.b64decode(report["streams"][0]["picture"]).startswith(b"\xff\xd8")
        assert password not in await reply.text()
        (chosen,) = report["cameras"]
        urls = {name: with_credentials(chosen[name], Credentials(*VIEWER)) for name in ("url", "sub_url", "onvif_url")}
        added = await client.post("/api/cameras", json={"camera_id": chosen["camera_id"], "record": "never", **urls})
        assert added.status == 201, await added.text()
        capture = client.app[GATEWAY].service.camera(chosen["camera_id"])
        await eventually(lambda: capture.main.session.state is SessionState.LIVE, "the camera that was found is live")
        again = await (await client.post("/api/discover", json={"addresses": [f"127.0.0.1:{camera.port}"]})).json()
        assert again["devices"][0]["camera_ids"] == ["dome-4"]


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        ("/api/discover", {"addresses": ["8.8.8.0/24"]}, "not a private network"),
        ("/api/discover", {"addresses": ["169.254.169.254"]}, "metadata"),
        ("/api/discover", {"addresses": ["x"] * 65}, "addresses"),
        ("/api/discover", {"seconds": 31}, "seconds"),
        ("/api/discover/device", {}, "either onvif_url or address"),
        ("/api/discover/device", {"onvif_url": "http://169.254.169.254/"}, "metadata"),
        ("/api/discover/device", {"onvif_url": "http://2852039166/"}, "metadata"),
        ("/api/discover/device", {"onvif_url": "file:///etc/passwd"}, "onvif_url"),
        ("/api/discover/device", {"onvif_url": "http://u:pw@192.0.2.7/"}, "without user"),
        ("/api/discover/device", {"address": "169.254.169.254"}, "metadata"),
        ("/api/cameras", {"camera_id": "x", "url": "rtsp://127.0.0.1/", "onvif_url": "http://169.254.1.1/"}, "onvif"),
        ("/api/cameras", {"camera_id": "x", "url": "rtsp://127.0.0.1/", "onvif_url": "rtsp://127.0.0.1/"}, "http"),
    ],
)
async def test_what_cannot_be_searched_is_refused_with_a_sentence(
    place: Path, open_gateway: Callable[[], Any], path: str, body: dict[str, Any], why: str
) -> None:
    client = await open_gateway()
    reply = await client.post(path, json=body)
    assert reply.status == 400, await reply.text()
    message = (await reply.json())["message"]
    assert why in message
    assert "pw" not in message


async def test_a_device_that_is_away_or_refuses_is_told_by_its_own_codes(
    place: Path, open_gateway: Callable[[], Any]
) -> None:
    client = await open_gateway()
    reply = await client.post("/api/discover/device", json={"onvif_url": "http://127.0.0.1:1/"})
    assert (reply.status, (await reply.json())["error"]) == (503, "onvif_unreachable")
    with OnvifCamera() as camera:
        asked = {"onvif_url": camera.url, "user": "admin", "password": "wrong"}
        codes = []
        for number in range(4):
            reply = await client.post("/api/discover/device", json=asked | {"password": f"wrong {number}"})
            codes.append((reply.status, (await reply.json())["error"]))
        assert camera.refused == 2
    assert codes == [(409, "onvif_unauthorized")] * 2 + [(409, "onvif_tries_used_up")] * 2


async def test_only_an_admin_searches(auth_client: Client) -> None:
    for path in ("/api/discover", "/api/discover/device"):
        reply = await auth_client.post(path, json={}, headers=bearer("may-control-the-door"))
        assert reply.status == 403
