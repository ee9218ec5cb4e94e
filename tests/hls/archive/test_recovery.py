"""Recovery of files and index after a crash."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from hls.archive.recovery import Recovery, recover
from hls.archive.scan import scan
from hls.archive.segment import SegmentState
from hls.archive.table import SegmentTable
from tests.support import recording
from tests.support.ffprobe import decode, ffprobe
from tests.support.recording import index_of, record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("kill_after", [3, 40, 61])
def test_kill_9_loses_less_than_a_second_and_every_file_plays(tmp_path: Path, kill_after: int) -> None:
    """Killed early in a file, late in it, and right after a rotation of the 2 s segments."""
    process = subprocess.Popen([sys.executable, recording.__file__, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    handed_over_90k = 0
    for _ in range(kill_after):
        handed_over_90k = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()

    index = index_of(tmp_path)
    recover(tmp_path, index)
    assert recover(tmp_path, index) == Recovery(), "a second start must find nothing to do"
    segments = index.page("door", None, None, 100)
    kept_to_90k = segments[-1].end_90k if segments else START_90K
    assert handed_over_90k - kept_to_90k < CLOCK_RATE
    for segment in segments:
        path = segment.path(tmp_path)
        assert path.stat().st_size == segment.size
        assert decode(path) == ""
        assert float(ffprobe(path)["format"]["duration"]) == pytest.approx(segment.duration_90k / CLOCK_RATE, abs=0.05)
    index.close()


def test_a_partial_fragment_is_cut_off(tmp_path: Path) -> None:
    [(segment, fragments)] = record(tmp_path, encode(), finish=False)
    index = index_of(tmp_path, [(segment, fragments[:2])])
    path = segment.path(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[fragments[0].offset : fragments[0].offset + 300])
    done = recover(tmp_path, index)
    assert (done.truncated, done.added) == (1, 0)
    truncated = index.get("door", segment.name)
    assert truncated is not None
    assert truncated[0].state is SegmentState.TRUNCATED
    assert truncated[1] == fragments
    assert path.read_bytes() == whole
    assert decode(path) == ""
    index.close()


def test_an_incomplete_final_index_is_cut_off(tmp_path: Path) -> None:
    """The crash fell between the last fragment and the end of the closing: either shape of the head must do."""
    [(growing, fragments)] = record(tmp_path / "growing", encode(), finish=False)
    [(segment, all_fragments)] = record(tmp_path, encode())
    index = index_of(tmp_path, [(growing, fragments)])
    path = segment.path(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: all_fragments[-1].offset + all_fragments[-1].size + 20])
    assert recover(tmp_path, index).truncated == 1
    found = scan(path)
    assert found.fragments == all_fragments
    assert not found.is_closed
    assert decode(path) == ""
    index.close()


def test_a_closed_file_with_a_growing_row_becomes_closed(tmp_path: Path) -> None:
    [(growing, fragments)] = record(tmp_path / "growing", encode(), finish=False)
    [(closed, all_fragments)] = record(tmp_path, encode())
    index = index_of(tmp_path, [(growing, fragments)])
    assert recover(tmp_path, index).closed == 1
    assert index.get("door", closed.name) is not None
    segment, listed = index.get("door", closed.name) or (closed, ())
    assert (segment.state, segment.size, listed) == (SegmentState.CLOSED, closed.size, all_fragments)
    index.close()


def test_a_lost_index_is_rebuilt_from_the_files(tmp_path: Path) -> None:
    recordings = record(tmp_path, encode(EncoderSettings(seconds=9, audio=True)), segment_s=3)
    assert len(recordings) == 3
    index = index_of(tmp_path)
    assert recover(tmp_path, index).added == 3
    for segment, fragments in recordings:
        found = index.get("door", segment.name)
        assert found is not None
        assert found[1] == fragments
        for name in ("start_90k", "duration_90k", "size", "codec_string", "width", "height", "run", "frames", "head"):
            assert getattr(found[0], name) == getattr(segment, name), name
        assert found[0].continues == segment.continues
        assert (found[0].sequence, found[0].discontinuities) == (segment.sequence, segment.discontinuities)
    index.close()


def test_an_index_from_files_alone_knows_the_stream_of_each(tmp_path: Path) -> None:
    main = record(tmp_path, encode(EncoderSettings(seconds=5)), segment_s=2)
    sub = record(tmp_path, encode(EncoderSettings(seconds=5)), segment_s=2, rendition=RenditionName.SUB)
    assert [segment.name for segment, _ in sub] == [f"{segment.name}_sub" for segment, _ in main]
    index = index_of(tmp_path)
    assert recover(tmp_path, index).added == 6
    for rendition, recordings in ((RenditionName.MAIN, main), (RenditionName.SUB, sub)):
        found = index.span("door", None, None, 9, rendition)
        assert [(s.name, s.rendition, s.sequence) for s, _ in found] == [
            (s.name, rendition, s.sequence) for s, _ in recordings
        ]
    index.close()


def test_foreign_files_are_not_changed(tmp_path: Path) -> None:
    recordings = record(tmp_path, encode())
    index = index_of(tmp_path, recordings)
    day = recordings[0][0].path(tmp_path).parent
    foreign = {
        tmp_path / "notes.txt": b"hello",
        day / "holiday.mp4": b"another file",
        day / "segment_20261122T185959Z.mp4": b"ours by name, and nothing else",
        tmp_path / "door" / "2020-01-01" / "segment_20261122T190000Z.mp4": b"in the wrong place",
    }
    for path, content in foreign.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    done = recover(tmp_path, index)
    assert done.unreadable == [day / "segment_20261122T185959Z.mp4"]
    assert all(path.read_bytes() == content for path, content in foreign.items())
    assert len(index.page("door", None, None, 10)) == 1
    index.close()


def test_a_recording_of_an_unknown_codec_is_not_changed(tmp_path: Path) -> None:
    [(segment, _)] = record(tmp_path, encode())
    path = segment.path(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzz1"))
    index = index_of(tmp_path)
    assert recover(tmp_path, index).unreadable == [path]
    assert path.exists()
    index.close()


def test_a_recording_whose_tags_are_not_utf_8_is_added(tmp_path: Path) -> None:
    [(segment, _)] = record(tmp_path, encode())
    path = segment.path(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"VideoHandler", b"Video\xffandler"))
    index = index_of(tmp_path)
    assert recover(tmp_path, index).added == 1
    index.close()


@pytest.mark.parametrize(
    ("decode_time", "run"),
    [
        ((0, 900_000), (0, 50_000_000)),  # as many samples
        ((0, 900_000), (0x100, 2, 2**32 - 1, 2**32 - 1)),  # as long ones
        ((2**31, 7), (0, 1)),  # in the year 2600
        ((0, 0), (0, 1)),  # before the one before
    ],
)
def test_an_impossible_fragment_ends_the_recording_and_the_start_continues(
    tmp_path: Path, decode_time: tuple[int, int], run: tuple[int, ...]
) -> None:
    def box(kind: bytes, *content: bytes) -> bytes:
        whole = b"".join(content)
        return (8 + len(whole)).to_bytes(4, "big") + kind + whole

    def words(*values: int) -> bytes:
        return b"".join(value.to_bytes(4, "big") for value in values)

    track = box(b"tfhd", words(0x8, 1, 3000)), box(b"tfdt", words(2**24, *decode_time)), box(b"trun", words(*run))
    fragment = box(b"moof", box(b"mfhd", words(0, 99)), box(b"traf", *track)) + box(b"mdat", b"x")
    [(segment, fragments)] = record(tmp_path, encode(), finish=False)
    path = segment.path(tmp_path)
    path.write_bytes(path.read_bytes() + fragment)
    index = index_of(tmp_path)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert recover(tmp_path, index).added == 1
    assert index.page("door", None, None, 10)[0].frames == sum(part.frames for part in fragments)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 300 * 1024
    index.close()


def test_rows_without_files_and_files_without_fragments_are_removed(tmp_path: Path) -> None:
    recordings = record(tmp_path, encode(EncoderSettings(seconds=6)), segment_s=2)
    index = index_of(tmp_path, recordings)
    recordings[0][0].path(tmp_path).unlink()
    empty = recordings[1][0].path(tmp_path)
    index.remove("door", recordings[1][0].name)
    empty.write_bytes(
        recordings[1][0].head + empty.read_bytes()[len(recordings[1][0].head) : recordings[1][0].init_size]
    )
    index.begin_delete([recordings[2][0]])
    done = recover(tmp_path, index)
    assert done == Recovery(removed_rows=2, removed_files=1)
    assert not empty.exists()
    assert not recordings[2][0].path(tmp_path).exists()
    index.close()


def test_recordings_are_in_the_index_after_a_restart(tmp_path: Path) -> None:
    recordings = record(tmp_path, encode(EncoderSettings(seconds=4)), segment_s=2)
    index_of(tmp_path, recordings).close()
    index = SegmentTable(tmp_path)
    index.open()
    assert recover(tmp_path, index) == Recovery()
    assert [segment for segment, _ in recordings] == index.page("door", None, None, 10)
    index.close()
