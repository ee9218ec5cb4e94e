"""``/api/status``: what components report of themselves."""

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
