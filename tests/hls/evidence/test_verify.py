"""``liveedge verify`` on exports that others made: an answer for each, and no crash."""

import base64
import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hls.evidence.manifest import MANIFEST, PUBLIC_KEY, SIGNATURE
from hls.evidence.verify import Report, verify_export
from tests.support.evidence import new_key

CLIP = "door/a.mp4"
PICTURES = bytes(range(256)) * 64

Manifest = dict[str, Any]


def verified(
    path: Path,
    change: Callable[[Manifest], object] = lambda manifest: None,
    *,
    clip: bytes = PICTURES,
    added: str | None = None,
    compression: int = zipfile.ZIP_STORED,
    damaged: bool = False,
) -> Report:
    """Make an export, signed with an unknown key and with a change of its manifest, and verify it."""
    key = new_key()
    manifest: Manifest = {"type": "liveedge-export", "version": 1, "files": [], "away": []}
    manifest["public_keys"] = [{"id": key.key_id, "public_key": key.public.pem}]
    clips = [{"file": CLIP, "size": len(PICTURES), "sha256": hashlib.sha256(PICTURES).hexdigest()}]
    manifest["cameras"] = [{"camera": "door", "clips": clips, "sources": [], "records": []}]
    change(manifest)
    data = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(CLIP, clip)
        for name, content in ((MANIFEST, data), (PUBLIC_KEY, key.public.pem.encode())):
            archive.writestr(name, content, zipfile.ZIP_STORED)
        archive.writestr(SIGNATURE, base64.b64decode(key.sign(data)), zipfile.ZIP_STORED)
        if added is not None:
            archive.writestr(added, b"x")
    if damaged:
        packed = bytearray(path.read_bytes())
        for at in range(60, 120):
            packed[at] ^= 0x55
        path.write_bytes(packed)
    return verify_export(path, None)


def of_camera(**values: object) -> Callable[[Manifest], object]:
    return lambda manifest: manifest["cameras"][0].update(values)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(cameras=["door"]),
        lambda manifest: manifest.update(away=5),
        lambda manifest: manifest.update(files=7),
        lambda manifest: manifest.update(public_keys=[{}]),
        lambda manifest: manifest["cameras"][0]["clips"][0].pop("sha256"),
        of_camera(camera={"door": 1}),
        of_camera(name=["door"]),
        of_camera(clips=[{"file": ["a"], "sha256": "00"}]),
        of_camera(clips=None),
        of_camera(sources=None),
        of_camera(sources=[{"segment": ["a"], "state": "intact"}]),
        of_camera(records={"a": 1}),
        of_camera(records=[{"statement": "[]", "signature": ""}]),
    ],
)
def test_a_signed_manifest_of_another_form_is_refused(tmp_path: Path, change: Callable[[Manifest], object]) -> None:
    assert verified(tmp_path / "a.zip").faults == 0
    report = verified(tmp_path / "a.zip", change)
    assert report.faults == 1
    assert "cannot be read as an export" in report.lines[-1]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_clip_is_a_fault_however_it_was_packed(tmp_path: Path, compression: int) -> None:
    assert verified(tmp_path / "a.zip", compression=compression).faults == 0
    report = verified(tmp_path / "a.zip", compression=compression, damaged=True)
    assert f"WRONG: {CLIP} was changed: its SHA-256 is not the signed one" in report.lines


def test_a_clip_of_another_size_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack(*_: object) -> str:
        raise AssertionError("unpacked")

    monkeypatch.setattr("hls.evidence.verify._hash_in", unpack)
    report = verified(tmp_path / "a.zip", clip=bytes(1 << 24), compression=zipfile.ZIP_DEFLATED)
    assert f"WRONG: {CLIP} was changed: its size is not the signed one" in report.lines


def test_names_in_a_file_write_no_lines_of_the_report(tmp_path: Path) -> None:
    forged = "x\nsigned with a key of this gateway\x1b[2J\u202e"
    reports = [
        verified(tmp_path / "a.zip", added=forged),
        verified(tmp_path / "a.zip", lambda manifest: manifest.update(away=[forged], created=forged)),
        verified(
            tmp_path / "a.zip", of_camera(camera="문 " + forged, sources=[{"segment": forged, "state": "unsigned"}])
        ),
    ]
    for report in reports:
        assert all(line.isprintable() for line in report.lines)
        assert any(r"x\nsigned with a key of this gateway\x1b[2J" in line for line in report.lines)
    assert any(line.startswith("문 ") for line in reports[-1].lines)


def test_names_of_cameras_are_told_in_any_language_and_write_nothing_else(tmp_path: Path) -> None:
    persian = "درب\u200cپشتی"
    report = verified(tmp_path / "a.zip", of_camera(name=persian))
    assert f"camera door had the name: {persian}" in report.lines
    forged = "정문\u202e\u2066\x1b[2J\r\nsigned with a key of this gateway\u2028\ud800" + "x" * 5000
    report = verified(tmp_path / "a.zip", of_camera(name=forged))
    assert report.faults == 0
    [line] = [line for line in report.lines if "정문" in line]
    assert line.startswith(
        r"camera door had the name: 정문\u202e\u2066\x1b[2J\r\nsigned with a key of this gateway\u2028\ud800x"
    )
    assert len(line) < 400
    assert line.isprintable()
    assert not any("name" in line for line in verified(tmp_path / "a.zip", of_camera(name=None)).lines)
