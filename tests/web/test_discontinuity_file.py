"""The file of discontinuity numbers: private, and harmless whatever is in it."""

import stat
from pathlib import Path

import pytest

from web.discontinuity_file import FILE_NAME, DiscontinuityFile


def test_a_number_is_kept_and_private(tmp_path: Path) -> None:
    kept = DiscontinuityFile(tmp_path / "data")
    assert kept.load() == 0
    kept.save(7977)
    assert DiscontinuityFile(tmp_path / "data").load() == 7977
    assert stat.S_IMODE((tmp_path / "data" / FILE_NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"-5", b"seven", b"\xff\xfe", b"9" * 40, "٣".encode()])
def test_a_file_without_a_number_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    assert DiscontinuityFile(tmp_path).load() == 0
