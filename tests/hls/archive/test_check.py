"""Each invariant is violated once, found and repaired."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import SettingsError
from hls.archive.check import Fault, check_archive
from hls.archive.data_dir import lock_data_dir, unlock_data_dir
from hls.archive.segment import SegmentState, SegmentWithFragments
from hls.archive.table import SegmentTable
from tests.support.recording import index_of, record
from tests.support.sources.encoded import EncoderSettings, encode
from web.settings import Settings, load_settings

Break = Callable[[Path, SegmentTable, list[SegmentWithFragments]], object]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path, cameras={"door": {"url": "rtsp://127.0.0.1:9/door"}})


def _truncate(data_dir: Path, _: SegmentTable, recordings: list[SegmentWithFragments]) -> None:
    path = recordings[1][0].path(data_dir)
    path.write_bytes(path.read_bytes()[: recordings[1][1][-1].offset + 50])


def _shift_fragments(_: Path, index: SegmentTable, recordings: list[SegmentWithFragments]) -> None:
    index.save(recordings[1][0], (replace(recordings[1][1][0], duration_90k=1), *recordings[1][1][1:]))


def _flip_a_bit(data_dir: Path, _: SegmentTable, recordings: list[SegmentWithFragments]) -> None:
    path = recordings[1][0].path(data_dir)
    data = bytearray(path.read_bytes())
    data[recordings[1][1][0].offset + recordings[1][1][0].size - 1] ^= 1
    path.write_bytes(data)


BREAKS: dict[Fault, Break] = {
    Fault.NO_FILE: lambda data_dir, index, recordings: recordings[1][0].path(data_dir).unlink(),
    Fault.SIZE: lambda data_dir, index, recordings: index.save(replace(recordings[1][0], size=7), recordings[1][1]),
    Fault.STATE: _truncate,
    Fault.FRAGMENTS: _shift_fragments,
    Fault.SHA256: _flip_a_bit,
    Fault.NO_ROW: lambda data_dir, index, recordings: index.remove("door", recordings[1][0].name),
    Fault.HALF_DELETED: lambda data_dir, index, recordings: index.begin_delete([recordings[1][0]]),
    Fault.LEFT_GROWING: lambda data_dir, index, recordings: index.save(
        replace(recordings[1][0], state=SegmentState.GROWING), recordings[1][1]
    ),
    Fault.NUMBERS: lambda data_dir, index, recordings: index.save(
        replace(recordings[1][0], sequence=0), recordings[1][1]
    ),
}


def archive(tmp_path: Path) -> tuple[SegmentTable, list[SegmentWithFragments]]:
    recordings = record(tmp_path, encode(EncoderSettings(seconds=6)), segment_s=2)
    index = index_of(tmp_path, recordings)
    digest = hashlib.sha256(recordings[1][0].path(tmp_path).read_bytes()).hexdigest()
    recordings[1] = SegmentWithFragments(replace(recordings[1].segment, sha256=digest), recordings[1].fragments)
    index.save(*recordings[1])
    return index, recordings


def test_an_intact_archive_has_no_findings(tmp_path: Path, settings: Settings) -> None:
    archive(tmp_path)[0].close()
    assert check_archive(settings) == []


@pytest.mark.parametrize("fault", list(BREAKS), ids=[fault.value for fault in BREAKS])
def test_a_violated_invariant_is_found_and_repaired(tmp_path: Path, settings: Settings, fault: Fault) -> None:
    index, recordings = archive(tmp_path)
    BREAKS[fault](tmp_path, index, recordings)
    index.close()
    findings = check_archive(settings)
    assert fault in [finding.fault for finding in findings]
    assert not any(finding.is_repaired for finding in findings)
    assert {finding.name for finding in findings} <= {recordings[1][0].name, "*"}
    assert check_archive(settings) == findings, "looking changes nothing"
    repaired = check_archive(settings, repair=True)
    assert [finding.fault for finding in repaired] == [finding.fault for finding in findings]
    assert all(finding.is_repaired for finding in repaired)
    assert "repaired" in str(repaired[0])
    assert check_archive(settings) == []


def test_an_unreadable_file_is_reported_and_kept(tmp_path: Path, settings: Settings) -> None:
    index, recordings = archive(tmp_path)
    index.close()
    path = recordings[1][0].path(tmp_path)
    path.write_bytes(b"garbage")
    for repair in (True, False):
        [finding] = check_archive(settings, repair=repair)
        assert (finding.fault, finding.is_repaired) == (Fault.UNREADABLE, False)
    assert path.read_bytes() == b"garbage"


def test_beside_a_running_gateway_the_check_only_reads(tmp_path: Path, settings: Settings) -> None:
    index, recordings = archive(tmp_path)
    BREAKS[Fault.LEFT_GROWING](tmp_path, index, recordings)
    index.close()
    lock = lock_data_dir(tmp_path)
    assert check_archive(settings) == []
    with pytest.raises(SettingsError, match="another liveedge"):
        check_archive(settings, repair=True)
    unlock_data_dir(lock)


def test_a_missing_directory_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing to check"):
        check_archive(load_settings(data_dir=tmp_path / "none"))
