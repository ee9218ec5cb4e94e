"""Walls over HTTP: saved, replaced, kept over restarts, shown to whom may see them, and refused when they are wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.auth_gateway import ADMIN_TOKEN, auth_gateway, bearer
from web.wall_store import WALLS_MAX

ADMIN = bearer(ADMIN_TOKEN)


def wall(*cameras: str, **changes: Any) -> dict[str, Any]:
    tiles = [{"camera_id": camera_id, "rendition": "auto"} for camera_id in cameras]
    return {"name": "Gates", "columns": 0, "tiles": tiles, "tour_s": None, **changes}


async def test_a_wall_is_saved_replaced_kept_over_a_restart_and_removed(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path) as client:
        answer = await client.put("/api/walls/gates", json=wall("yard", "door", name="출입문"), headers=ADMIN)
        assert answer.status == 201
        assert (await answer.json())["wall_id"] == "gates"
        changed = wall("door", "yard", columns=2, tour_s=20)
        assert (await client.put("/api/walls/gates", json=changed, headers=ADMIN)).status == 200
        assert (await client.put("/api/walls/all", json=wall("door"), headers=ADMIN)).status == 201
    async with auth_gateway(tmp_path) as client:
        walls = (await (await client.get("/api/walls", headers=ADMIN)).json())["walls"]
        assert [each.pop("revision") for each in walls] != []
        assert walls == [changed | {"wall_id": "gates"}, wall("door") | {"wall_id": "all"}]
        assert (await client.delete("/api/walls/gates", headers=ADMIN)).status == 204
        missing = await client.delete("/api/walls/gates", headers=ADMIN)
        assert (missing.status, (await missing.json())["error"]) == (404, "not_found")
        walls = (await (await client.get("/api/walls", headers=ADMIN)).json())["walls"]
        assert [each["wall_id"] for each in walls] == ["all"]


async def test_a_change_replaces_no_wall_that_somebody_else_has_saved_meanwhile(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path) as client:

        async def save(revision: str | None, **changes: Any) -> tuple[int, dict[str, Any]]:
            body = wall("door", revision=revision, **changes)
            async with client.put("/api/walls/gates", json=body, headers=ADMIN) as answer:
                return answer.status, await answer.json()

        status, first = await save("")
        assert status == 201
        for revision in ("", "0" * 16):
            status, error = await save(revision, name="Mine")
            assert (status, error["error"], error["reason"]) == (409, "conflict", "wall_changed")
        status, second = await save(first["revision"], name="Yours")
        assert (status, second["name"]) == (200, "Yours")
        assert (await save(first["revision"], name="Mine"))[0] == 409
        walls = (await (await client.get("/api/walls", headers=ADMIN)).json())["walls"]
        assert walls == [second]
        assert (await save(None, name="Whatever"))[0] == 200


async def test_a_token_sees_the_cameras_alone_that_it_may_view(tmp_path: Path) -> None:
    async with auth_gateway(tmp_path) as client:
        await client.put("/api/walls/both", json=wall("yard", "door"), headers=ADMIN)
        await client.put("/api/walls/yard", json=wall("yard"), headers=ADMIN)
        viewer = bearer("may-view-the-door")
        walls = (await (await client.get("/api/walls", headers=viewer)).json())["walls"]
        assert [(each["wall_id"], each["tiles"]) for each in walls] == [("both", wall("door")["tiles"])]
        assert (await client.put("/api/walls/mine", json=wall("door"), headers=viewer)).status == 403
        assert (await client.get("/api/walls")).status == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (wall(), "tiles"),
        (wall("door", "door"), "a camera is on a wall once"),
        (wall("../door"), "tiles.0.camera_id"),
        (wall("door", name=""), "name"),
        (wall("door", columns=99), "columns"),
        (wall("door", tour_s=0), "tour_s"),
        (wall("door", colour="red"), "colour"),
        (wall(*(f"camera{number}" for number in range(65))), "tiles"),
        ({**wall(), "tiles": [{"camera_id": "door", "rendition": "best"}]}, "tiles.0.rendition"),
    ],
)
async def test_a_wall_that_is_wrong_is_refused_in_words(tmp_path: Path, body: dict[str, Any], field: str) -> None:
    async with auth_gateway(tmp_path) as client:
        answer = await client.put("/api/walls/gates", json=body, headers=ADMIN)
        assert answer.status == 400
        assert field in (await answer.json())["message"]
        assert (await client.put("/api/walls/a%20b", json=wall("door"), headers=ADMIN)).status == 400


async def test_the_number_of_walls_is_limited(tmp_path: Path) -> None:
    saved = {f"wall{number}": wall("door") for number in range(WALLS_MAX)}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "walls.json").write_text(json.dumps({"version": 1, "walls": saved}))
    async with auth_gateway(tmp_path) as client:
        assert (await client.put("/api/walls/more", json=wall("door"), headers=ADMIN)).status == 409
        assert (await client.put("/api/walls/wall7", json=wall("yard"), headers=ADMIN)).status == 200


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 2, "walls": {}}', '{"version": 1, "walls": {"a": {}}}', "{" * 9999]
)
async def test_a_file_that_cannot_be_read_is_told_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "data" / "walls.json"
    path.parent.mkdir()
    path.write_text(text)
    async with auth_gateway(tmp_path) as client:
        assert (await (await client.get("/api/walls", headers=ADMIN)).json()) == {"walls": []}
        answer = await client.put("/api/walls/gates", json=wall("door"), headers=ADMIN)
        assert answer.status == 503
        assert "move it away" in (await answer.json())["message"]
        status = await (await client.get("/api/status", headers=ADMIN)).json()
        assert "walls_unreadable" in [each["code"] for each in status["problems"]]
    assert path.read_text() == text
