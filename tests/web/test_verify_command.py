"""``liveedge verify`` where several workers have recorded."""

import io
from pathlib import Path

import pytest

from tests.support.evidence import new_key, signed_recordings
from tests.support.recording import index_of
from web.cli import main
from web.workers.worker import FOLDER


def test_a_recording_of_any_worker_is_verified_by_its_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = new_key()
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for folder, camera in ((tmp_path, "door"), (tmp_path / FOLDER / "2", "yard")):
        index = index_of(folder)
        segment = signed_recordings(folder, index, key, camera)[1]
        index.close()
        path = segment.path(folder)
        assert main(["verify", str(path)]) == 0
        assert f"is as it was recorded: camera {camera}" in capsys.readouterr().out
        path.write_bytes(path.read_bytes()[:-1])
        assert main(["verify", str(path)]) == 1
        assert f"WRONG: {camera}: {segment.name}: the file is not the one" in capsys.readouterr().out
    other = tmp_path / "other.mp4"
    other.write_bytes(b"x")
    assert main(["verify", str(other)]) == 1
    assert capsys.readouterr().out.count("no signed segment has this SHA-256") == 1


def test_a_name_that_a_terminal_cannot_show_is_written_as_an_escape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "문.mp4"
    file.write_bytes(b"no recording")
    file.with_suffix(".json").write_text("{}")
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    assert main(["verify", str(file)]) == 1
    assert rb"\ubb38.json is no record of a segment" in written.getvalue()
