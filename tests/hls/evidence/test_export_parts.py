"""Parts of an export that other nodes made."""

import hashlib
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StorageError
from hls.evidence.export_parts import add_part
from hls.evidence.export_zip import ExportZip
from hls.evidence.manifest import MANIFEST, TYPE, VERSION, as_bytes

CLIP = b"the clip"

NAME = "door/door_20261130T120000Z.mp4"


def part(path: Path, **changes: Any) -> Path:
    clip = {"file": NAME, "sha256": hashlib.sha256(CLIP).hexdigest(), "start": "2026-11-30T12:00:00Z", **changes}
    keys = [{"id": "7694", "public_key": "of the node"}]
    manifest = {"type": TYPE, "version": VERSION, "cameras": [{"camera": "door", "clips": [clip]}], "public_keys": keys}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(NAME, CLIP)
        file.writestr(MANIFEST, as_bytes(manifest))
    return path


@pytest.fixture
def whole(tmp_path: Path) -> ExportZip:
    return ExportZip(tmp_path / "whole.zip", lambda: False)


@pytest.mark.parametrize("taken", [frozenset(), {NAME}], ids=["free", "taken"])
def test_clips_are_taken_under_a_name_that_is_free(whole: ExportZip, tmp_path: Path, taken: Collection[str]) -> None:
    name = "door/door_20261130T120000Z_recorder-2.mp4" if taken else NAME
    cameras, keys = add_part(whole, part(tmp_path / "part.zip"), "recorder-2", taken)
    whole.close()
    assert [clip["file"] for clip in cameras[0]["clips"]] == [name]
    assert [each["id"] for each in keys] == ["7694"]
    with zipfile.ZipFile(tmp_path / "whole.zip") as file:
        assert file.namelist() == [name]
        assert file.read(name) == CLIP


@pytest.mark.parametrize("changes", [{"sha256": "0" * 64}, {"file": "door/missing.mp4"}], ids=["changed", "missing"])
def test_a_part_that_is_not_as_it_was_signed_is_refused(
    whole: ExportZip, tmp_path: Path, changes: dict[str, str]
) -> None:
    with pytest.raises(StorageError, match="recorder-2"):
        add_part(whole, part(tmp_path / "part.zip", **changes), "recorder-2", ())
    whole.close()


def test_a_part_that_was_cut_off_is_refused(whole: ExportZip, tmp_path: Path) -> None:
    path = part(tmp_path / "part.zip")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(StorageError, match="recorder-2"):
        add_part(whole, path, "recorder-2", ())
    whole.close()
