"""Live windows between two processes: where their files are, who may read them, and that they are used once."""

import os
from pathlib import Path

import pytest

from gateway.camera_settings import RenditionName
from web import kept_windows
from web.kept_windows import KeptWindowFiles

MAIN, SUB = RenditionName.MAIN, RenditionName.SUB


def test_what_was_left_is_taken_once(tmp_path: Path) -> None:
    files = KeptWindowFiles(tmp_path)
    files.leave("door.west", MAIN, [b"one\n", memoryview(b"two")])
    files.leave("door.west", SUB, [b"three"])
    assert {path.stat().st_mode & 0o777 for path in files.folder.iterdir()} == {0o600}
    assert dict(KeptWindowFiles(tmp_path).take()) == {("door.west", MAIN): b"one\ntwo", ("door.west", SUB): b"three"}
    assert list(files.folder.iterdir()) == []
    assert dict(KeptWindowFiles(tmp_path).take()) == {}


def test_a_window_of_another_boot_and_other_files_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = KeptWindowFiles(tmp_path)
    files.leave("door", MAIN, [b"one"])
    for name in ("tmpabc", "door.third.window", ".window"):
        (files.folder / name).write_bytes(b"x\ny")
    (files.folder / "folder").mkdir()
    monkeypatch.setattr(kept_windows, "boot_id", lambda: "another boot")
    assert dict(files.take()) == {}
    assert [path.name for path in files.folder.iterdir()] == ["folder"]


def test_video_that_is_never_recorded_does_not_go_to_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KeptWindowFiles(tmp_path / "data", lambda _: True).leave("door", MAIN, [b"one"])
    assert not (tmp_path / "data").exists()
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}/run:{tmp_path}/more")
    files = KeptWindowFiles(tmp_path / "data", lambda _: True)
    files.leave("door", MAIN, [b"one"])
    assert [path.parent.parent for path in files.folder.iterdir()] == [tmp_path / "run"]
    assert dict(files.take()) == {("door", MAIN): b"one"}


def test_the_size_of_all_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_windows, "MAX_BYTES", 5)
    files = KeptWindowFiles(tmp_path)
    files.leave("door", MAIN, [b"four"])
    files.leave("yard", MAIN, [b"four"])
    assert [key for key, _ in files.take()] == [("door", MAIN)]


def test_a_disk_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = KeptWindowFiles(tmp_path)

    def replace(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="No space"):
        files.leave("door", MAIN, [b"four"])
    assert list(files.folder.iterdir()) == []
