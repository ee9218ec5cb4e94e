"""``/api/status``: what components report of themselves."""

import gzip
import json
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient

from gateway.errors import UnavailableError
from signaling.messaging import NoMessaging
from signaling.status import MessagingStatus
from tests.support.serving import GatewayServer
from web.app import create_app
from web.gateway import GATEWAY
from web.settings import load_settings


class QueueMessaging(NoMessaging):
    """An adapter with a field of its own, that is not connected."""

    def status(self) -> MessagingStatus:
        return MessagingStatus.model_validate(
            {"adapter": "queue", "connected": False, "error": "the queue is closed", "queue_depth": 7}
        )


async def test_fields_that_an_adapter_adds_are_in_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(
        data_dir=tmp_path / "data", webrtc_udp_port=0, messaging=f"{__name__}:{QueueMessaging.__name__}"
    )
    async with TestClient(GatewayServer(create_app(settings))) as client:
        status = await (await client.get("/api/status")).json()
        metrics = await (await client.get("/metrics")).text()
        archive = client.app[GATEWAY].archive.status()
    assert status["messaging"]["queue_depth"] == 7
    assert status["messaging"]["packets_invalid"] is None
    assert {"component": "messaging", "camera_id": None} in [
        {key: problem[key] for key in ("component", "camera_id")} for problem in status["problems"]
    ]
    assert any("the queue is closed" in problem["message"] for problem in status["problems"])
    assert "liveedge_messaging_connected 0.0" in metrics
    assert "liveedge_messaging_frames_total" not in metrics, "the adapter does not report it"
    assert set(status["browsers"]) == {"clients", "frames_sent", "frames_skipped"}
    assert set(status["archive"]) == set(type(archive).model_fields)


async def test_a_camera_that_is_refused_a_transcode_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(data_dir=tmp_path / "data", webrtc_udp_port=0, transcode_max=1)
    async with TestClient(GatewayServer(create_app(settings))) as client:
        gateway = client.app[GATEWAY]
        gateway.service.transcode_limit.take("yard", gateway.clock.monotonic())
        with pytest.raises(UnavailableError):
            gateway.service.transcode_limit.take("door", gateway.clock.monotonic())
        problems = (await (await client.get("/api/status")).json())["problems"]
    found = [each for each in problems if each["code"] == "transcode_limit"]
    assert [each["camera_id"] for each in found] == ["door"]
    assert "TRANSCODE_MAX" in found[0]["message"]


@pytest.mark.parametrize("path", ["/api/status", "/api/cameras"])
async def test_what_pages_ask_for_again_and_again_is_compressed_for_who_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    cameras = {f"camera-{number}": {"url": "rtsp://127.0.0.1:9/"} for number in range(16)}
    settings = load_settings(data_dir=tmp_path / "data", webrtc_udp_port=0, start="on-demand", cameras=cameras)
    async with TestClient(GatewayServer(create_app(settings)), auto_decompress=False) as client:
        sent = {}
        for accepted in ("gzip, deflate, br", "identity", "gzip;q=0"):
            answer = await client.get(path, headers={"Accept-Encoding": accepted})
            sent[accepted] = answer.headers.get("Content-Encoding"), await answer.read()
            assert "accept-encoding" in answer.headers["Vary"].lower()
            assert answer.content_type == "application/json"
    assert [encoding for encoding, _ in sent.values()] == ["gzip", None, None]
    plain, packed = sent["identity"][1], sent["gzip, deflate, br"][1]
    assert len(json.loads(gzip.decompress(packed))["cameras"]) == len(json.loads(plain)["cameras"]) == 16
    assert len(packed) * 4 < len(plain)
