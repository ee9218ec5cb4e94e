"""What a killed process has on the disk and not in its index is read as recovery will put it into the index."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from hls.archive import unfinished
from hls.archive.recovery import recover
from hls.archive.scan import Scan, scan
from hls.archive.segment import SegmentState, SegmentWithFragments
from hls.archive.table import SegmentTable
from hls.archive.unfinished import UnfinishedFiles
from tests.support.recording import index_of, record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode

LONG = EncoderSettings(seconds=10.0)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*.mp4")}


def after_recovery(data_dir: Path, index: SegmentTable, names: set[str]) -> list[SegmentWithFragments]:
    """What the index has of these segments when its process has started again."""
    recover(data_dir, index)
    found = [index.get("door", name) for name in sorted(names)]
    return [whole for whole in found if whole is not None]


def without_activity(found: list[SegmentWithFragments]) -> list[SegmentWithFragments]:
    return [SegmentWithFragments(replace(each.segment, activity=None), each.fragments) for each in found]


@pytest.mark.parametrize("rows", [0, 1, 2, 3], ids="{} rows".format)
@pytest.mark.parametrize("cut", ["growing", "half a fragment", "closed"])
def test_it_is_what_recovery_will_put_into_the_index(tmp_path: Path, rows: int, cut: str) -> None:
    """Three files of which the index has the first ones, the last of them as it was some fragments ago."""
    recorded = record(tmp_path, encode(LONG), segment_s=4, finish=cut == "closed")
    assert len(recorded) == 3
    known = list(recorded[:rows])
    if known:
        segment, fragments = known[-1]
        behind = replace(segment, state=SegmentState.GROWING, end_reason=None, frames=1, duration_90k=CLOCK_RATE)
        known[-1] = SegmentWithFragments(behind, fragments[:1])
    index = index_of(tmp_path, known)
    last = recorded[-1].segment.path(tmp_path)
    if cut == "half a fragment":
        with last.open("ab") as file:
            fragment = recorded[-1].fragments[0]
            file.write(last.read_bytes()[fragment.offset : fragment.offset + fragment.size // 2])
    before = contents(tmp_path)
    found = UnfinishedFiles(tmp_path, index).of_camera("door")
    assert contents(tmp_path) == before, "no file is changed"
    names = {each.segment.name for each in found}
    assert names == {each.segment.name for each in recorded[max(0, rows - 1) :]}
    assert without_activity(found) == without_activity(after_recovery(tmp_path, index, names))
    assert found[-1].fragments == recorded[-1].fragments
    index.close()


def test_files_are_read_again_only_when_they_have_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = record(tmp_path, encode(LONG), segment_s=4, finish=False)
    index = index_of(tmp_path, recorded)
    scanned: list[Path] = []

    def counted(path: Path) -> Scan:
        scanned.append(path)
        return scan(path)

    monkeypatch.setattr(unfinished, "scan", counted)
    files = UnfinishedFiles(tmp_path, index)
    (whole,) = files.of_camera("door")
    assert files.of_camera("door") == [whole]
    path = whole.segment.path(tmp_path)
    assert scanned == [path]
    os.truncate(path, whole.fragments[-1].offset + 5)
    assert [each.fragments for each in files.of_camera("door")] == [whole.fragments[:-1]]
    assert scanned == [path, path]
    index.close()


def test_each_stream_has_its_own_and_other_cameras_have_none(tmp_path: Path) -> None:
    main = record(tmp_path, encode(), finish=False)
    sub = record(tmp_path, encode(), finish=False, rendition=RenditionName.SUB)
    index = index_of(tmp_path, main)
    files = UnfinishedFiles(tmp_path, index)
    assert [each.segment.name for each in files.of_camera("door")] == [main[0].segment.name, sub[0].segment.name]
    assert files.of_camera("gate") == []
    index.close()


def test_a_growing_file_without_a_fragment_and_one_that_is_gone_are_nothing(tmp_path: Path) -> None:
    recorded = record(tmp_path, encode(), finish=False)
    index = index_of(tmp_path, recorded)
    path = recorded[0].segment.path(tmp_path)
    os.truncate(path, recorded[0].fragments[0].offset)
    files = UnfinishedFiles(tmp_path, index)
    assert files.of_camera("door") == []
    path.unlink()
    assert files.of_camera("door") == []
    index.close()


def test_of_an_index_that_was_lost_the_newest_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "ADDED_MAX", 2)
    (tmp_path / "door").mkdir()
    (tmp_path / "door" / "notes.txt").write_text("of an operator")
    days = [record(tmp_path / str(day), encode(start_90k=START_90K + day * 86_400 * CLOCK_RATE)) for day in range(3)]
    for day in range(3):
        shutil.copytree(tmp_path / str(day) / "door", tmp_path / "door", dirs_exist_ok=True)
    index = index_of(tmp_path)
    found = UnfinishedFiles(tmp_path, index).of_camera("door")
    assert [each.segment.name for each in found] == [day[0].segment.name for day in days[1:]]
    index.close()
