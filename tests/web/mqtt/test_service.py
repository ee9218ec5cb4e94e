"""MQTT against a real broker: what Home Assistant finds there, and a broker that goes away."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.support.eventually import eventually
from tests.support.mosquitto import PASSWORD, USER, Broker, Listener, listening, mosquitto
from tests.support.sources.numbered import size_of
from web.app import create_app
from web.mqtt import publisher, service
from web.mqtt.service import MQTT
from web.settings import load_settings

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("empty_place")]

FAKE = {"url": "fake://door?width=320&height=180&gop=5", "engine": "fake", "record": "always", "name": "Front door"}

DOOR = "liveedge/cameras/door/"

DEVICE = "homeassistant/device/liveedge_door/config"


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@contextlib.asynccontextmanager
async def gateway_at(folder: Path, url: str, **values: Any) -> AsyncIterator[Any]:
    settings = load_settings(
        **{
            "cameras": {"door": FAKE},
            "data_dir": folder / "data",
            "webrtc_udp_port": 0,
            "archive_min_free_bytes": 0,
            "auth_disabled": True,
            "mqtt_url": url,
        }
        | values
    )
    async with TestClient(TestServer(create_app(settings))) as client:
        client.app[MQTT]._backoff.delay_s = 0.05
        yield client


async def create(client: Any, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/api/events", json={"camera_id": "door", "label": "person"} | fields)
    assert answer.status == 201, await answer.text()
    event: dict[str, Any] = await answer.json()
    return event


async def test_home_assistant_finds_a_camera_with_all_that_it_needs(
    tmp_path: Path, shared_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "POLL_S", 0.05)
    async with listening(shared_broker) as seen:
        async with gateway_at(tmp_path, shared_broker.url) as client:
            await seen.sees(f"{DOOR}availability", b"online")
            await seen.sees("liveedge/status", b"online")
            document = seen.json(DEVICE)
            assert document["device"]["name"] == "Front door"
            entities = document["components"]
            assert {each["platform"] for each in entities.values()} == {
                *("binary_sensor", "sensor", "event", "image", "switch")
            }
            assert len({each["unique_id"] for each in entities.values()}) == len(entities)
            await eventually(lambda: seen.json(f"{DOOR}state")["state"] == "live", "the camera is live")
            state = seen.json(entities["state"]["state_topic"])
            assert state["recording"]
            assert state["state"] in entities["state"]["options"]
            await eventually(lambda: seen.retained.get(entities["snapshot"]["image_topic"]), "there is a picture")
            assert size_of(seen.retained[f"{DOOR}snapshot"]) == (320, 180)

            event = await create(client)
            await seen.sees(entities["motion"]["state_topic"], b"ON")
            await client.patch(f"/api/events/{event['id']}", json={"end": "now"})
            await seen.sees(f"{DOOR}motion", b"OFF")
            await eventually(lambda: len(seen.all(f"{DOOR}event")) == 2, "both changes are there")
            created, updated = (json.loads(each) for each in seen.all(entities["event"]["state_topic"]))
            assert created == {"event_type": "created", **event}
            assert updated["event_type"] == "updated"
            assert {created["event_type"], updated["event_type"]} <= set(entities["event"]["event_types"])
            before = len(seen.all(f"{DOOR}motion"))
            await create(client, label="motion", duration_s=0)
            await eventually(lambda: seen.all(f"{DOOR}motion")[before:] == [b"ON", b"OFF"], "a moment is a pulse")

            await _switch_recording(client, seen, entities["recording"]["command_topic"])

            seen.messages.clear()
            await seen.client.publish("homeassistant/status", "online")
            await eventually(lambda: seen.all(DEVICE) and seen.all(f"{DOOR}state"), "the camera is announced again")

            await client.post("/api/cameras", json={"camera_id": "yard", "url": "fake://yard", "engine": "fake"})
            await eventually(lambda: seen.retained.get("liveedge/cameras/yard/state"), "the new camera is there")
            await client.delete("/api/cameras/yard")
            await eventually(
                lambda: not any(value for topic, value in seen.retained.items() if "yard" in topic), "nothing is left"
            )
            metrics = await (await client.get("/metrics")).text()
            assert "liveedge_mqtt_connected 1.0" in metrics
        await seen.sees("liveedge/status", b"offline")
    async with listening(shared_broker) as later:
        await later.sees("liveedge/status", b"offline")
        assert not [topic for topic in later.retained if "yard" in topic]
        assert f"{DOOR}event" not in later.retained
        # Retained by an earlier gateway, and by somebody who sends commands wrongly.
        await later.client.publish("liveedge/cameras/gone/state", "{}", retain=True)
        await later.client.publish("homeassistant/device/liveedge_gone/config", "{}", retain=True)
        await later.client.publish(f"{DOOR}recording/set", "OFF", retain=True)
        async with gateway_at(tmp_path, shared_broker.url):
            await later.sees("liveedge/cameras/gone/state", b"")
            await later.sees("homeassistant/device/liveedge_gone/config", b"")
            await later.sees("liveedge/status", b"online")
            assert later.json(f"{DOOR}state")["recording"]
        await later.client.publish(f"{DOOR}recording/set", "", retain=True)


async def _switch_recording(client: Any, seen: Listener, topic: str) -> None:
    for command, record in (("OFF", "never"), ("ON", "always")):
        await seen.client.publish(topic, command)
        await eventually(
            lambda record=record: seen.json(f"{DOOR}state")["record"] == record,  # type: ignore[misc]
            f"it is {record} recorded",
        )
        camera = await (await client.get("/api/cameras/door")).json()
        assert camera["record"] == record
    states = len(seen.all(f"{DOOR}state"))
    await seen.client.publish(topic, "perhaps")
    await seen.client.publish("liveedge/cameras/nobody/recording/set", "OFF")
    await seen.client.publish(topic, "ON")
    await eventually(lambda: len(seen.all(f"{DOOR}state")) > states, "each command is answered with the state")
    assert seen.json(f"{DOOR}state")["record"] == "always"


async def test_a_broker_that_goes_and_comes_back(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    async with gateway_at(tmp_path, broker.url) as client:
        mqtt = client.app[MQTT]
        await eventually(lambda: mqtt.error, "there is no broker")
        status = await (await client.get("/api/status")).json()
        problem = next(each for each in status["problems"] if each["component"] == "mqtt")
        assert problem["code"] == "broker_away"
        assert "s3cr" not in json.dumps(status)
        assert next(each for each in status["cameras"])["state"] in ("live", "connecting")
        try:
            for _ in range(2):
                await asyncio.to_thread(broker.start)
                mqtt._backoff.reset()
                await eventually(lambda: mqtt.is_connected, "it is connected")
                async with listening(broker) as seen:
                    await seen.sees("liveedge/status", b"online")
                    await seen.sees(f"{DOOR}availability", b"online")
                    assert seen.json(DEVICE)
                await asyncio.to_thread(broker.stop)
                await eventually(lambda: not mqtt.is_connected, "the end is noticed")
        finally:
            broker.stop()
        assert mqtt.connects == 2


# paho leaves the socket of a failed TLS handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
async def test_tls_a_wrong_password_and_the_last_will(tmp_path: Path, shared_broker: Broker) -> None:
    tls = f"mqtts://{USER}:{PASSWORD}@127.0.0.1:{shared_broker.tls_port}"
    on_demand = {"door": {**FAKE, "start": "on-demand", "record": "never"}}
    async with listening(shared_broker, "secure/status") as seen:
        async with gateway_at(
            tmp_path, tls, mqtt_ca_file=shared_broker.certificate, mqtt_topic="secure", cameras=on_demand
        ) as client:
            await seen.sees("secure/status", b"online")
            # The broker ends the gateway's connection without its DISCONNECT, as after kill -9.
            mqtt = client.app[MQTT]
            other = aiomqtt.Client(
                "127.0.0.1", shared_broker.port, username=USER, password=PASSWORD, identifier="liveedge_secure"
            )
            with contextlib.suppress(aiomqtt.MqttError):
                async with other:
                    await seen.sees("secure/status", b"offline")
                    await eventually(lambda: mqtt.connects == 2, "it has connected again")
            other._disconnected.exception()
            await seen.sees("secure/status", b"online")
        for url, why in (
            (tls, "certificate"),
            (shared_broker.url.replace(USER, "somebody"), "Not authorized"),
        ):
            async with gateway_at(tmp_path, url, mqtt_topic="secure", cameras=on_demand) as client:
                mqtt = client.app[MQTT]
                await eventually(lambda mqtt=mqtt: mqtt.error, "it is refused")  # type: ignore[misc]
                assert why in mqtt.error


async def test_a_broker_that_does_not_answer_and_one_that_freezes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(service, "CLOSE_S", 0.1)
    on_demand = {"door": {**FAKE, "start": "on-demand", "record": "never"}}
    connections: list[asyncio.StreamWriter] = []
    open_now: set[asyncio.StreamWriter] = set()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        open_now.add(writer)
        with contextlib.suppress(ConnectionError):
            while await reader.read(1024):
                pass
        open_now.discard(writer)
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with gateway_at(tmp_path, f"mqtt://127.0.0.1:{port}", cameras=on_demand) as client:
            await eventually(lambda: len(connections) >= 3, "it tries again")
            assert len(open_now) <= 1
            assert "timed out" in client.app[MQTT].error
        await eventually(lambda: not open_now, "no connection is left")
    with mosquitto(tmp_path) as broker:
        async with gateway_at(tmp_path, broker.url, cameras=on_demand) as client:
            mqtt = client.app[MQTT]
            await eventually(lambda: mqtt.is_connected, "it is connected")
            broker.freeze()
            await create(client)
            await eventually(lambda: not mqtt.is_connected, "a message that is not taken ends the connection")
        # The gateway has ended although the broker takes no DISCONNECT.
