"""The outbox: what it keeps in a crash, what it drops, and what it does without a disk."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from web.webhooks import outbox as module
from web.webhooks.outbox import Outbox


@contextlib.asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Outbox]:
    outbox = Outbox(path)
    await outbox.open()
    yield outbox
    await outbox.close()


def waiting(outbox: Outbox, endpoint: str = "home") -> list[str]:
    return [entry.id for entry in outbox.queue(endpoint)._entries]


def add(outbox: Outbox, *ids: str, endpoint: str = "home", body: bytes = b"{}") -> None:
    for each in ids:
        outbox.add(endpoint, each, "event.created", body, 1_763_837_400.0)


async def test_everything_is_on_the_disk_without_a_close(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.db"
    async with opened(path) as outbox:
        add(outbox, "a", "b", "c")
        add(outbox, "a", endpoint="other")
        outbox.set("events", "x-1")
        await outbox.flush()
        assert outbox.is_saved
        first = outbox.queue("home").oldest
        assert first is not None
        outbox.queue("home").remove(first)
        outbox.set("events", "x-2")
        add(outbox, "d")
        await outbox.flush()
        crashed = tmp_path / "crashed.db"
        for suffix in ("", "-wal"):  # the files as they are at this moment
            Path(f"{crashed}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
        async with opened(crashed) as again:
            assert waiting(again) == ["b", "c", "d"]
            assert waiting(again, "other") == ["a"]
            assert again.get("events") == "x-2"
            add(again, "e")
            assert waiting(again)[-1] == "e"
    assert path.stat().st_mode & 0o777 == 0o600


async def test_an_id_that_waits_already_is_not_added_again(tmp_path: Path) -> None:
    async with opened(tmp_path / "webhooks.db") as outbox:
        add(outbox, "a", "b", "a")
        assert waiting(outbox) == ["a", "b"]


async def test_the_oldest_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE_MAX", 3)
    monkeypatch.setattr(module, "QUEUE_MAX_BYTES", 100)
    async with opened(tmp_path / "webhooks.db") as outbox:
        add(outbox, *"abcde")
        assert waiting(outbox) == ["c", "d", "e"]
        add(outbox, "f", body=b" " * 99)
        assert waiting(outbox) == ["f"]
        add(outbox, "g", body=b" " * 200)  # larger than all: it is kept, alone
        assert waiting(outbox) == ["g"]
        assert outbox.queue("home").dropped == {"full": 6}
        assert not outbox.queue("other").dropped
    async with opened(tmp_path / "webhooks.db") as outbox:
        assert waiting(outbox) == ["g"]


async def test_messages_of_an_endpoint_that_was_removed_are_forgotten(tmp_path: Path) -> None:
    async with opened(tmp_path / "webhooks.db") as outbox:
        add(outbox, "a")
        add(outbox, "b", endpoint="old")
        await outbox.flush()
        outbox.retain(["home"])
    async with opened(tmp_path / "webhooks.db") as outbox:
        assert waiting(outbox) == ["a"]
        assert waiting(outbox, "old") == []


async def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.db"
    path.write_bytes(b"this is no database" * 100)
    async with opened(path) as outbox:
        add(outbox, "a")
    assert (tmp_path / "webhooks.db.damaged").exists()
    async with opened(path) as outbox:
        assert waiting(outbox) == ["a"]


async def test_without_a_disk_messages_are_kept_in_memory_and_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    path = tmp_path / "gone" / "webhooks.db"
    (tmp_path / "gone").write_text("in the way")
    async with opened(path) as outbox:
        add(outbox, "a", "b", "c")
        await eventually(lambda: outbox.error, "the error is reported")
        first = outbox.queue("home").oldest
        assert first is not None
        outbox.queue("home").remove(first)
        outbox.set("events", "x-1")
        (tmp_path / "gone").unlink()
        await eventually(lambda: outbox.error is None and outbox.is_saved, "it is written")
    async with opened(path) as outbox:
        assert waiting(outbox) == ["b", "c"]
        assert outbox.get("events") == "x-1"


async def test_a_disk_that_hangs_holds_up_nothing(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.db"
    async with opened(path) as outbox:
        add(outbox, "a")
        await outbox.flush()
        blocker = sqlite3.connect(path)
        blocker.execute("BEGIN IMMEDIATE")
        add(outbox, "b")
        await asyncio.sleep(0)
        assert waiting(outbox) == ["a", "b"]
        blocker.rollback()
        blocker.close()
        await outbox.flush()
    async with opened(path) as outbox:
        assert waiting(outbox) == ["a", "b"]
