"""The tokens and links of two workers: the first has the index open, the second only its file."""

import asyncio
from pathlib import Path

import pytest

from gateway.access import Scope
from gateway.errors import ConflictError, LiveedgeError, StorageError
from hls.archive.index import SegmentIndex
from tests.support.manual_clock import OffsetClock
from web.auth.access_file import AccessFile, make_file
from web.auth.access_index import FileIndex, SharedIndex
from web.auth.access_table import IssuedLink, load_tokens
from web.auth.authenticator import Authenticator
from web.auth.issued import IssuedAccess
from web.auth.roles import Role
from web.auth.shared_access import SharedAccess
from web.settings import load_settings

VIEW = frozenset({Scope.VIEW})


async def test_what_one_worker_gives_or_revokes_the_other_takes_over(tmp_path: Path) -> None:
    clock = OffsetClock()
    make_file(tmp_path / "access.sqlite3")
    shared = [SharedAccess(AccessFile(tmp_path / "access.sqlite3", clock), clock) for _ in range(2)]
    index = SegmentIndex(tmp_path)
    with pytest.raises(StorageError):
        await FileIndex(tmp_path).call(load_tokens)
    assert not (tmp_path / "index.sqlite3").exists(), "the first worker makes it"
    second = IssuedAccess(SharedIndex(FileIndex(tmp_path), shared[1]), clock, shared[1])
    await second.start()
    assert second.tokens.tokens == []
    await index.open()
    first = IssuedAccess(SharedIndex(index, shared[0]), clock, shared[0])
    await first.start()
    revoked: list[str] = []
    first.on_revoked = lambda: revoked.append("first")
    second.on_revoked = lambda: revoked.append("second")

    token, text = await second.tokens.create("guard", Role.VIEWER, VIEW, None, None, "admin")
    await first.refresh()
    assert first.tokens.find(text) is not None
    with pytest.raises(ConflictError):
        await first.tokens.create("guard", Role.VIEWER, VIEW, None, None, "admin")
    await first.tokens.revoke(token.id)
    await second.refresh()
    assert (second.tokens.find(text), revoked) == (None, ["first", "second"])

    now_90k = clock.wall_90k()
    links = [IssuedLink(name, name, "/mjpeg/door", now_90k, "admin", now_90k + 90_000 * 600) for name in ("a", "b")]
    for link in links:
        await first.links.add(link)
    unnamed = IssuedLink("c", None, "/mjpeg/door", now_90k, "admin", now_90k + 90_000 * 600)
    await second.links.add(unnamed)
    await second.refresh()
    assert {link.id for link in second.links.links} == {"a", "b", "c"}
    await first.links.revoke("a")
    await second.refresh()
    assert [second.links.is_revoked(each) for each in ("a", "b", "c")] == [True, False, False]
    assert revoked[2:] == ["first", "second"]

    await index.call(lambda table: table.close())
    (tmp_path / "index.sqlite3").rename(tmp_path / "gone")
    with pytest.raises(LiveedgeError):
        await second.reload()
    assert second.links.is_revoked("a"), "what it knows stays"
    for each in (second, first):
        await each.close()
    await index.close()


async def test_a_token_is_known_that_is_taken_over_while_somebody_asks_with_it(tmp_path: Path) -> None:
    clock = OffsetClock()
    make_file(tmp_path / "access.sqlite3")
    shared = SharedAccess(AccessFile(tmp_path / "access.sqlite3", clock), clock)
    index = SegmentIndex(tmp_path)
    await index.open()
    issued = IssuedAccess(SharedIndex(index, shared), clock, shared)
    await shared.refresh()
    settings = load_settings(auth_token="the-token-of-the-admin", data_dir=tmp_path)
    authenticator = Authenticator(settings, clock, issued=issued, shared=shared)
    other = IssuedAccess(SharedIndex(index, shared), clock)
    _, text = await other.tokens.create("guard", None, VIEW, None, None, "admin")
    may_go_on = asyncio.Event()

    async def wait() -> None:
        await may_go_on.wait()

    shared.on_changed[:0] = [wait]
    shared.on_changed.append(issued.reload)
    looking = asyncio.create_task(shared.refresh())
    asking = asyncio.create_task(authenticator.authenticate(text, "192.0.2.1"))
    for _ in range(20):
        await asyncio.sleep(0)
    may_go_on.set()
    assert (await asking).grant.scopes == VIEW
    assert await looking
    await authenticator.close()
    await issued.close()
    await index.close()
