"""``/api/events``: what a client may send, what each credential sees, and what is refused."""

from typing import Any

import pytest
from aiohttp import ClientResponse

from gateway.clock import to_rfc3339
from tests.support.auth_gateway import ADMIN_TOKEN, Client, bearer
from tests.support.eventually import eventually
from web.gateway import GATEWAY

ADMIN = bearer(ADMIN_TOKEN)
DOOR = bearer("may-control-the-door")
VIEW = bearer("may-view-the-door")
YARD = bearer("may-all-of-the-yard")

T0 = "2026-11-22T18:50:00.000Z"


async def create(client: Client, headers: dict[str, str] = ADMIN, **fields: Any) -> ClientResponse:
    body = {"camera_id": "door", "label": "person", "start": T0} | fields
    return await client.post("/api/events", json=body, headers=headers)


async def listed(client: Client, query: str = "", headers: dict[str, str] = ADMIN) -> list[str]:
    answer = await client.get(f"/api/events{query}", headers=headers)
    assert answer.status == 200, await answer.text()
    return [event["label"] for event in (await answer.json())["events"]]


async def test_from_open_to_reviewed(auth_client: Client) -> None:
    answer = await create(auth_client, DOOR, score=0.9, data={"box": [1, 2]})
    event = await answer.json()
    assert answer.status == 201
    assert answer.headers["Location"] == f"/api/events/{event['id']}"
    assert {name: event[name] for name in ("camera_id", "start", "end", "label", "score", "source", "data")} == {
        "camera_id": "door",
        "start": T0,
        "end": None,
        "label": "person",
        "score": 0.9,
        "source": "api",
        "data": {"box": [1, 2]},
    }
    assert (event["reviewed"], event["protect"]) == (False, False)
    patch = {"end": "2026-11-22T18:50:09Z", "reviewed": True, "data": {"box": None, "who": "postman"}, "score": None}
    answer = await auth_client.patch(answer.headers["Location"], json=patch, headers=DOOR)
    changed = await answer.json()
    assert answer.status == 200
    assert (changed["end"], changed["reviewed"], changed["data"], changed["score"]) == (
        "2026-11-22T18:50:09.000Z",
        True,
        {"who": "postman"},
        None,
    )
    answer = await auth_client.get(f"/api/events/{event['id']}", headers=VIEW)
    assert await answer.json() == changed
    assert (await auth_client.delete(f"/api/events/{event['id']}", headers=DOOR)).status == 204
    assert (await auth_client.delete(f"/api/events/{event['id']}", headers=DOOR)).status == 404


async def test_times(auth_client: Client) -> None:
    gateway = auth_client.server.app[GATEWAY]  # type: ignore[attr-defined]
    now_90k = gateway.clock.wall_90k()
    for fields, start, end in (
        ({"start": 0, "end": 1.5}, "1970-01-01T00:00:00.000Z", "1970-01-01T00:00:01.500Z"),
        ({"duration_s": 0}, T0, T0),
        ({"start": "2026-11-22T19:50:00+01:00", "duration_s": 2.5}, T0, "2026-11-22T18:50:02.500Z"),
        ({"start": "2026-11-22T18:50:00.500000000000001Z", "duration_s": 0}, T0[:-4] + "500Z", T0[:-4] + "500Z"),
        ({"start": to_rfc3339(now_90k + 50 * 90_000)}, to_rfc3339(now_90k + 50 * 90_000), None),
    ):
        event = await (await create(auth_client, **fields)).json()
        assert (event["start"], event["end"]) == (start, end)
    answer = await auth_client.post("/api/events", json={"camera_id": "door", "label": "ring"}, headers=ADMIN)
    event = await answer.json()
    assert event["start"] >= to_rfc3339(now_90k)
    answer = await auth_client.patch(f"/api/events/{event['id']}", json={"end": "now"}, headers=ADMIN)
    assert (await answer.json())["end"] >= event["start"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start": 99_999_999_999}, "start is more than 60 s in the future"),
        ({"duration_s": 9_999_999}, "duration_s is more than 60 s in the future"),
        ({"end": "2026-11-22T18:49:59Z"}, "end is before start"),
        ({"end": "now", "duration_s": 1}, "end and duration_s are both given"),
        ({"start": -1}, "start: '-1' is not a time"),
        ({"start": True}, "start: must be a time: text or a number"),
        ({"end": {}}, "end: must be a time"),
        ({"start": "2026-11-22T18:50:00"}, "is not a time"),
        ({"start": 1e300}, "start"),
        ({"score": 1.01}, "score: must be at most 1"),
        ({"score": "high"}, "score: must be a number"),
        ({"label": ""}, "label: must not be empty"),
        ({"label": "x" * 65}, "label: must have at most 64"),
        ({"label": "two\nlines"}, "printable"),
        ({"label": " x"}, "space"),
        ({"label": "\ud800"}, "label: has text that is not Unicode"),
        ({"source": "\0"}, "printable"),
        ({"data": {"x": "y" * 8200}}, "data: must be at most 8192 bytes"),
        ({"data": {"x": "\ud800"}}, "surrogate"),
        ({"data": {"\0": 1}}, "NUL"),
        ({"data": [1]}, "data: must be an object"),
        ({"data": {"x": float("nan")}}, "data: must not contain NaN"),
        ({"lable": "x"}, "lable: does not exist"),
        ({"id": "mine"}, "id: does not exist"),
        ({"camera_id": 7}, "camera_id: must be text"),
        ({"reviewed": "yes"}, "reviewed: must be true or false"),
    ],
)
async def test_what_cannot_be_kept_is_refused(auth_client: Client, fields: dict[str, Any], message: str) -> None:
    answer = await create(auth_client, **fields)
    body = await answer.json()
    assert (answer.status, body["error"]) == (400, "bad_request"), body
    assert message in body["message"]


async def test_other_bodies_are_refused(auth_client: Client) -> None:
    deep = '{"camera_id": "door", "label": "x", "data": {"x": ' + "[" * 3000 + "]" * 3000 + "}}"
    headers = ADMIN | {"Content-Type": "application/json"}
    for body in (deep, "[]", "", '{"camera_id": "door"}', '{"data": 1e999}'):
        assert (await auth_client.post("/api/events", data=body, headers=headers)).status == 400
    assert (await create(auth_client, camera_id="attic")).status == 404
    event = await (await create(auth_client)).json()
    url = f"/api/events/{event['id']}"
    for patch in ({"label": None}, {"camera_id": "yard"}, {"end": "2000-01-01T00:00:00Z"}, {"data": {"x": "\ud800"}}):
        assert (await auth_client.patch(url, json=patch, headers=ADMIN)).status == 400
    assert await (await auth_client.get(url, headers=ADMIN)).json() == event
    for unknown in ("none", event["id"].upper() + "x", "%00"):
        assert (await auth_client.get(f"/api/events/{unknown}", headers=ADMIN)).status == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json; charset=nonsense"}, 201),
        ({"Content-Type": "application/json; charset=hex"}, 201),
        ({"Content-Encoding": "identity"}, 201),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Encoding": "br"}, 415),
        ({"Content-Encoding": "identity, gzip"}, 415),
    ],
)
async def test_codings_of_a_body(auth_client: Client, headers: dict[str, str], status: int) -> None:
    body = b'\xef\xbb\xbf{"camera_id": "door", "label": "caf\xc3\xa9", "duration_s": 0}'
    more = ADMIN | {"Content-Type": "application/json"} | headers
    answer = await auth_client.post("/api/events", data=body, headers=more)
    assert answer.status == status, await answer.text()
    assert (await answer.json())["label" if status == 201 else "error"] == (
        "café" if status == 201 else "unsupported_media_type"
    )


async def test_a_repeated_request_makes_one_event(auth_client: Client) -> None:
    key = {"Idempotency-Key": '"ring-1"'}
    first = await create(auth_client, DOOR | key)
    again = await create(auth_client, DOOR | {"Idempotency-Key": "ring-1"})
    assert (first.status, again.status, again.headers["Idempotency-Replayed"]) == (201, 201, "true")
    assert await first.json() == await again.json()
    assert (await create(auth_client, ADMIN | key)).headers["Location"] != first.headers["Location"]
    answer = await create(auth_client, DOOR | key, label="cat")
    assert (answer.status, (await answer.json())["error"]) == (422, "idempotency_key_reused")
    for wrong in ("", "x" * 256, "a b"):
        assert (await create(auth_client, DOOR | {"Idempotency-Key": wrong})).status == 400


async def test_lists_filters_and_cursors(auth_client: Client) -> None:
    for number, label in enumerate(("a", "b", "c", "d")):
        await create(auth_client, label=label, start=f"2026-11-22T18:5{number}:00Z", duration_s=60)
    await create(auth_client, camera_id="yard", label="e", source="ems", start="2026-11-22T18:30:00Z", end=T0)
    assert await listed(auth_client) == ["d", "c", "b", "a", "e"]
    assert await listed(auth_client, "?order=oldest&label=a&label=d") == ["a", "d"]
    assert await listed(auth_client, "?source=ems&text=E&reviewed=false&camera=yard") == ["e"]
    span = "start=2026-11-22T18:51:00Z&end=2026-11-22T18:53:00Z"
    assert await listed(auth_client, f"?{span}") == ["c", "b"]
    found, cursor = [], ""
    while cursor is not None:
        query = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = await (await auth_client.get("/api/cameras/door/events", params=query, headers=ADMIN)).json()
        found += [event["label"] for event in page["events"]]
        cursor = page["next_cursor"]
    assert found == ["d", "c", "b", "a"]
    for wrong in ("limit=0", "limit=1001", "cursor=x", "order=up", "reviewed=1", "start=x", f"label={'x' * 65}"):
        assert (await auth_client.get(f"/api/events?{wrong}", headers=ADMIN)).status == 400, wrong
    for unknown in ("attic", "%00", "%ED%A0%80"):
        assert (await auth_client.get(f"/api/cameras/{unknown}/events", headers=ADMIN)).status == 404


async def test_a_token_sees_and_changes_only_its_cameras(auth_client: Client) -> None:
    door = (await create(auth_client, label="door")).headers["Location"]
    yard = (await create(auth_client, label="yard", camera_id="yard")).headers["Location"]
    assert await listed(auth_client, headers=VIEW) == ["door"]
    assert await listed(auth_client, headers=YARD) == ["yard"]
    assert (await auth_client.get("/api/events?camera=yard", headers=VIEW)).status == 403
    assert (await auth_client.get("/api/cameras/yard/events", headers=VIEW)).status == 403
    assert (await auth_client.get(yard, headers=VIEW)).status == 404
    for method in ("PATCH", "DELETE"):
        assert (await auth_client.request(method, yard, json={}, headers=DOOR)).status == 404
    for method in ("PATCH", "DELETE"):
        assert (await auth_client.request(method, door, json={}, headers=VIEW)).status == 403
    assert (await create(auth_client, VIEW)).status == 403
    assert (await create(auth_client, DOOR, camera_id="yard")).status == 403


async def test_a_removed_camera_ends_its_events_and_keeps_them(auth_client: Client) -> None:
    new = {"camera_id": "attic", "url": "rtsp://127.0.0.1:1/x", "start": "on-demand", "record": "never"}
    assert (await auth_client.post("/api/cameras", json=new, headers=ADMIN)).status == 201
    location = (await create(auth_client, camera_id="attic")).headers["Location"]
    assert (await auth_client.delete("/api/cameras/attic", headers=ADMIN)).status == 204
    event = await (await auth_client.get(location, headers=ADMIN)).json()
    assert event["end"] is not None
    answer = await auth_client.get("/api/cameras/attic/events", headers=ADMIN)
    assert [each["id"] for each in (await answer.json())["events"]] == [event["id"]]
    assert (await auth_client.patch(location, json={"reviewed": True}, headers=ADMIN)).status == 200
    assert (await create(auth_client, camera_id="attic")).status == 404


async def test_events_are_in_the_metrics(auth_client: Client) -> None:
    await create(auth_client)

    async def text() -> str:
        return await (await auth_client.get("/metrics", headers=ADMIN)).text()

    async def is_counted() -> bool:
        return 'liveedge_event_changes_total{camera="door",kind="created"} 1.0' in await text()

    await eventually(is_counted, "it is counted")
    assert "liveedge_events_stored 1.0" in await text()
