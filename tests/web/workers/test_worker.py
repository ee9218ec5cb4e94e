"""What a worker makes of the settings of the gateway."""

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from web.settings import Settings, load_settings
from web.workers.worker import VARIABLE, Worker, archives, this_worker


def worker(number: int) -> Worker:
    return Worker(number, 3, 1, "data", 0.0, (3,), (4,), 5, 40_000, 6)


def settings(**changes: object) -> Settings:
    return load_settings(workers=3, data_dir="data", export_max_bytes=9_000_000, **changes)


def test_each_has_a_port_a_folder_and_a_share_of_the_disk_of_its_own() -> None:
    whole = settings(archive_max_bytes=30_000)
    each = [worker(number).settings(whole) for number in (1, 2, 3)]
    assert [one.webrtc_udp_port for one in each] == [8189, 8190, 8191]
    assert [one.data_dir for one in each] == [Path("data"), Path("data/.workers/2"), Path("data/.workers/3")]
    assert {one.archive_max_bytes for one in each} == {10_000}
    assert {one.export_max_bytes for one in each} == {3_000_000}
    free = worker(3).settings(settings(webrtc_udp_port=0))
    assert free.archive_url is None
    assert (free.webrtc_udp_port, free.archive_max_bytes) == (0, None)


def test_each_has_a_folder_and_a_share_of_the_uploads_in_the_object_storage() -> None:
    whole = settings(archive_url="s3://bucket/site/", archive_upload_rate=3_000_000, archive_uploads=2)
    each = [worker(number).settings(whole) for number in (1, 2, 3)]
    assert [one.archive_url for one in each] == [f"s3://bucket/site/{end}" for end in ("", ".workers/2", ".workers/3")]
    assert {one.archive_upload_rate for one in each} == {1_000_000}
    assert {one.archive_uploads for one in each} == {1}
    assert {one.archive_cache_bytes for one in each} == {whole.archive_cache_bytes // 3}


def test_commands_find_the_archives_of_all_workers_there_were(tmp_path: Path) -> None:
    alone = load_settings(data_dir=tmp_path, archive_url="s3://bucket")
    assert archives(alone) == [alone]
    for name in ("10", "2", "x"):
        (tmp_path / ".workers" / name).mkdir(parents=True)
    folders = [tmp_path, tmp_path / ".workers/2", tmp_path / ".workers/10"]
    assert [each.data_dir for each in archives(alone)] == folders
    urls = ["s3://bucket", "s3://bucket/.workers/2", "s3://bucket/.workers/10"]
    assert [each.archive_url for each in archives(alone)] == urls


def test_the_place_of_the_archive_of_another_worker(tmp_path: Path) -> None:
    whole = load_settings(data_dir=tmp_path, cameras={}, archive_url="s3://bucket/site")
    for own in (1, 2, 3):
        this = replace(worker(own), data_dir=str(tmp_path))
        places = [this.beside(this.settings(whole), number) for number in (1, 2, 3)]
        assert [each.data_dir for each in places] == [tmp_path, tmp_path / ".workers/2", tmp_path / ".workers/3"]
        assert [each.archive_url for each in places] == [
            *("s3://bucket/site", "s3://bucket/site/.workers/2", "s3://bucket/site/.workers/3"),
        ]


def test_a_process_is_a_worker_if_its_parent_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    parents: list[int] = []
    monkeypatch.setattr("web.workers.worker._end_with", parents.append)
    assert this_worker({}) is None
    with socket.socket() as listening, socket.socket() as private, socket.socket() as ready:
        made = replace(
            worker(2),
            parent=os.getppid(),
            http=(listening.fileno(),),
            rtsp=(),
            private=private.fileno(),
            ready=ready.fileno(),
        )
        for each in (listening, private, ready):
            each.set_inheritable(True)
        environment = {VARIABLE: made.to_json()}
        assert this_worker(environment) == made
        assert this_worker(environment) is None, "its children are no workers"
        assert not any(each.get_inheritable() for each in (listening, private, ready))
    assert parents == [os.getppid()], "it ends with its parent"
