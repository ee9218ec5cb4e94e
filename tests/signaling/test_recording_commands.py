"""Pictures and recordings on request, with a real EMS, a real client of the gateway's own server, and real files."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import socketio

from tests.support.auth_gateway import ADMIN_TOKEN, DEMO, Client, auth_gateway
from tests.support.ems import Ems, jpeg_of
from tests.support.recording import index_of, record
from tests.support.sources.encoded import EncoderSettings, encode
from tests.support.sources.numbered import size_of

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}

DOOR = {"door": {"url": "rtsp://127.0.0.1:9/door", "start": "on-demand", "connection_retry_attempts": 1}}


@pytest.fixture
async def gateway(tmp_path: Path, ems: Ems) -> AsyncIterator[Client]:
    """10 s of ``door`` in five segments; ``demo`` has a live picture."""
    index_of(tmp_path / "data", record(tmp_path / "data", encode(EncoderSettings(seconds=10)), segment_s=2)).close()
    cameras = {**DOOR, **DEMO}
    async with auth_gateway(tmp_path, socketio_server_url=ems.url, cameras=cameras, start="on-demand") as client:
        await ems.expect("connect")
        yield client


async def ask(ems: Ems, event: str, payload: dict[str, Any], answer: str, after: int = 0) -> tuple[int, Any]:
    await ems.emit(event, payload)
    return await ems.expect(answer, lambda data: data.get("client_id") == payload["client_id"], after)


def facts(segment: dict[str, Any]) -> dict[str, Any]:
    """What does not change: a segment gets its digest soon after it was found. Over HTTP, what is missing is null."""
    return {name: value for name, value in segment.items() if value is not None and name != "sha256"}


async def test_an_ems_lists_segments_page_by_page_and_finds_a_moment(ems: Ems, gateway: Client) -> None:
    request: dict[str, Any] = {"client_id": "a", "metadata": {"camera_id": "door"}, "limit": 3}
    at, page = await ask(ems, "segments_list_request", request, "segments_response")
    first = page["data"]["segments"]
    assert [each["camera_id"] for each in first] == ["door"] * 3
    more = {**request, "cursor": page["data"]["next_cursor"], "client_id": "b"}
    at, page = await ask(ems, "segments_list_request", more, "segments_response", at)
    assert len(page["data"]["segments"]) == 2
    assert "next_cursor" not in page["data"]
    over_http = await (await gateway.get("/api/cameras/door/segments", headers=ADMIN)).json()
    assert [facts(each) for each in (*first, *page["data"]["segments"])] == [facts(s) for s in over_http["segments"]]
    span = {"client_id": "c", "camera_id": "door", "start": first[1]["start"], "end": first[1]["end"]}
    at, page = await ask(ems, "segments_list_request", span, "segments_response", at)
    assert [each["id"] for each in page["data"]["segments"]] == [first[1]["id"]]
    moment = {"client_id": "d", "camera_id": "door", "time": first[2]["start"], "unknown": 1}
    at, found = await ask(ems, "segment_at_request", moment, "segment_at_response", at)
    assert (facts(found["data"]["segment"]), found["data"]["offset_s"]) == (facts(first[2]), 0)
    assert found["data"]["warnings"] == ["there is no field 'unknown'; it is ignored"]


async def test_an_ems_gets_a_picture_of_now_and_of_a_recorded_moment(ems: Ems, gateway: Client) -> None:
    at, live = await ask(
        ems, "snapshot_request", {"client_id": "a", "camera_id": "demo", "width": 160}, "snapshot_response"
    )
    assert (
        size_of(jpeg_of(live)) == (live["data"]["metadata"]["width"], live["data"]["metadata"]["height"]) == (160, 90)
    )
    sizes = []
    for client_id, quality in (("b", 20), ("c", 95)):
        request = {"client_id": client_id, "camera_id": "door", "at": "2026-11-22T18:50:05Z", "quality": quality}
        at, recorded = await ask(ems, "snapshot_request", request, "snapshot_response", at)
        assert recorded["data"]["metadata"]["timestamp"].startswith("2026-11-22T18:50:05")
        sizes.append(len(jpeg_of(recorded)))
    assert sizes[0] < sizes[1]


async def test_a_picture_that_takes_long_delays_no_other_answer(ems: Ems, gateway: Client) -> None:
    await ems.emit("snapshot_request", {"client_id": "slow", "camera_id": "door", "wait": 1})
    at, _ = await ask(
        ems,
        "capture_status_request",
        {"client_id": "slow", "requesting_client": "slow", "camera_id": "demo"},
        "capture_status_response",
    )
    assert ems.count("snapshot_response") == 0
    _, refused = await ems.expect("snapshot_response", after=at)
    assert (refused["data"]["error"], refused["data"]["camera_id"]) == ("unavailable", "door")


REFUSED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("segments_list_request", {"camera_id": "attic"}, "not_found"),
    ("segments_list_request", {"camera_id": "door", "cursor": "zzz"}, "bad_request"),
    ("segments_list_request", {"camera_id": "door", "start": "noon"}, "bad_request"),
    ("segments_list_request", {"camera_id": "door", "start": 2, "end": 1}, "bad_request"),
    ("segments_list_request", {"camera_id": "door", "limit": 501}, "bad_request"),
    ("segment_at_request", {"camera_id": "door"}, "bad_request"),
    ("segment_at_request", {"camera_id": "door", "time": 5}, "not_found"),
    ("snapshot_request", {"camera_id": "attic"}, "not_found"),
    ("snapshot_request", {"camera_id": "door", "at": 5}, "not_found"),
    ("snapshot_request", {"camera_id": "demo", "quality": 0}, "bad_request"),
)


async def test_what_cannot_be_answered_is_refused_with_the_camera(gateway: Client) -> None:
    client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
    told: list[Any] = []
    for name in ("segments_response", "segment_at_response", "snapshot_response"):
        client.on(name, told.append)
    await client.connect(str(gateway.make_url("/")), auth={"token": ADMIN_TOKEN})
    for event, payload, error in REFUSED:
        answer = await client.call(event, payload)
        assert answer["error"] == error, (event, payload)
        assert told.pop() == {**answer, "camera_id": payload["camera_id"]}
    await client.disconnect()
