"""``/api/events/stream``: changes as they come, from where a client stopped, and the end of a credential."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientTimeout

from hls.events import table
from tests.support.auth_gateway import ADMIN_TOKEN, TABLES, Client, auth_gateway, bearer
from tests.web.api.routes.test_events import ADMIN, YARD, create
from web.api.routes import event_stream
from web.auth.authenticator import AUTHENTICATOR
from web.gateway import GATEWAY
from web.settings import load_settings

VIEW = bearer("may-view-the-door")


class Stream:
    """What a client of server-sent events gets, message by message."""

    def __init__(self, content: Any) -> None:
        self._content = content
        self.last_id = ""

    async def block(self) -> dict[str, str]:
        """The fields of the next block."""
        fields: dict[str, str] = {}
        while line := (await self._content.readline()).decode().rstrip("\n"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        self.last_id = fields.get("id", self.last_id)
        return fields

    async def message(self) -> tuple[str, Any]:
        """The type and the data of the next message."""
        while "data" not in (fields := await self.block()):
            pass
        return fields["event"], json.loads(fields["data"])

    async def labels(self, count: int) -> list[tuple[str, str]]:
        """The kinds and labels of the next changes."""
        return [(kind, data["event"]["label"]) for kind, data in [await self.message() for _ in range(count)]]


@asynccontextmanager
async def stream(
    client: Client, headers: dict[str, str] = ADMIN, query: str = "", last_id: str | None = None
) -> AsyncIterator[Stream]:
    more = {"Last-Event-ID": last_id} if last_id is not None else {}
    timeout = ClientTimeout(total=20)
    async with client.get(f"/api/events/stream{query}", headers=headers | more, timeout=timeout) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["X-Accel-Buffering"] == "no"
        made = Stream(answer.content)
        assert "id" in await made.block() or last_id is not None
        yield made


async def test_each_change_is_told(auth_client: Client) -> None:
    async with stream(auth_client) as changes:
        location = (await create(auth_client, label="cat")).headers["Location"]
        kind, data = await changes.message()
        assert (kind, data["kind"]) == ("created", "created")
        assert data["event"] == await (await auth_client.get(location, headers=ADMIN)).json()
        await auth_client.patch(location, json={"end": "now"}, headers=ADMIN)
        kind, data = await changes.message()
        assert (kind, data["event"]["end"] is None) == ("updated", False)
        await auth_client.patch(location, json={"reviewed": False}, headers=ADMIN)  # changes nothing
        await auth_client.delete(location, headers=ADMIN)
        assert await changes.labels(1) == [("deleted", "cat")]
        assert auth_client.app is not None
        assert auth_client.app[GATEWAY].events.streams == 1


async def test_a_client_gets_what_it_missed_also_over_a_restart(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path) as client:
        async with stream(client) as changes:
            await create(client, label="seen")
            assert await changes.labels(1) == [("created", "seen")]
        await create(client, label="missed")
    async with auth_gateway(tmp_path) as client:
        await create(client, label="after the restart")
        for query, last_id in (("", changes.last_id), (f"?last_event_id={changes.last_id}", None)):
            more = {} if last_id is None else {"Last-Event-ID": last_id}
            async with client.get(f"/api/events/stream{query}", headers=ADMIN | more) as answer:
                assert await Stream(answer.content).labels(2) == [
                    ("created", "missed"),
                    ("created", "after the restart"),
                ]


async def test_a_client_that_was_away_too_long_is_told_to_read_the_list(
    auth_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "CHANGES_MAX", 2)
    assert auth_client.app is not None
    events = auth_client.app[GATEWAY].events
    events._recent = type(events._recent)(maxlen=1)
    start = events.position
    for _ in range(4):
        await create(auth_client)
    for last_id in (start, "unknown"):
        async with auth_client.get("/api/events/stream", headers=ADMIN | {"Last-Event-ID": last_id}) as answer:
            changes = Stream(answer.content)
            kind, data = await changes.message()
            assert (kind, set(data)) == ("reset", {"reason"})
            await create(auth_client, label="next")
            assert await changes.labels(1) == [("created", "next")]
    assert events.stream_resets == 2
    async with auth_client.get("/api/events/stream", headers=ADMIN | {"Last-Event-ID": "x" * 4097}) as answer:
        assert answer.status == 400


async def test_a_stream_has_only_what_its_client_may_see_and_asked_for(auth_client: Client) -> None:
    async with (
        stream(auth_client, YARD) as yard,
        stream(auth_client, query="?camera=door&label=ring&label=cat") as wanted,
        stream(auth_client, VIEW) as door,
    ):
        for camera_id, label in (("door", "person"), ("yard", "ring"), ("door", "cat"), ("yard", "cat")):
            await create(auth_client, camera_id=camera_id, label=label)
        assert await yard.labels(2) == [("created", "ring"), ("created", "cat")]
        assert await wanted.labels(1) == [("created", "cat")]
        assert await door.labels(2) == [("created", "person"), ("created", "cat")]


async def test_silence_is_filled_with_comments(auth_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.01)
    async with stream(auth_client) as changes:
        assert await changes.block() == {"": ""}
        assert await changes.block() == {"": ""}


async def test_a_stream_ends_with_its_credential_and_with_the_gateway(auth_client: Client) -> None:
    assert auth_client.app is not None
    async with stream(auth_client, VIEW) as changes, stream(auth_client) as admin:
        tables = {name: row for name, row in TABLES.items() if name != "door-view"}
        settings = load_settings(auth_token=ADMIN_TOKEN, auth={"tokens": tables})
        auth_client.app[AUTHENTICATOR].reload(settings)
        with pytest.raises(ClientPayloadError):
            await changes.message()
        auth_client.app[GATEWAY].events.end_streams()
        assert await admin.block() == {}
