"""The ``event_…`` commands, with a real EMS and a real client of the gateway's own server."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import socketio

from tests.support.auth_gateway import ADMIN_TOKEN, auth_gateway
from tests.support.ems import Ems
from tests.web.api.routes.test_events import create


def for_client(client_id: str) -> Callable[[Any], bool]:
    return lambda data: bool(data.get("client_id") == client_id)


async def test_an_ems_marks_an_event_and_hears_of_changes_also_of_those_it_missed(tmp_path: Path) -> None:
    async with Ems() as ems, auth_gateway(tmp_path, socketio_server_url=ems.url, connection_retry_delay=0.1) as client:
        await ems.expect("connect")
        new = {"client_id": "guard", "metadata": {"camera_id": "door"}, "label": "ring", "idempotency_key": "1"}
        await ems.emit("event_create_request", new)
        await ems.emit("event_create_request", new)
        after, first = await ems.expect("event_response")
        after, again = await ems.expect("event_response", after=after)
        event = first["data"]["event"]
        assert again["data"] == first["data"]
        assert (event["camera_id"], event["source"], "end" in event) == ("door", "ems", False)
        assert first["data"]["client_id"] == "guard"
        await ems.emit("event_update_request", {"event_id": event["id"], "end": "now", "reviewed": True})
        _, changed = await ems.expect("event_changed", lambda data: data["kind"] == "updated")
        assert changed["data"]["event"]["reviewed"] is True
        for client_id, named, expected in (
            ("all", {}, [changed["data"]["event"]]),
            ("here", {"metadata": {"camera_id": "door"}}, [changed["data"]["event"]]),
            ("there", {"metadata": {"camera_id": "yard"}}, []),
        ):
            await ems.emit("event_list_request", {"client_id": client_id, "labels": ["ring"], **named})
            _, listed = await ems.expect("event_response", for_client(client_id))
            assert listed["data"]["events"] == expected
        for wrong, code in (
            ({"client_id": "a", "camera_id": "attic", "label": "x"}, "not_found"),
            ({"client_id": "b", "camera_id": "door", "label": "x", "start": "2999-01-01T00:00:00Z"}, "bad_request"),
            ({"client_id": "c", "label": "x", "camera_id": "door", "metadata": {"camera_id": "yard"}}, "bad_request"),
            ({**new, "client_id": "d", "label": "other"}, "idempotency_key_reused"),
            ({**new, "client_id": "e", "idempotency_key": "\0"}, "bad_request"),
        ):
            await ems.emit("event_create_request", wrong)
            _, refused = await ems.expect("event_response", lambda data: data.get("error") is not None, after)
            after = len(ems.seen)
            assert (refused["data"]["client_id"], refused["data"]["error"]) == (wrong["client_id"], code)
        await ems.stop()
        await create(client, label="missed")
        ems.seen.clear()
        await ems.start()
        _, missed = await ems.expect("event_changed")
        assert missed["data"]["event"]["label"] == "missed"


async def test_an_ems_hears_of_what_happened_around_a_restart_of_the_gateway(tmp_path: Path) -> None:
    async with Ems() as ems:
        options: dict[str, Any] = {"socketio_server_url": ems.url, "connection_retry_delay": 0.1}
        async with auth_gateway(tmp_path, **options) as client:
            await ems.expect("connect")
            await create(client, label="heard")
            after, _ = await ems.expect("event_changed", lambda data: data["event"]["label"] == "heard")
            # The answer comes after the acknowledgement of the event.
            await ems.emit("capture_status_request", {"requesting_client": "guard"})
            await ems.expect("capture_status_response", lambda data: data.get("client_id") == "guard", after)
            # It is sent, and the EMS dies before it has read it.
            ems.freeze()
            await create(client, label="lost")
        await ems.stop()
        async with auth_gateway(tmp_path, **{**options, "socketio_server_url": None}) as client:
            await create(client, label="while it was not connected")
        ems.seen.clear()
        await ems.start()
        async with auth_gateway(tmp_path, **options):
            after, _ = await ems.expect("event_changed")
            await ems.expect("event_changed", after=after)
    labels = [seen["data"]["event"]["label"] for seen in ems.seen if seen["on"] == "event_changed"]
    assert labels == ["lost", "while it was not connected"]


async def test_a_browser_gets_only_the_events_of_its_cameras(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path) as client:
        url = str(client.make_url("/"))
        clients = [socketio.AsyncClient(reconnection=False, handle_sigint=False) for _ in range(3)]
        guard, viewer, operator = clients
        seen: dict[str, asyncio.Queue[dict[str, Any]]] = {"guard": asyncio.Queue(), "viewer": asyncio.Queue()}
        guard.on("event_changed", seen["guard"].put)
        viewer.on("event_changed", seen["viewer"].put)
        await guard.connect(url, auth={"token": ADMIN_TOKEN})
        await viewer.connect(url, auth={"token": "may-view-the-door"})
        await operator.connect(url, auth={"token": "may-control-the-door"})
        yard = await guard.call("event_create_request", {"camera_id": "yard", "label": "cat", "duration_s": 0})
        door = await guard.call("event_create_request", {"camera_id": "door", "label": "dog", "duration_s": 0})
        assert [(await seen["guard"].get())["event"]["id"] for _ in range(2)] == [
            yard["event"]["id"],
            door["event"]["id"],
        ]
        assert (await seen["viewer"].get())["event"] == door["event"]
        assert (await viewer.call("event_list_request", {}))["events"] == [door["event"]]
        refused = await viewer.call("event_list_request", {"camera_id": "yard"})
        assert refused["error"] == "forbidden"
        change = {"event_id": yard["event"]["id"], "reviewed": True}
        assert (await viewer.call("event_update_request", change))["error"] == "forbidden"
        assert (await operator.call("event_update_request", change))["error"] == "not_found"
        mine = {"event_id": door["event"]["id"], "score": 0.5}
        assert (await operator.call("event_update_request", mine))["event"]["score"] == 0.5
        assert (await guard.call("event_update_request", change))["event"]["reviewed"] is True
        for each in clients:
            await each.disconnect()
