"""Webhooks of a whole gateway: what happens in it, at a real receiver."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from gateway.clock import SYSTEM_CLOCK, to_rfc3339
from tests.support.eventually import eventually
from tests.support.serving import GatewayServer
from tests.support.webhook_receiver import SECRET, Answer, WebhookReceiver, webhook_receiver
from web.api.webhook_messages import MESSAGES
from web.app import create_app
from web.gateway import GATEWAY
from web.settings import Settings, load_settings
from web.webhooks import watch
from web.webhooks.service import WEBHOOKS

pytestmark = pytest.mark.usefixtures("empty_place")

CAMERAS = {
    "door": {"url": "fake://door?width=320&height=180&gop=5", "engine": "fake", "record": "always"},
    "yard": {"url": "fake://yard?width=320&height=180&gop=5", "engine": "fake", "start": "on-demand"},
}


def settings_of(folder: Path, webhooks: dict[str, Any], **values: Any) -> Settings:
    return load_settings(
        webhooks=webhooks,
        **{
            "cameras": CAMERAS,
            "data_dir": folder / "data",
            "webrtc_udp_port": 0,
            "archive_min_free_bytes": 0,
            "auth_disabled": True,
        }
        | values,
    )


YARD = {"cameras": {"yard": CAMERAS["yard"] | {"record": "never"}}}
"""A gateway that captures nothing starts and ends sooner."""


def table(url: str, **values: Any) -> dict[str, Any]:
    return {"url": url, "secret": SECRET} | values


@contextlib.asynccontextmanager
async def gateway_with(settings: Settings) -> AsyncIterator[Any]:
    async with TestClient(GatewayServer(create_app(settings))) as client:
        yield client


def ago(seconds: float) -> str:
    return to_rfc3339(SYSTEM_CLOCK.wall_90k() - round(seconds * 90_000))


async def create(client: Any, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/api/events", json={"camera_id": "door", "label": "person"} | fields)
    assert answer.status == 201, await answer.text()
    event: dict[str, Any] = await answer.json()
    return event


async def test_what_happens_is_reported_as_the_api_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "HOLD_S", 0.0)
    monkeypatch.setattr(watch, "START_S", 0.0)
    async with webhook_receiver() as receiver:
        hooks = {"all": table(receiver.url), "yard": table(receiver.url + "yard", cameras=["yard"], events="event.*")}
        async with gateway_with(settings_of(tmp_path, hooks)) as client:
            await eventually(lambda: receiver.of("camera.up"), "the camera is up")
            assert receiver.of("camera.up")[0].data["camera"]["camera_id"] == "door"

            event = await create(client, start=ago(0.5), end=None, data={"plate": "ÄB 1"})
            await client.patch(f"/api/events/{event['id']}", json={"end": "now"})
            await client.delete(f"/api/events/{event['id']}")
            clipped = await create(client, start=ago(5.5), end=ago(4.9))
            await eventually(lambda: receiver.of("clip.ready"), "the clip is ready")
            kinds = [each.type for each in receiver.taken() if each.type.startswith("event.")]
            assert kinds == ["event.created", "event.updated", "event.deleted", "event.created"]
            first = receiver.of("event.created")[0]
            assert first.data["event"] | {"end": None} == event
            assert first.body["timestamp"] == event["created"]
            clip = receiver.of("clip.ready")[0].data["event"]
            assert clip == clipped
            assert (await client.get(clip["clip"])).status == 200

            await client.patch("/api/cameras/door", json={"record": "never"})
            await eventually(lambda: receiver.of("segment.closed"), "the file is complete")
            segment = receiver.of("segment.closed")[0].data["segment"]

            async def is_indexed() -> bool:  # after it was reported: a crash in between reports it again
                page = await (await client.get("/api/cameras/door/segments")).json()
                return bool(page["segments"] == [segment])

            await eventually(is_indexed, "the index says the same")
            assert len(segment["sha256"]) == 64

            await client.patch("/api/cameras/door", json={"url": "rtsp://127.0.0.1:1/", "engine": "rtsp"})
            await eventually(lambda: receiver.of("problem.begun"), "the problem is reported")
            await eventually(lambda: receiver.of("camera.down"), "so is the state of the camera")
            down = receiver.of("camera.down")[0].data["camera"]
            assert down["state"] in ("retrying", "failed")
            assert down["error_message"]
            begun = receiver.of("problem.begun")[0].data
            assert begun["problem"]["code"] == "camera_down"
            await client.patch("/api/cameras/door", json={"url": CAMERAS["door"]["url"], "engine": "fake"})
            await eventually(lambda: receiver.of("problem.ended"), "its end is reported")
            ended = receiver.of("problem.ended")[0].data
            assert ended["begun"] == begun["begun"]
            assert ended["ended"] >= ended["begun"]
            await eventually(lambda: len(receiver.of("camera.up")) == 2, "so is the state of the camera")

            async def is_empty() -> bool:
                endpoint = (await (await client.get("/api/webhooks")).json())["webhooks"][0]
                return bool(endpoint["delivered"] >= 9 and endpoint["waiting"] == 0)

            await eventually(is_empty, "the answers to all messages are there")
            metrics = await (await client.get("/metrics")).text()
            assert 'liveedge_webhook_waiting{endpoint="all"} 0.0' in metrics
        assert len({each.id for each in receiver.requests}) == len(receiver.requests)
        assert not [each for each in receiver.requests if each.path == "/yard"]
        for each in receiver.requests:
            model, _ = MESSAGES[each.type]
            assert set(each.data) == set(model.model_fields)
            assert each.body["version"] == 1


async def test_what_happens_while_the_endpoint_and_the_gateway_are_off_is_reported_later(tmp_path: Path) -> None:
    async with webhook_receiver() as receiver:
        receiver.answer = lambda _path, _body: Answer(503)
        settings = settings_of(tmp_path, {"all": table(receiver.url, events="event.*")}, **YARD)
        async with gateway_with(settings) as client:
            await create(client, camera_id="yard", label="first")
            await eventually(lambda: receiver.requests, "the first attempt was made")
        first = receiver.requests[0]
        # Off: the log of events goes on without webhooks, as after a crash before a message was written.
        async with gateway_with(settings) as client:
            await client.app[WEBHOOKS]._sources.close()
            await create(client, camera_id="yard", label="second")
        receiver.requests.clear()
        receiver.answer = lambda _path, _body: Answer()
        async with gateway_with(settings) as client:
            await eventually(lambda: len(receiver.taken()) == 2, "both are delivered")
            await create(client, camera_id="yard", label="third")
            await eventually(lambda: len(receiver.taken()) == 3, "the next one too")
        assert [each.data["event"]["label"] for each in receiver.requests] == ["first", "second", "third"]
        assert receiver.requests[0].id == first.id


async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "DISK_HOLD_S", 0.0)
    async with webhook_receiver() as receiver:
        settings = settings_of(
            tmp_path, {"all": table(receiver.url, events="disk.*")}, cameras={}, archive_min_free_bytes=10**18
        )
        async with gateway_with(settings):
            await eventually(lambda: receiver.of("disk.low"), "it is reported")
        disk = receiver.of("disk.low")[0].data["disk"]
        assert disk["free_bytes"] < disk["min_free_bytes"] == 10**18
        # Over a restart, and with a disk that has room.
        async with gateway_with(settings_of(tmp_path, {"all": table(receiver.url, events="disk.*")}, cameras={})):
            await eventually(lambda: receiver.of("disk.ok"), "its end is reported")
        assert [each.type for each in receiver.requests] == ["disk.low", "disk.ok"]


async def test_an_endpoint_that_comes_later_gets_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    async with webhook_receiver() as receiver:
        receiver.answer = lambda _path, _body: Answer(503)
        hooks = {"all": table(receiver.url, events="event.*")}
        async with gateway_with(settings_of(tmp_path, hooks, **YARD)) as client:
            await create(client, camera_id="yard", label="old")
            await eventually(lambda: receiver.requests, "an attempt was made")
        async with gateway_with(settings_of(tmp_path, {}, **YARD)) as client:
            await create(client, camera_id="yard", label="between")
        receiver.requests.clear()
        receiver.answer = lambda _path, _body: Answer()
        async with gateway_with(settings_of(tmp_path, hooks, **YARD)) as client:
            await create(client, camera_id="yard", label="new")
            await eventually(lambda: receiver.taken(), "it is delivered")
        assert [each.data["event"]["label"] for each in receiver.requests] == ["new"]


async def test_settings_apply_at_once(tmp_path: Path) -> None:
    async with webhook_receiver() as receiver:
        async with gateway_with(settings_of(tmp_path, {}, **YARD)) as client:
            assert not (tmp_path / "data" / "webhooks.db").exists()
            await create(client, camera_id="yard", label="before")
            gateway = client.app[GATEWAY]
            await gateway.reload(settings_of(tmp_path, {"a": table(receiver.url + "a", events="event.*")}, **YARD))
            await eventually(lambda: "a" in client.app[WEBHOOKS].deliveries, "the endpoint is served")
            await create(client, camera_id="yard", label="one")
            await eventually(lambda: receiver.taken("/a"), "it is delivered")
            await gateway.reload(settings_of(tmp_path, {"b": table(receiver.url + "b", events="event.*")}, **YARD))
            await eventually(lambda: "b" in client.app[WEBHOOKS].deliveries, "the other endpoint is served")
            await create(client, camera_id="yard", label="two")
            await eventually(lambda: receiver.taken("/b"), "it is delivered")
            await gateway.reload(settings_of(tmp_path, {}, **YARD))
            await eventually(lambda: not client.app[WEBHOOKS].deliveries, "none is left")
            await create(client, camera_id="yard", label="after")
            assert (await client.post("/api/webhooks/a/enable")).status == 404
        found = [(each.path, each.data["event"]["label"]) for each in receiver.taken("/a") + receiver.taken("/b")]
        assert found == [("/a", "one"), ("/b", "two")]


async def test_a_failing_endpoint_is_a_problem_and_can_be_tried_at_once(
    tmp_path: Path, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.webhooks.retries.FIRST_S", 0.001)
    receiver.answer = lambda _path, _body: Answer(500)
    hooks = {"all": table(receiver.url + "s3cret-path", events="event.*")}
    async with gateway_with(settings_of(tmp_path, hooks, **YARD)) as client:
        await create(client, camera_id="yard")
        await eventually(lambda: len(receiver.requests) >= 3, "it has failed three times")
        await asyncio.sleep(0)
        status = await (await client.get("/api/status")).json()
        problem = next(each for each in status["problems"] if each["component"] == "webhooks")
        assert problem["code"] == "webhook_failing"
        assert f"all: the answer of {receiver.url.rstrip('/')} was 500" in problem["message"]
        assert "s3cret" not in await (await client.get("/api/webhooks")).text()
        receiver.answer = lambda _path, _body: Answer()
        assert (await client.post("/api/webhooks/all/enable")).status == 200
        await eventually(lambda: receiver.taken("/s3cret-path"), "it is delivered")


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with webhook_receiver() as found:
        yield found
