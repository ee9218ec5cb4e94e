"""/openapi.json: every route is in it, it is valid, and the answers to generated requests match it."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from aiohttp import web
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks as openapi_checks

from hls.settings import RecordedCameraSettings
from tests.support.gateway_process import GatewayProcess
from tests.support.serving import GatewayServer
from web.api.describe import description_of
from web.app import create_app
from web.settings import load_settings

pytestmark = pytest.mark.integration

Client = TestClient[web.Request, web.Application]

SOCKET_IO = "/socket.io/"
"""The route of Socket.IO. /asyncapi.json describes its events."""


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(data_dir=tmp_path / "data", webrtc_udp_port=0, archive_min_free_bytes=0)
    async with TestClient(GatewayServer(create_app(settings))) as client:
        yield client


async def test_every_route_is_described(client: Client) -> None:
    document = await (await client.get("/openapi.json")).json()
    OpenAPIV31SpecValidator(document).validate()
    assert "``" not in json.dumps(document), "texts are Markdown"
    described = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path)) for path, item in document["paths"].items() for method in item
    }
    assert client.app is not None
    routes = set()
    for route in client.app.router.routes():
        assert route.resource is not None
        if route.resource.canonical == SOCKET_IO or route.method == "HEAD":
            continue
        assert description_of(route.handler), f"{route.method} {route.resource.canonical} has no @describe"
        routes.add((route.method, re.sub(r"\{\w+\}", "{}", route.resource.canonical)))
    assert described == routes
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["summary"] for operation in operations)
    tags = {tag["name"] for tag in document["tags"]}
    assert {tag for operation in operations for tag in operation["tags"]} == tags
    assert not [text for text in re.findall(r"password.{0,40}", json.dumps(document)) if "default" in text]


async def test_every_setting_of_a_camera_is_in_the_schemas(client: Client) -> None:
    schemas = (await (await client.get("/openapi.json")).json())["components"]["schemas"]
    wanted = {*RecordedCameraSettings.model_fields, "engine"} - {"capture_engine", "capture_tls_ca_file"}
    assert set(schemas["CameraPatch"]["properties"]) == wanted | {"revision"}
    assert set(schemas["NewCamera"]["properties"]) == wanted | {"camera_id"}
    assert schemas["NewCamera"]["required"] == ["camera_id", "url"]
    assert {"minimum": 100, "maximum": 600000, "type": "integer"} in schemas["CameraPatch"]["properties"][
        "capture_timeout"
    ]["anyOf"]


async def test_the_documentation_lists_every_route(client: Client) -> None:
    page = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
    for path in (await (await client.get("/openapi.json")).json())["paths"]:
        # Users do not call the URLs in playlists, nor those that only the player requests.
        if path.startswith(("/hls/{camera}/{", "/hls/{camera}/live", "/hls/{camera}/sub/", "/archive/{camera}/init-")):
            continue
        if path not in ("/api/time", "/api/cameras/{camera}/viewers/{viewer}/clock", "/whep/{camera}/{viewer}"):
            known = path.replace("[/{camera}]", "").replace(".jpg", "").replace("/start", "").replace("/stop", "")
            assert known in page.replace("[/{camera}]", "/{camera}"), path


# --- generated requests


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def as_text(_context: Any, value: Any) -> bytes:
    """The media types of WebRTC are plain text."""
    return str(value).encode("utf-8", "replace")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with the demo camera, which is live, and a camera ``yard`` that requests may change."""
    folder = tmp_path_factory.mktemp("openapi")
    (folder / "liveedge.toml").write_text(
        """
        [cameras.demo]
        url = "fake://demo?width=320&height=180&fps=10"
        engine = "fake"
        [cameras.yard]
        url = "rtsp://127.0.0.1:1/"
        start = "on-demand"
        record = "never"
        """
    )
    with GatewayProcess(folder) as gateway:
        gateway.wait_for_state("live", "demo")
        yield gateway


@pytest.fixture(scope="module")
def api(gateway: GatewayProcess) -> Any:
    api = schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")

    @api.hook
    def map_path_parameters(context: Any, parameters: Any) -> Any:
        if parameters and "camera" in parameters:
            # Random ids would only give 404. Requests that change a camera use another one.
            is_safe = context.operation.method in ("get", "post", "options")
            parameters["camera"] = "demo" if is_safe else "yard"
        return parameters

    @api.hook
    def map_body(context: Any, body: Any) -> Any:
        if context.operation.label == "POST /api/cameras" and isinstance(body, dict):
            body = {**body, "start": "on-demand", "record": "never"}
            if isinstance(body.get("url"), str):
                body |= {"url": "rtsp://127.0.0.1:1/", "engine": "pyav"}  # a random URL would only give 400
        if context.operation.label == "POST /api/discover/device" and isinstance(body, dict) and "onvif_url" in body:
            body = {**body, "onvif_url": "http://127.0.0.1:1/"}
        return body

    # The first two answers do not end. The third asks the network.
    endless = api.exclude(path="/mjpeg/{camera}").exclude(path="/api/events/stream")
    return endless.exclude(path="/api/discover")


def no_server_error(_context: Any, response: Any, _case: Any) -> None:
    """Of the server errors only 503 is allowed: the camera is not ready yet."""
    assert response.status_code < 500 or response.status_code == 503


CHECKS = (
    no_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
)

EXAMPLES = 12
"""For each operation and mode: about 500 requests in total."""


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_generated_requests_get_documented_answers(api: Any, gateway: GatewayProcess, mode: GenerationMode) -> None:
    operations = [result.ok() for result in api.get_all_operations()]
    assert len(operations) > 25
    asked = 0
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
            continue  # a request without parameters cannot be invalid

        @hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            response = case.call(timeout=30)
            case.validate_response(response, checks=list(CHECKS))

        ask()
        asked += 1
    assert asked > 10
    assert gateway.process is not None
    assert gateway.process.poll() is None
    assert "Traceback" not in gateway.log()
