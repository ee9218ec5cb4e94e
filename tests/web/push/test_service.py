"""Notifications of a whole gateway, at a real push service that opens them."""

import contextlib
import json
import stat
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from gateway.errors import BadRequestError
from tests.support.auth_gateway import ADMIN_TOKEN, bearer
from tests.support.eventually import eventually
from tests.support.push_service import PushService, push_service
from tests.support.resolver import Resolver
from tests.support.rtsp import free_port
from tests.support.serving import GatewayServer
from tests.support.shared_access import drop_tables
from web.app import create_app
from web.gateway import GATEWAY
from web.push import delivery
from web.push.client import check_endpoint
from web.push.service import PUSH
from web.push.store import subscription_id
from web.settings import Settings, load_settings
from web.webhooks import watch

pytestmark = pytest.mark.usefixtures("empty_place")

CAMERAS = {
    name: {"url": f"fake://{name}", "engine": "fake", "start": "on-demand", "record": "never"}
    for name in ("door", "yard")
}

URL = "/api/push/subscriptions"


@pytest.fixture
async def service() -> AsyncIterator[PushService]:
    async with push_service() as found:
        yield found


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_S", 0.01)


def settings_of(folder: Path, service: PushService | None, **values: Any) -> Settings:
    defaults: dict[str, Any] = {
        "cameras": CAMERAS,
        "data_dir": folder / "data",
        "webrtc_udp_port": 0,
        "archive_min_free_bytes": 0,
        "push_services": [service.url] if service else [],
    }
    return load_settings(**defaults | values)


@contextlib.asynccontextmanager
async def gateway_with(settings: Settings, port: int | None = None) -> AsyncIterator[Any]:
    async with TestClient(GatewayServer(create_app(settings), port=port)) as client:
        yield client


async def subscribe(client: Any, service: PushService, name: str, **values: Any) -> dict[str, Any]:
    browser = service.subscribe(name)
    headers = values.pop("headers", {})
    wanted = {"name": name, "kinds": ["event.created"], "endpoint": browser.endpoint, "keys": browser.keys} | values
    answer = await client.post(URL, json=wanted, headers=headers)
    assert answer.status == 201, await answer.text()
    found: dict[str, Any] = await answer.json()
    return found


async def happen(client: Any, label: str, camera_id: str = "door", headers: Any = None) -> dict[str, Any]:
    answer = await client.post("/api/events", json={"camera_id": camera_id, "label": label}, headers=headers or {})
    assert answer.status == 201, await answer.text()
    found: dict[str, Any] = await answer.json()
    return found


async def metrics(client: Any) -> dict[str, float]:
    text = await (await client.get("/metrics")).text()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("liveedge_push_")]
    return {name: float(value) for name, value in lines}


@pytest.mark.integration
async def test_the_nodes_of_a_cluster_notify_a_browser_of_everything_once(
    tmp_path: Path, service: PushService, postgres_url: str
) -> None:
    def node(name: str) -> contextlib.AbstractAsyncContextManager[Any]:
        port = free_port()
        values: dict[str, Any] = {"cluster_url": postgres_url, "node_name": name, "cameras": {}}
        values |= {"auth_token": ADMIN_TOKEN, "node_url": f"http://127.0.0.1:{port}"}
        return gateway_with(settings_of(tmp_path / name, service, **values), port)

    admin = bearer(ADMIN_TOKEN)
    with contextlib.ExitStack() as stack:
        stack.callback(drop_tables, postgres_url)
        async with node("a") as a, node("b") as b:
            camera = {"camera_id": "door", **CAMERAS["door"]}
            assert (await a.post("/api/cameras", json=camera, headers=admin)).status == 201
            await eventually(lambda: "door" in b.app[GATEWAY].service.cameras, "both have the camera")
            keys = [(await (await each.get("/api/push", headers=admin)).json())["public_key"] for each in (a, b)]
            assert keys[0] == keys[1]
            made = await (await a.post("/api/tokens", json={"name": "guard", "role": "viewer"}, headers=admin)).json()
            guard = bearer(made["token"])
            desk = await subscribe(a, service, "desk", headers=guard)
            assert (await b.post(f"{URL}/{desk['subscription_id']}/test", headers=guard)).status == 200
            for number, each in enumerate((a, b)):
                await happen(each, f"at-{number}", headers=admin)
            await eventually(lambda: len(service.of("desk")) >= 3, "the desk hears of all nodes")
            phone = await subscribe(b, service, "phone", headers=admin)
            assert (await a.delete(f"/api/tokens/{made['id']}", headers=admin)).status == 204

            async def is_refused() -> bool:
                return all([(await each.get(URL, headers=guard)).status == 401 for each in (a, b)])

            await eventually(is_refused, "both nodes know that the token has ended")

            async def is_gone() -> bool:
                listed = [(await (await each.get(URL, headers=admin)).json())["subscriptions"] for each in (a, b)]
                return [[one["name"] for one in some] for some in listed] == [["phone"], ["phone"]]

            await happen(a, "ends-it", headers=admin)
            await eventually(is_gone, "the subscription ends with its token, at both nodes")
            await eventually(lambda: service.of("phone"), "the other is notified by a node where it was not made")
            assert (await a.delete(f"{URL}/{phone['subscription_id']}", headers=admin)).status == 204
            assert (await (await b.get(URL, headers=admin)).json())["subscriptions"] == []
            bodies = sorted(each.data["body"] for each in service.of("desk"))
            assert bodies == ["Event: at-0", "Event: at-1", "Notifications arrive on this device."]


async def test_a_browser_is_notified_of_what_it_has_chosen(tmp_path: Path, service: PushService) -> None:
    settings = settings_of(tmp_path, service, push_contact="mailto:operator@example.com")
    async with gateway_with(settings) as client:
        assert not (tmp_path / "data" / "push.db").exists()
        key = (await (await client.get("/api/push")).json())["public_key"]
        phone = await subscribe(client, service, "phone", language="ko", cameras=["door"], labels=["person"])
        assert phone["service"] == service.url
        assert "push/phone" not in json.dumps(phone)
        assert phone["subscription_id"] == subscription_id(f"{service.url}/push/phone")
        await subscribe(client, service, "desk")
        await happen(client, "person", "yard")
        await happen(client, "ring")
        event = await happen(client, "Person")
        await eventually(lambda: len(service.of("desk")) == 3, "the desk hears of everything")
        await eventually(lambda: service.of("phone"), "the phone is notified")
        (said,) = service.of("phone")
        assert said.data["title"] == "door"
        assert said.data["body"] == "이벤트: Person"
        assert said.data["url"] == f"#/camera/door?t={event['start']}"
        assert said.claims["sub"] == "mailto:operator@example.com"
        assert said.key == key
        assert said.headers["Urgency"] == "normal"

        tried = await client.post(f"{URL}/{phone['subscription_id']}/test")
        assert (await tried.json())["delivered"] is True
        assert service.of("phone")[1].data["body"] == "이 기기에서 알림을 받을 수 있습니다."
        counted = await metrics(client)
        assert counted["liveedge_push_subscriptions"] == 2
        assert counted["liveedge_push_delivered_total"] == 5
        assert counted['liveedge_push_dropped_total{reason="full"}'] == 0

        assert (await client.delete(f"{URL}/{phone['subscription_id']}")).status == 204
        assert (await client.delete(f"{URL}/{phone['subscription_id']}")).status == 404
        assert [each["name"] for each in (await (await client.get(URL)).json())["subscriptions"]] == ["desk"]
    for name in ("push.key", "push.json"):
        assert stat.S_IMODE((tmp_path / "data" / name).stat().st_mode) == 0o600
    # They are there after a restart, with the same key.
    async with gateway_with(settings) as client:
        await happen(client, "late")
        await eventually(lambda: service.of("desk")[-1].data["body"] == "Event: late", "the desk is notified again")
        assert service.of("desk")[-1].key == key


async def test_a_camera_that_is_back_is_news_after_it_was_down(
    tmp_path: Path, service: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "HOLD_S", 0.0)
    away = {"url": "rtsp://127.0.0.1:9/", "engine": "rtsp", "start": "always", "record": "never"}
    cameras = {"door": CAMERAS["door"] | {"start": "always"}, "yard": away}
    async with gateway_with(settings_of(tmp_path, service, cameras=cameras)) as client:
        await subscribe(client, service, "phone", kinds=["camera.up", "camera.down"], language="en")
        await eventually(lambda: service.of("phone"), "the camera is down")
        changed = await client.patch("/api/cameras/yard", json={"url": "fake://yard", "engine": "fake"})
        assert changed.status == 200, await changed.text()
        await eventually(lambda: len(service.of("phone")) == 2, "the camera is back")
    said = [(each.data["title"], each.data["body"], each.headers["Urgency"]) for each in service.of("phone")]
    assert said == [
        ("yard", "The camera sends no video.", "high"),
        ("yard", "The camera sends video again.", "normal"),
    ]


async def test_what_a_push_service_answers(tmp_path: Path, service: PushService) -> None:
    answers = {
        "busy": [web.Response(status=429, headers={"Retry-After": "0"}), web.Response(status=503)],
        "strict": [web.Response(status=413)],
        "gone": [web.Response(status=410)],
        "moved": [web.Response(status=307, headers={"Location": f"{service.url}/push/desk"})],
    }

    def answer(name: str) -> web.Response:
        waiting = answers.get(name)
        return waiting.pop(0) if waiting else web.Response(status=201)

    service.answer = answer
    async with gateway_with(settings_of(tmp_path, service)) as client:
        for name in answers:
            await subscribe(client, service, name)
        await happen(client, "one")
        await eventually(lambda: service.of("busy"), "what was not taken is sent again")
        await eventually(lambda: not any(answers.values()), "all have answered")

        def has_heard_of(name: str, text: str) -> bool:
            return text in [each.data["body"] for each in service.of(name)]

        async def names() -> list[str]:
            return [each["name"] for each in (await (await client.get(URL)).json())["subscriptions"]]

        async def is_removed() -> bool:
            return "gone" not in await names()

        await eventually(is_removed, "a subscription that has ended is removed")
        assert await names() == ["busy", "strict", "moved"]
        await happen(client, "two")
        for name in ("busy", "strict", "moved"):
            await eventually(partial(has_heard_of, name, "Event: two"), f"the next message arrives at {name}")
        # A message that was refused is not sent again, and a redirect is not followed.
        assert [each.data["body"] for each in service.of("strict")] == ["Event: two"]
        assert [each.data["body"] for each in service.of("moved")] == ["Event: two"]
        counted = await metrics(client)
        assert counted['liveedge_push_dropped_total{reason="refused"}'] == 2
        assert counted['liveedge_push_dropped_total{reason="gone"}'] == 1
        assert counted["liveedge_push_failed_total"] == 5


async def test_a_browser_that_is_not_reached_loses_the_oldest(
    tmp_path: Path, service: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "FIRST_S", 1000.0)
    monkeypatch.setattr(delivery, "LONGEST_S", 1000.0)
    monkeypatch.setattr("web.push.service.QUEUE_MAX", 3)
    service.answer = lambda _name: web.Response(status=503)
    async with gateway_with(settings_of(tmp_path, service)) as client:
        await subscribe(client, service, "off")
        for number in range(5):
            await happen(client, f"event {number}")

        async def is_full() -> bool:
            return (await metrics(client)).get('liveedge_push_dropped_total{reason="full"}') == 2

        await eventually(is_full, "two are dropped")
        assert (await metrics(client))["liveedge_push_waiting"] == 3
        assert service.tries == 1


TOKENS = {
    "guard": {"token": "the-token-of-the-guard", "scopes": ["view", "control"], "cameras": ["door"]},
    "other": {"token": "the-token-of-the-other", "scopes": ["view"]},
}


async def test_a_token_hears_of_its_cameras_until_it_ends(tmp_path: Path, service: PushService) -> None:
    values: dict[str, Any] = {"auth_token": "the-token-of-the-admin", "auth": {"tokens": TOKENS}}
    admin, guard, other = (bearer(f"the-token-of-the-{name}") for name in ("admin", "guard", "other"))
    async with gateway_with(settings_of(tmp_path, service, **values)) as client:
        browser = service.subscribe("refused")
        wanted = {"name": "x", "kinds": ["event.created"], "endpoint": browser.endpoint, "keys": browser.keys}
        assert (await client.post(URL, json=wanted)).status == 401
        answer = await client.post(URL, json=wanted | {"cameras": ["yard"]}, headers=guard)
        assert answer.status == 403
        kinds = ["event.created", "disk.low"]
        mine = await subscribe(client, service, "guard", headers=guard, kinds=kinds)
        await subscribe(client, service, "other", headers=other)
        await happen(client, "a", "yard", admin)
        await happen(client, "b", "door", admin)
        await eventually(lambda: len(service.of("other")) == 2, "all cameras")
        await eventually(lambda: service.of("guard"), "the guard's camera")
        assert [each.data["title"] for each in service.of("guard")] == ["door"]

        # Nobody but its owner and an admin sees it, and removes it.
        async def listed(headers: dict[str, str]) -> list[str]:
            answer = await client.get(URL, headers=headers)
            return [each["name"] for each in (await answer.json())["subscriptions"]]

        assert await listed(guard) == ["guard"]
        assert await listed(admin) == ["guard", "other"]
        path = f"{URL}/{mine['subscription_id']}"
        assert (await client.delete(path, headers=other)).status == 404
        assert (await client.post(f"{path}/test", headers=other)).status == 404

        without = {"auth_token": "the-token-of-the-admin", "auth": {"tokens": {"other": TOKENS["other"]}}}
        await client.app[GATEWAY].reload(settings_of(tmp_path, service, **without))

        async def has_ended() -> bool:
            return await listed(admin) == ["other"]

        await eventually(has_ended, "the subscription ends with its token")
        await happen(client, "c", "door", admin)
        await eventually(lambda: len(service.of("other")) == 3, "the other goes on")
        assert len(service.of("guard")) == 1


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://push.example/1",
        "https://127.0.0.1/1",
        "https://[::1]/1",
        "https://10.0.0.1/1",
        "https://169.254.169.254/latest",
        "https://[64:ff9b::a00:1]/1",
        "https://[::ffff:192.168.0.1]/1",
        "ftp://push.example/1",
        "https:///1",
        "https://push.example:0/1",
    ],
)
def test_an_endpoint_that_is_no_push_service_on_the_internet_is_refused(endpoint: str) -> None:
    with pytest.raises(BadRequestError, match="endpoint: "):
        check_endpoint(endpoint, ["https://push.intranet.example"])


async def test_a_name_that_leads_into_the_own_network_is_not_connected_to(
    tmp_path: Path, service: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(monkeypatch)
    resolver.addresses["push.example"] = ["127.0.0.1"]
    async with gateway_with(settings_of(tmp_path, None)) as client:
        service.url = service.url.replace("http://127.0.0.1", "https://push.example")
        found = await subscribe(client, service, "inside")
        answer = await (await client.post(f"{URL}/{found['subscription_id']}/test")).json()
        assert answer["delivered"] is False
        assert "is not on the Internet" in answer["message"]
        assert resolver.asked == ["push.example"]


async def test_a_key_that_cannot_be_used_is_reported_and_left_as_it_is(tmp_path: Path, service: PushService) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "push.key").write_text("no key")
    (data / "push.key").chmod(0o600)
    (data / "push.json").write_text("{}")
    async with gateway_with(settings_of(tmp_path, service)) as client:
        answer = await client.get("/api/push")
        assert answer.status == 503
        assert "it is not a private key" in (await answer.json())["message"]
        found = (await (await client.get("/api/status")).json())["problems"]
        assert "push_unusable" in [each["code"] for each in found]
        assert not client.app[PUSH].deliveries
    assert (data / "push.key").read_text() == "no key"
    assert (data / "push.json").read_text() == "{}"
