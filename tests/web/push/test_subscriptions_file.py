"""The file of the subscriptions of one machine, which its workers share."""

import json
from pathlib import Path

import pytest

from gateway.errors import UnavailableError
from web.push.subscriptions_file import SubscriptionsFile


def id_of(body: str) -> str:
    return str(json.loads(body)["id"])


def nothing(_: object) -> None:
    """Permits another one."""


async def test_what_one_worker_changes_is_kept_by_the_change_of_another(tmp_path: Path) -> None:
    told = 0

    async def announce() -> None:
        nonlocal told
        told += 1

    first, second = (SubscriptionsFile(tmp_path, id_of, announce) for _ in range(2))
    assert await first.put("a", '{"id": "a"}', nothing)
    assert await second.put("b", '{"id": "b"}', nothing)
    assert not await first.put("a", '{"id": "a", "name": "desk"}', nothing)
    assert list(await second.read()) == ["a", "b"]
    assert await first.remove(["b", "c"])
    assert json.loads((await second.read())["a"])["name"] == "desk"
    assert told == 4


async def test_a_file_that_cannot_be_read_is_left_as_it_is_until_it_can_be(tmp_path: Path) -> None:
    file = SubscriptionsFile(tmp_path, id_of)
    file.path.write_text("{}")
    assert await file.read() == {}
    assert "damaged" in (file.error or "")
    with pytest.raises(UnavailableError, match=r"push\.json is damaged"):
        await file.put("a", '{"id": "a"}', nothing)
    assert file.path.read_text() == "{}"
    file.path.unlink()
    assert await file.put("a", '{"id": "a"}', nothing)
    assert file.error is None
