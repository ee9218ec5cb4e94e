"""The index of another process is read while it is away, comes back, and writes: nothing of it is changed."""

import shutil
from pathlib import Path

import pytest

from gateway.errors import StorageError
from hls.archive.database import INDEX_FILE
from hls.archive.read_only_table import ReadOnlyTable
from hls.archive.table import SegmentTable
from tests.hls.archive.test_index import FRAGMENTS, make

WAL_FILE = f"{INDEX_FILE}-wal"


def opened(data_dir: Path) -> SegmentTable:
    table = SegmentTable(data_dir)
    table.open()
    return table


def test_what_a_killed_process_left_in_its_log_is_read_and_the_process_comes_back_meanwhile(tmp_path: Path) -> None:
    (there := tmp_path / "there").mkdir()
    (left := tmp_path / "left").mkdir()
    written = opened(there)
    written.save(make(1), FRAGMENTS)
    written.save(make(2), FRAGMENTS)
    for name in (INDEX_FILE, WAL_FILE):  # what a process leaves that is killed: no file of shared memory
        shutil.copy(there / name, left)
    written.close()
    before = (left / INDEX_FILE).read_bytes(), (left / WAL_FILE).read_bytes()
    reader = ReadOnlyTable(left)
    assert reader.get("door", make(2).name) == (make(2), FRAGMENTS)
    assert ((left / INDEX_FILE).read_bytes(), (left / WAL_FILE).read_bytes()) == before
    with reader.transaction() as reading:
        count = "SELECT count(*) FROM segment"
        assert reading.exec_driver_sql(count).scalar() == 2
        owner = opened(left)
        owner.save(make(3), FRAGMENTS)
        owner.remove("door", make(1).name)
        assert reading.exec_driver_sql(count).scalar() == 2, "a transaction sees one state"
    assert [each.name for each in reader.page("door", None, None, 9)] == [make(2).name, make(3).name]
    owner.close()
    again = opened(left)
    assert [each.name for each in again.page("door", None, None, 9)] == [make(2).name, make(3).name]
    assert [each.name for each in reader.page("door", None, None, 9)] == [make(2).name, make(3).name]
    again.close()
    assert [each.name for each in reader.page("door", None, None, 9)] == [make(2).name, make(3).name]


def test_nothing_can_be_written(tmp_path: Path) -> None:
    owner = opened(tmp_path)
    owner.save(make(1), FRAGMENTS)
    reader = ReadOnlyTable(tmp_path)
    with pytest.raises(StorageError, match="readonly"):
        reader.remove("door", make(1).name)
    with pytest.raises(StorageError, match="readonly"):
        reader.save(make(2), FRAGMENTS)
    assert [each.name for each in owner.page("door", None, None, 9)] == [make(1).name]
    owner.close()


def test_an_index_that_is_not_there_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="unable to open"):
        ReadOnlyTable(tmp_path).get("door", "any")
    assert list(tmp_path.iterdir()) == []


def test_an_index_that_is_put_aside_and_made_anew_is_the_new_one(tmp_path: Path) -> None:
    owner = opened(tmp_path)
    owner.save(make(1), FRAGMENTS)
    reader = ReadOnlyTable(tmp_path)
    assert len(reader.page("door", None, None, 9)) == 1
    owner.close()
    for path in tmp_path.glob(f"{INDEX_FILE}*"):
        path.rename(tmp_path / f"old-{path.name}")
    anew = opened(tmp_path)
    assert reader.page("door", None, None, 9) == []
    anew.close()
