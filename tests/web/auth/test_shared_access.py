"""SharedAccess: the sign-ins and changes of several workers, which are objects of one process here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.access import Scope
from gateway.errors import UnavailableError
from tests.support.manual_clock import OffsetClock
from web.auth.access_file import AccessFile, make_file
from web.auth.camera_marks import CameraMarks
from web.auth.grant import Grant
from web.auth.shared_access import SharedAccess
from web.auth.sign_in_sessions import SHARE_USES_S, SignInSessions

OLGA = Grant("user 'olga'", frozenset({Scope.VIEW, Scope.PTZ}), frozenset({"door"}), 4e9, subject="1")


@asynccontextmanager
async def workers(folder: Path, clock: OffsetClock) -> AsyncIterator[list[SharedAccess]]:
    """Two, which look only when they are told to."""
    make_file(folder / "access.sqlite3")
    both = [SharedAccess(AccessFile(folder / "access.sqlite3", clock), clock) for _ in range(2)]
    try:
        yield both
    finally:
        for each in both:
            await each.close()


async def test_a_sign_in_is_known_at_each_worker_until_it_is_closed_at_one(tmp_path: Path) -> None:
    clock = OffsetClock()
    async with workers(tmp_path, clock) as shared:
        first, second = (SignInSessions(clock, 600, 6000, each) for each in shared)
        secret = await first.open(OLGA, "the token")
        assert (tmp_path / "access.sqlite3").stat().st_mode & 0o077 == 0
        assert secret.encode() not in b"".join(each.read_bytes() for each in tmp_path.iterdir())
        for sessions in (first, second):
            found = await sessions.find(secret)
            assert found is not None
            assert (found.grant, found.id_token) == (OLGA, "the token")
        assert await second.find("unknown") is None
        assert not await first.forget_ended()
        closed = await second.close(secret)
        assert closed is not None
        assert closed.id_token == "the token"
        assert await first.forget_ended()
        assert await first.find(secret) is None
        assert await second.close(secret) is None


async def test_a_sign_in_that_is_used_at_one_worker_is_idle_at_none(tmp_path: Path) -> None:
    clock = OffsetClock()
    async with workers(tmp_path, clock) as shared:
        first, second = (SignInSessions(clock, 600, 6000, each) for each in shared)
        secret = await first.open(OLGA, "")
        assert await second.find(secret) is not None
        for _ in range(4):
            clock.ahead_s += 400
            assert await first.find(secret) is not None
            first.touch(secret)
            await first.share_uses()
            assert await second.find(secret) is not None
        clock.ahead_s += 600
        assert [await each.find(secret) for each in (first, second)] == [None, None]
        await second.open(OLGA, "")
        assert await shared[0].missing([]) == []
        first.touch(secret)
        assert SHARE_USES_S < 60, "the shortest idle time"


async def test_what_one_worker_announces_the_others_take_over_once(tmp_path: Path) -> None:
    async with workers(tmp_path, OffsetClock()) as shared:
        taken: list[int] = []
        for number, each in enumerate(shared):

            async def take(number: int = number) -> None:
                taken.append(number)

            each.on_changed.append(take)
            assert await each.refresh()
        assert taken == [0, 1]
        assert not await shared[1].refresh()
        await shared[0].announce()
        assert await shared[1].refresh()
        assert not await shared[1].refresh()
        assert taken == [0, 1, 1]


async def test_a_change_that_cannot_be_taken_over_is_tried_again(tmp_path: Path) -> None:
    clock = OffsetClock()
    async with workers(tmp_path, clock) as shared:
        failures = [UnavailableError("the disk")]

        async def take() -> None:
            while failures:
                raise failures.pop()

        shared[0].on_changed.append(take)
        with pytest.raises(UnavailableError):
            await shared[0].refresh()
        assert await shared[0].refresh()
        (tmp_path / "access.sqlite3").write_bytes(b"no database at all, and long enough to be taken for one" * 100)
        broken = SharedAccess(AccessFile(tmp_path / "access.sqlite3", clock), clock)
        with pytest.raises(UnavailableError):
            await broken.find("key")
        await broken.close()
        with pytest.raises(UnavailableError):
            await broken.find("key")


async def test_workers_give_a_removed_camera_one_mark(tmp_path: Path) -> None:
    async with workers(tmp_path, OffsetClock()) as shared:
        cameras = [{"door", "yard"}, {"door", "yard"}]
        first, second = (
            CameraMarks(tmp_path, present, is_kept=True, shared=each)
            for present, each in zip(cameras, shared, strict=True)
        )
        cameras[0].remove("door")
        await first.update(is_kept=True)
        mark = first.of("door")
        assert mark
        # The other adds a camera before it learns of the removal.
        cameras[1].add("gate")
        await second.update(is_kept=True)
        cameras[1].remove("door")
        await second.update(is_kept=True)
        assert (first.of("door"), second.of("door")) == (mark, mark)
        cameras[0].add("door")
        await first.update(is_kept=True)
        cameras[0].remove("door")
        await first.update(is_kept=True)
        assert first.of("door") != mark
        await second.reload()
        assert second.of("door") == first.of("door")
