"""An index that is locked, damaged or deleted, closed and open: recording goes on, and the index recovers."""

import asyncio
import itertools
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hls.archive.check import check_archive
from hls.archive.database import INDEX_FILE
from tests.faults.conftest import Site, Sites
from tests.faults.test_camera_faults import Gaps
from tests.support.eventually import eventually

JUNK = b"not a database at all, for as long as you read. " * 4096


async def listed(site: Site) -> list[str]:
    """The names of all segments, as the API lists them."""
    return [segment["id"] for segment in (await site.json("/api/cameras/door/segments?limit=500"))["segments"]]


async def is_healthy(site: Site) -> bool:
    return not await site.problems()


async def recorded_site(sites: Sites) -> Site:
    site = await sites({"door": "faulty://door"}, archive_segment_seconds=2)
    await eventually(lambda: site.gateway.archive.recorders()["door"].segments_closed > 0, "a segment is closed")
    return site


async def test_an_index_that_another_process_locks(
    sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hls.archive.database.BUSY_TIMEOUT_S", 0.3)
    site = await recorded_site(sites)
    archive = site.gateway.archive
    with closing(sqlite3.connect(tmp_path / "data" / INDEX_FILE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        count, edge = archive.recorders()["door"].segments_closed, site.media_sequence("door")

        async def is_reported() -> bool:
            return any("index" in message for message in await site.problems())

        await eventually(is_reported, "the problem is reported")
        await eventually(lambda: archive.recorders()["door"].segments_closed > count, "another segment is closed")
        assert site.media_sequence("door") > edge
        async with site.client.get("/api/cameras/door/segments") as reply:
            assert reply.status in (200, 503)
        other.execute("ROLLBACK")
    await eventually(lambda: archive.status().index_error is None, "the index works again")
    assert len(await listed(site)) >= count + 1
    assert not await site.problems()


# --- damage while it is open


def header(path: Path) -> None:
    """Overwrite its beginning."""
    with path.open("r+b") as file:
        file.write(JUNK[:100])


def everything(path: Path) -> None:
    path.write_bytes(JUNK)


def page_in_the_middle(path: Path) -> None:
    """Damage a page, and have SQLite drop its cache, so that it reads the page again."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = other.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'segment'").fetchone()
        with path.open("r+b") as file:
            file.seek((root - 1) * 4096)
            file.write(JUNK[:4096])
        other.execute("PRAGMA user_version = 1")  # a commit: other connections read the page again


def file_deleted(path: Path) -> None:
    path.unlink()


def log_deleted(path: Path) -> None:
    """Delete the write-ahead log, with all changes that are not in the file yet."""
    path.with_name(f"{path.name}-wal").unlink()


def replaced(path: Path) -> None:
    """Restore an empty backup over it."""
    other = path.with_name("other")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE t (x)")
    other.replace(path)


async def test_damage_of_the_index_while_it_is_open(
    sites: Sites, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = await recorded_site(sites)
    archive, path = site.gateway.archive, tmp_path / "data" / INDEX_FILE
    gaps = Gaps(site.gateway, ["door"])
    for number, damage in enumerate(
        [header, page_in_the_middle, file_deleted, log_deleted, replaced, everything], start=1
    ):
        before = set(await listed(site))
        edge, written = site.media_sequence("door"), archive.recorders()["door"].bytes_written
        caplog.clear()
        damage(path)
        await eventually(lambda number=number: archive.status().index_repairs == number, "the index is repaired")  # type: ignore[misc]
        assert "the index is damaged or missing" in caplog.text, damage
        assert await site.metric("liveedge_archive_index_repairs_total") == number
        await eventually(lambda: not archive.status().index_is_incomplete, "the index is complete")
        after = await listed(site)
        assert before <= set(after), damage
        assert after == sorted(after)
        await eventually(
            lambda written=written: archive.recorders()["door"].bytes_written > written,  # type: ignore[misc]
            "recording goes on",
        )
        assert site.media_sequence("door") >= edge
        await eventually(lambda: is_healthy(site), "no problem is reported any more")
    gaps.close()
    assert not gaps.missing
    recorder = archive.recorders()["door"]
    assert (recorder.packets_dropped, recorder.error) == (0, None)
    # Every file is in the index, except one that has just begun. Numbers only grow: it is one playlist.
    *files, _ = sorted(file.stem for file in (tmp_path / "data" / "door").rglob("*.mp4"))
    segments = await site.gateway.archive_reader.segments.page("door", limit=1000)
    assert set(files) <= {segment.name for segment in segments}
    assert all(
        after.sequence >= before.sequence + before.hls_segments for before, after in itertools.pairwise(segments)
    )
    async with site.client.get("/hls/door/dvr.m3u8") as reply:
        assert reply.status == 200
    assert not await asyncio.to_thread(check_archive, site.gateway.settings)


@pytest.mark.parametrize("tree", ["segment", "segment_time", "fragment_list"])
async def test_an_index_that_is_damaged_at_the_start_is_made_again(sites: Sites, tmp_path: Path, tree: str) -> None:
    """Damage the root of a tree, and leave the first page, so that the file still looks like a database."""
    site = await recorded_site(sites)
    protected = (await listed(site))[0]
    async with site.client.post(f"/api/cameras/door/segments/{protected}/protect") as reply:
        assert reply.status == 200, await reply.text()
    await site.client.close()
    path = tmp_path / "data" / INDEX_FILE
    with closing(sqlite3.connect(path)) as index:
        (root,) = index.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (tree,)).fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(JUNK[:4096])
    again = await sites({"door": "faulty://door"}, archive_segment_seconds=2)
    # The data of playlists is checked when it is requested: the start does not read gigabytes.
    await eventually(lambda: any(path.parent.glob(f"{INDEX_FILE}.broken-*")), "the damaged index is put aside")

    async def is_found() -> bool:
        return any(
            segment.name == protected
            for segment in await again.gateway.archive_reader.segments.page("door", limit=1000)
        )

    await eventually(is_found, "all recordings are listed")
    (segment, _) = await again.gateway.archive_reader.segments.find("door", protected)
    if tree == "fragment_list":
        assert segment.is_protected, "no recording tells it, and the damaged index still did"
    assert len(list(path.parent.glob(f"{INDEX_FILE}.broken-*"))) == 1
    await eventually(lambda: is_healthy(again), "no problem is reported any more")
