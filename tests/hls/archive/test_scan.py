"""Scans of growing, closed and broken recordings."""

from pathlib import Path

import pytest

from gateway.errors import StorageError
from hls.archive.scan import scan
from hls.mp4.init_segment import growing_head
from tests.support.recording import record
from tests.support.sources.encoded import EncoderSettings, encode


def test_a_closed_file_scans_as_what_was_written(tmp_path: Path) -> None:
    [(segment, fragments)] = record(tmp_path, encode(EncoderSettings(seconds=3, audio=True)))
    found = scan(segment.path(tmp_path))
    assert found.fragments == fragments
    assert found.is_closed
    assert found.file_bytes == segment.size
    assert (found.head, found.init_size) == (segment.head, segment.init_size)


def test_a_growing_file_scans_the_same_but_is_not_closed(tmp_path: Path) -> None:
    [(segment, fragments)] = record(tmp_path, encode(), finish=False)
    found = scan(segment.path(tmp_path))
    assert found.fragments == fragments
    assert not found.is_closed
    assert found.whole_bytes == found.file_bytes == segment.size


def test_closing_changes_nothing_but_the_head_and_the_end(tmp_path: Path) -> None:
    [(growing, _)] = record(tmp_path / "a", encode(), finish=False)
    [(closed, fragments)] = record(tmp_path / "b", encode())
    before, after = growing.path(tmp_path / "a").read_bytes(), closed.path(tmp_path / "b").read_bytes()
    head = len(growing.head)
    assert before[:head] == growing.head == growing_head(after[:head])
    assert before[head:] == after[head : len(before)]
    assert fragments[-1].offset + fragments[-1].size < len(after)


def test_every_cut_of_a_file_scans_to_its_complete_fragments(tmp_path: Path) -> None:
    [(segment, fragments)] = record(tmp_path, encode(), finish=False)
    path = segment.path(tmp_path)
    data = path.read_bytes()
    for length in range(segment.init_size, len(data), 97):
        path.write_bytes(data[:length])
        assert scan(path).fragments == tuple(f for f in fragments if f.offset + f.size <= length) or length < (
            fragments[0].offset + fragments[0].size
        )


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"not an mp4 at all, but a text", b"\0\0\0\x08ftyp"])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.mp4"
    path.write_bytes(content)
    with pytest.raises(StorageError):
        scan(path)
