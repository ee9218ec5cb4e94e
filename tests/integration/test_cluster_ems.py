"""Two nodes of a cluster and an EMS, as processes: one node has the connection, for the cameras of both."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.cluster.model import Node
from gateway.cluster.placement import ranked
from hls.cluster.roles import ClusterRoles
from hls.cluster.store import PostgresStore
from tests.support.ems import Ems
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.postgres import postgres_server
from tests.support.rtsp import free_port
from web.cluster.messaging import ROLE

pytestmark = pytest.mark.integration

NAMES = "ab"


def camera_of(name: str) -> str:
    """The id of a camera for which a node is the first choice."""
    nodes = [Node(each, each) for each in NAMES]
    ids = (f"camera{number}" for number in range(1000))
    return next(camera_id for camera_id in ids if ranked(nodes, camera_id, frozenset())[0].name == name)


CAMERAS = {name: camera_of(name) for name in NAMES}


async def test_one_node_speaks_to_the_ems_for_all_and_another_goes_on(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(postgres_server())
        ems = await Ems().start()
        stack.push_async_callback(ems.stop)
        nodes = {}
        for name in NAMES:
            (folder := tmp_path / name).mkdir()
            settings = {"CLUSTER_URL": server.url, "NODE_NAME": name, "SOCKETIO_SERVER_URL": ems.url}
            settings |= {"PORT": str(port := free_port()), "NODE_URL": f"http://127.0.0.1:{port}"}
            nodes[name] = await asyncio.to_thread(
                stack.enter_context, GatewayProcess(folder, CONNECTION_RETRY_DELAY=0.1, **settings)
            )

        async def json(name: str, *arguments: Any) -> Any:
            return await asyncio.to_thread(nodes[name].json, *arguments)

        for camera_id in CAMERAS.values():
            table = {
                "camera_id": camera_id,
                "url": f"fake://{camera_id}?width=320&height=180",
                "engine": "fake",
                "start": "always",
            }
            await json("a", "/api/cameras", "POST", table)

        async def speakers() -> list[str]:
            return [name for name in NAMES if (await json(name, "/api/status"))["messaging"]["connected"]]

        async def owners() -> dict[str, str | None]:
            found: dict[str, str | None] = (await json("b", "/api/status"))["cluster"]["owners"]
            return found

        async def is_owned() -> bool:
            return list((await owners()).values()).count(None) == 0 and len(await owners()) == 2

        async def is_shared() -> bool:
            return await owners() == {camera_id: name for name, camera_id in CAMERAS.items()}

        await eventually(is_owned, "nodes own the cameras")
        # One that has just started lets the other be first.
        await asyncio.to_thread(rebalance, server.url)
        await eventually(is_shared, "each node owns its camera")
        (speaker,) = await eventually(speakers, "a node has the connection")
        other = "b" if speaker == "a" else "a"
        for camera_id in CAMERAS.values():
            await ems.expect("capture_status_response", partial(is_active, camera_id))
        assert (await json(other, "/api/status"))["messaging"]["node"] == speaker
        assert not [each for each in (await json(other, "/api/status"))["problems"] if each["component"] == "messaging"]

        # A command for the camera of the node that has no connection.
        asked = {"client_id": "desk", "camera_id": CAMERAS[other], "label": "parcel"}
        await ems.emit("event_create_request", asked)
        _, answer = await ems.expect("event_response", lambda data: data["client_id"] == "desk")
        event_id = answer["data"]["event"]["id"]
        assert (await json(other, f"/api/events/{event_id}"))["label"] == "parcel"
        await ems.expect("event_changed", lambda data: (data.get("event") or {}).get("id") == event_id)
        await ems.emit("event_list_request", {"client_id": "list"})
        _, answer = await ems.expect("event_response", lambda data: data["client_id"] == "list")
        assert [each["id"] for each in answer["data"]["events"]] == [event_id]
        await ems.emit("event_update_request", {"client_id": "desk", "event_id": event_id, "label": "letter"})
        await ems.expect("event_response", lambda data: (data.get("event") or {}).get("label") == "letter")
        await ems.emit("segments_list_request", {"client_id": "desk", "camera_id": CAMERAS[other]})
        _, answer = await ems.expect("segments_response", lambda data: data["client_id"] == "desk")
        assert answer["data"]["segments"]

        await ems.emit("capture_start_request", {"client_id": "desk", "camera_id": CAMERAS[speaker]})
        await ems.expect("video_frame_from_service", lambda data: data["metadata"]["camera_id"] == CAMERAS[speaker])
        # Frames of the other node's camera are relayed.
        await ems.emit("capture_start_request", {"client_id": "desk", "camera_id": CAMERAS[other]})
        await ems.expect("video_frame_from_service", lambda data: data["metadata"]["camera_id"] == CAMERAS[other])
        assert ems.count("connect") == 1
        await eventually(lambda: asyncio.to_thread(is_kept, server.url, b"desk"), "the request is in the database")
        nodes[speaker].kill()
        at, _ = await ems.expect("disconnect")
        at, _ = await ems.expect("connect", after=at)
        # What the EMS had requested goes on, and the other node says so.
        await ems.expect(
            "capture_status_response",
            lambda data: (
                data["camera_id"] == CAMERAS[speaker]
                and data["is_active"]
                and [each["client_id"] for each in data["requested_by"]] == ["desk"]
            ),
            after=at,
        )
        await ems.expect(
            "video_frame_from_service", lambda data: data["metadata"]["camera_id"] == CAMERAS[speaker], after=at
        )
        assert await speakers_of(nodes[other]) == other
        assert ems.count("connect") == 2
        for camera_id in CAMERAS.values():
            at = len(ems.seen)
            await ems.emit("capture_stop_request", {"client_id": "desk", "camera_id": camera_id})
            await ems.expect("capture_status_response", lambda data: data.get("client_id") == "desk", after=at)


def is_active(camera_id: str, status: Any) -> bool:
    return bool(status["camera_id"] == camera_id and status["is_active"])


def is_kept(url: str, client: bytes) -> bool:
    store = PostgresStore(url)
    store.open()
    kept = ClusterRoles(store, "").kept(ROLE)
    store.close()
    return client in (kept or b"")


def rebalance(url: str) -> None:
    store = PostgresStore(url)
    store.open()
    store.want_rebalance()
    store.close()


async def speakers_of(node: GatewayProcess) -> str:
    """The node that has the connection, as a node tells it."""
    found: str = (await asyncio.to_thread(node.json, "/api/status"))["messaging"]["node"]
    return found
