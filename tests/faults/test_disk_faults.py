"""A disk that is full, read-only, slow or removed: live goes on, the problem is reported, and recording recovers."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.session import SessionState
from tests.faults.conftest import Site, Sites
from tests.faults.test_camera_faults import Gaps
from tests.support.disk import Disk, MountedDisk, make_disk
from tests.support.eventually import eventually, eventually_sync
from tests.support.fault_injection import ENGINE
from tests.support.ffprobe import decode
from tests.support.gateway_process import GatewayProcess

CAMERA = '[cameras.door]\nurl = "faulty://door"\nengine = "' + ENGINE + '"\n'


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk, and a gateway process that records one camera on it."""
    (tmp_path / "liveedge.toml").write_text(CAMERA)
    disk = make_disk(tmp_path)
    disk.gateway = GatewayProcess(tmp_path, ARCHIVE_SEGMENT_SECONDS=2)
    disk.gateway.prefix = disk.prefix
    with disk.gateway as gateway:
        eventually_sync(lambda: closed(gateway), "a segment is closed")
        yield disk


def closed(gateway: GatewayProcess) -> list[dict[str, Any]]:
    """Finished segments, as the API lists them."""
    answer = gateway.json("/api/cameras/door/segments?limit=500")
    return [segment for segment in answer.get("segments", []) if segment["state"] == "closed"]


def reported_problems(gateway: GatewayProcess) -> str:
    """All reported problems in one string."""
    return " ".join(problem["message"] for problem in gateway.json("/api/status")["problems"])


def metric(gateway: GatewayProcess, name: str) -> float:
    lines = gateway.fetch("/metrics")[2].decode().splitlines()
    return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + " "))


def live_goes_on(gateway: GatewayProcess) -> None:
    """Assert that HLS and status go on while the disk fails."""
    edge = gateway.camera("door")["live_edge"]
    assert edge is not None
    eventually_sync(
        lambda: gateway.camera("door")["live_edge"]["media_sequence"] > edge["media_sequence"],
        "the live playlist goes on",
    )
    assert gateway.json("/health") == {"status": "ok"}
    assert gateway.camera("door")["state"] == "live"


def heals(gateway: GatewayProcess) -> None:
    """Assert that it records again, into files that play, and reports no problem."""
    count = len(closed(gateway))
    eventually_sync(lambda: len(closed(gateway)) > count, "another segment is closed")
    eventually_sync(lambda: not reported_problems(gateway), "no problem is reported any more")
    newest = closed(gateway)[-1]
    copy = gateway.folder / "newest.mp4"
    copy.write_bytes(gateway.fetch(newest["url"])[2])
    assert not decode(copy)
    assert metric(gateway, 'liveedge_archive_failing{camera="door",rendition="main"}') == 0


def all_is_kept(disk: Disk, names: set[str]) -> None:
    """Assert that no recording is missing in the index or on disk."""
    assert names <= {segment["id"] for segment in closed(disk.gateway)}
    assert not disk.check()


def test_a_full_disk(disk: Disk) -> None:
    """``ENOSPC`` for recordings and index."""
    gateway = disk.gateway
    names = {segment["id"] for segment in closed(gateway)}
    disk.fill()
    eventually_sync(lambda: "not recorded" in reported_problems(gateway), "the problem is reported")
    eventually_sync(
        lambda: metric(gateway, 'liveedge_archive_failing{camera="door",rendition="main"}') == 1,
        "the metric says that recording fails",
    )
    live_goes_on(gateway)
    assert names <= {segment["id"] for segment in closed(gateway)}, "what is there can be found meanwhile"
    disk.make_room()
    heals(gateway)
    all_is_kept(disk, names)
    gateway.stop()
    assert gateway.process is not None
    assert gateway.process.returncode == 0, gateway.log()
    assert "Traceback" not in gateway.log(), gateway.log()


def test_a_full_disk_of_the_index_alone(tmp_path: Path) -> None:
    """Recording goes on meanwhile. The index gets all segments as soon as there is room."""
    (tmp_path / "liveedge.toml").write_text(CAMERA)
    disk = make_disk(tmp_path)
    disk.data.mkdir(exist_ok=True)
    recordings = tmp_path / "recordings"
    places = {"DATA_DIR": recordings, "DATABASE_URL": f"sqlite:///{disk.data}/index.sqlite3"}
    disk.gateway = GatewayProcess(tmp_path, ARCHIVE_SEGMENT_SECONDS=2, **places)
    disk.gateway.prefix = disk.prefix
    with disk.gateway as gateway:
        eventually_sync(lambda: closed(gateway), "a segment is closed")
        disk.fill()
        # A limit on the size of files affects recordings too.
        alone = isinstance(disk, MountedDisk)
        eventually_sync(
            lambda: ("the index cannot be written" if alone else "not recorded") in reported_problems(gateway),
            "the problem is reported",
        )
        live_goes_on(gateway)
        if alone:
            files = len(list(recordings.rglob("*.mp4")))
            eventually_sync(lambda: len(list(recordings.rglob("*.mp4"))) > files, "recording goes on")
        disk.make_room()
        heals(gateway)
        all_is_kept(disk, {path.stem for path in sorted(recordings.rglob("*.mp4"))[:-1]})


def test_a_disk_that_becomes_read_only(disk: Disk) -> None:
    gateway = disk.gateway
    names = {segment["id"] for segment in closed(gateway)}
    disk.forbid()
    eventually_sync(lambda: "not recorded" in reported_problems(gateway), "the problem is reported")
    live_goes_on(gateway)
    disk.permit()
    heals(gateway)
    all_is_kept(disk, names)


def test_a_disk_that_is_pulled_and_comes_back(disk: Disk) -> None:
    """Nothing is recorded into the empty mount point meanwhile: that would fill the system's disk."""
    gateway = disk.gateway
    names = {segment["id"] for segment in closed(gateway)}
    disk.pull()
    eventually_sync(lambda: "has been taken away" in reported_problems(gateway), "the problem is reported")
    eventually_sync(
        lambda: metric(gateway, 'liveedge_archive_failing{camera="door",rendition="main"}') == 1,
        "the metric says that recording fails",
    )
    live_goes_on(gateway)
    assert not list(disk.data.glob("*"))
    disk.plug_in()
    heals(gateway)
    all_is_kept(disk, names)


async def test_a_disk_that_hangs_and_comes_back(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sync blocks its thread until the disk recovers, as with an unreachable network share."""
    is_well = threading.Event()
    is_well.set()
    fdatasync = os.fdatasync

    def slow(descriptor: int) -> None:
        is_well.wait()
        fdatasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    # More cameras than there are writer threads.
    names = [f"cam{number}" for number in range(6)]
    site = await sites({name: f"faulty://{name}" for name in names}, archive_segment_seconds=2)
    service = site.gateway.service
    try:
        await eventually(
            lambda: all(status.segments_closed for status in site.gateway.archive.recorders().values()),
            "every camera has closed a segment",
        )
        is_well.clear()
        gaps = Gaps(site.gateway, names)
        edge = site.media_sequence("cam0")
        await eventually(lambda: site.media_sequence("cam0") > edge + 1, "the live playlist goes on")
        assert all(service.camera(name).session.state is SessionState.LIVE for name in names)
        await wait_for_problem(site, "behind")
        assert await site.metric('liveedge_archive_lag_seconds{camera="cam0",rendition="main"}') > 1
        gaps.close()
        assert not gaps.missing
    finally:
        is_well.set()
    await eventually(
        lambda: all(status.lag_s < 2 for status in site.gateway.archive.recorders().values()),
        "every recorder has caught up",
    )
    assert not await site.problems()
    # Twenty seconds fit into the queue: nothing is lost.
    assert all(status.packets_dropped == 0 for status in site.gateway.archive.recorders().values())


async def wait_for_problem(site: Site, word: str) -> None:
    """Wait until /api/status has a problem with this word."""

    async def is_told() -> bool:
        return any(word in message for message in await site.problems())

    await eventually(is_told, f"a problem with {word!r} is reported")


def test_sigterm_while_the_disk_hangs(tmp_path: Path) -> None:
    """The process ends while threads wait for the disk. The next start recovers their files."""
    table = '[cameras.door]\nurl = "faulty://door"\nengine = "tests.support.stuck_disk:Engine"\n'
    (tmp_path / "liveedge.toml").write_text(table)
    with GatewayProcess(tmp_path, ARCHIVE_SEGMENT_SECONDS=2) as gateway:
        gateway.wait_for_state("live", "door")
        eventually_sync(lambda: closed(gateway), "a segment is closed")
        (tmp_path / "stuck").touch()
        eventually_sync(
            lambda: metric(gateway, 'liveedge_archive_lag_seconds{camera="door",rendition="main"}') > 1,
            "the recorder falls behind",
        )
        took_s = gateway.stop()
        assert took_s < 10, "the contract's bound, and as much again for a disk that hangs"
        (tmp_path / "stuck").unlink()
        gateway.start()
        gateway.wait_for_state("live", "door")
        heals(gateway)
