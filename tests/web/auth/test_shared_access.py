"""SharedAccess: the sign-ins and changes of several workers, which are objects of one process here."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from gateway.access import Scope
from gateway.errors import UnavailableError
from tests.support.eventually import eventually
from tests.support.manual_clock import ManualClock, OffsetClock
from tests.support.shared_access import in_postgres
from web.auth.access_file import AccessFile, make_file
from web.auth.camera_marks import CameraMarks
from web.auth.grant import Grant
from web.auth.shared_access import START_S, SharedAccess
from web.auth.sign_in_sessions import SHARE_USES_S, SignInSessions
from web.auth.sign_in_table import SharedSignIn

OLGA = Grant("user 'olga'", frozenset({Scope.VIEW, Scope.PTZ}), frozenset({"door"}), 4e9, subject="1")


Workers = Callable[[OffsetClock], AbstractAsyncContextManager[list[SharedAccess]]]
"""Two processes that share, and look only when they are told to."""


@asynccontextmanager
async def in_file(folder: Path, clock: OffsetClock) -> AsyncIterator[list[SharedAccess]]:
    make_file(folder / "access.sqlite3")
    both = [SharedAccess(AccessFile(folder / "access.sqlite3", clock), clock) for _ in range(2)]
    try:
        yield both
    finally:
        for each in both:
            await each.close()


@pytest.fixture(params=["file", pytest.param("postgres", marks=pytest.mark.integration)])
def workers(request: pytest.FixtureRequest, tmp_path: Path) -> Workers:
    if request.param == "file":
        return lambda clock: in_file(tmp_path, clock)
    url = request.getfixturevalue("postgres_url")
    return lambda clock: in_postgres(url, clock)


async def test_a_sign_in_is_known_at_each_worker_until_it_is_closed_at_one(workers: Workers) -> None:
    clock = OffsetClock()
    async with workers(clock) as shared:
        first, second = (SignInSessions(clock, 600, 6000, each) for each in shared)
        secret = await first.open(OLGA, "the token")
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


async def test_the_file_has_no_secret_and_is_for_its_user_alone(tmp_path: Path) -> None:
    clock = OffsetClock()
    async with in_file(tmp_path, clock) as shared:
        secret = await SignInSessions(clock, 600, 6000, shared[0]).open(OLGA, "the token")
        assert (tmp_path / "access.sqlite3").stat().st_mode & 0o077 == 0
        assert secret.encode() not in b"".join(each.read_bytes() for each in tmp_path.iterdir())


async def test_a_sign_in_beyond_the_limit_replaces_the_one_that_is_idle_longest(workers: Workers) -> None:
    clock = OffsetClock()
    async with workers(clock) as shared:
        for number, idle_s in enumerate((30.0, 10.0, 20.0)):
            await shared[0].add(str(number), SharedSignIn(OLGA, "", idle_s), 2, 600)
        assert await shared[1].missing(["0", "1", "2", "3"]) == ["0", "3"]
        await shared[1].note_uses({"1": 1.0, "2": 500.0, "gone": 0.0})
        found = [await shared[0].find(key) for key in ("1", "2")]
        assert [each and round(each.idle_s) for each in found] == [1, 20], "an older use is none"


async def test_uses_that_could_not_be_shared_are_shared_later(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = OffsetClock()
    async with workers(clock) as shared:
        first, second = (SignInSessions(clock, 600, 6000, each) for each in shared)
        secret = await first.open(OLGA, "")
        clock.ahead_s += 400
        first.touch(secret)
        with monkeypatch.context() as patch:
            patch.setattr(shared[0], "note_uses", _fail)
            with pytest.raises(UnavailableError):
                await first.share_uses()
        clock.ahead_s += SHARE_USES_S
        await first.share_uses()
        clock.ahead_s += 400
        assert await second.find(secret) is not None


async def _fail(_: object) -> None:
    raise UnavailableError("the database")


async def test_a_sign_in_that_is_used_at_one_worker_is_idle_at_none(workers: Workers) -> None:
    clock = OffsetClock()
    async with workers(clock) as shared:
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


async def test_what_one_worker_announces_the_others_take_over_once(workers: Workers) -> None:
    async with workers(OffsetClock()) as shared:
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
    async with in_file(tmp_path, clock) as shared:
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
    async with in_file(tmp_path, OffsetClock()) as shared:
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


async def test_a_store_that_another_process_is_still_making_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="web.auth.shared_access")
    clock = ManualClock()
    make_file(tmp_path / "access.sqlite3")
    shared = SharedAccess(AccessFile(tmp_path / "access.sqlite3", clock), clock)
    looks = 0
    is_made = False

    async def take() -> None:
        nonlocal looks
        looks += 1
        if not is_made:
            raise UnavailableError("the index of the first worker")

    shared.on_changed.append(take)
    shared.start()
    await eventually(lambda: looks > 1, "the first looks")
    assert caplog.messages == []
    clock.now += START_S
    await eventually(lambda: caplog.messages, "a warning")
    is_made = True
    await eventually(lambda: len(caplog.messages) > 1, "the end of the fault")
    await shared.close()
    assert ["late" in caplog.messages[0], "again" in caplog.messages[1]] == [True, True]
