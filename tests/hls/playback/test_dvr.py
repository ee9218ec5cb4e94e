"""The playlist over the recording."""

from pathlib import Path

import m3u8
import pytest

from gateway.clock import CLOCK_RATE
from hls.archive.hls_segments import HLS_TARGET_S, hls_segments
from hls.archive.recording import SequenceNumbers
from hls.archive.segment import SegmentWithFragments
from hls.mp4.init_segment import shared_init
from hls.playback.dvr import in_span, playlist
from hls.playback.recording_order import Piece
from tests.support.ffprobe import decode, ffprobe
from tests.support.recording import record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode


def recorded(data_dir: Path) -> list[SegmentWithFragments]:
    """12 s in files of 6 s, a gap, and 6 s of another size."""
    numbers = SequenceNumbers(sequence=100, discontinuities=7)
    first = record(data_dir, encode(EncoderSettings(seconds=12)), segment_s=6, numbers=numbers)
    later = encode(EncoderSettings(seconds=6, width=320, height=240), START_90K + 60 * CLOCK_RATE, run=2)
    return [*first, *record(data_dir, later, segment_s=6, numbers=numbers)]


def listed(recordings: list[SegmentWithFragments]) -> list[Piece]:
    """As the archive hands them to the playlist."""
    return [
        Piece(segment, hls_segments(fragments, is_complete=segment.end_reason is not None))
        for segment, fragments in recordings
    ]


def test_a_playlist_over_a_gap_and_a_resolution_change(tmp_path: Path) -> None:
    recordings = recorded(tmp_path)
    text = playlist(listed(recordings), START_90K, is_ended=True)
    assert text is not None
    parsed = m3u8.loads(text)
    assert parsed.is_endlist
    assert parsed.playlist_type == "vod"
    assert (parsed.target_duration, parsed.media_sequence, parsed.discontinuity_sequence) == (HLS_TARGET_S, 100, 7)
    assert [segment.discontinuity for segment in parsed.segments] == [False, False, True, False, True, False]
    times = [str(segment.program_date_time)[17:26] for segment in parsed.segments if segment.program_date_time]
    assert times[0] == "00+00:00"
    assert str(parsed.segments[4].program_date_time) == "2026-11-22 18:51:00+00:00"
    for segment in parsed.segments:
        name = Path(segment.uri).stem
        whole = next(whole for whole in recordings if whole[0].name == name)
        size, offset = (int(number) for number in segment.byterange.split("@"))
        assert offset + size <= whole[0].size
        assert segment.init_section.uri == f"door/init-{whole[0].init_id}.mp4"
    assert text.count("#EXT-X-MAP") == 2, "one until the tracks change"


def test_a_playlist_begins_with_the_segment_of_the_start_and_numbers_follow(tmp_path: Path) -> None:
    recordings = recorded(tmp_path)
    start_90k = START_90K + 11 * CLOCK_RATE
    text = playlist(in_span(listed(recordings), start_90k, None), start_90k, is_ended=False)
    assert text is not None
    parsed = m3u8.loads(text)
    assert not parsed.is_endlist
    assert (parsed.media_sequence, parsed.discontinuity_sequence) == (103, 8)
    assert parsed.start.time_offset == pytest.approx(1.0)
    assert in_span(listed(recordings), START_90K + 20 * CLOCK_RATE, START_90K + 50 * CLOCK_RATE) == []
    assert playlist([], START_90K, is_ended=True) is None


def test_an_open_playlist_only_grows(tmp_path: Path) -> None:
    packets = encode(EncoderSettings(seconds=14))
    before: list[str] = []
    for count in range(20, 141, 10):
        recordings = record(tmp_path / str(count), packets[:count], segment_s=6, finish=False)
        text = playlist(listed(recordings), START_90K, is_ended=False)
        lines = text.splitlines() if text else []
        assert lines[: len(before)] == before
        before = lines
    assert len(before) > 10


@pytest.mark.integration
def test_ffmpeg_plays_the_playlist_from_the_recorded_files(tmp_path: Path) -> None:
    recordings = recorded(tmp_path)
    for segment, _ in recordings:
        data = segment.path(tmp_path).read_bytes()
        init = shared_init(segment.head + data[len(segment.head) : segment.init_size])
        assert len(init) == segment.init_length
        folder = tmp_path / "www" / "door"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{segment.name}.mp4").write_bytes(data)
        (folder / f"init-{segment.init_id}.mp4").write_bytes(init)
    text = playlist(listed(recordings), START_90K, is_ended=True)
    assert text is not None
    (tmp_path / "www" / "dvr.m3u8").write_text(text)
    assert decode(tmp_path / "www" / "dvr.m3u8", "-allowed_extensions", "ALL") == ""


@pytest.mark.integration
def test_every_file_of_a_playlist_is_complete_and_begins_at_its_date(tmp_path: Path) -> None:
    """As a player does: the init segment, then the byte ranges up to the next discontinuity."""
    recordings = recorded(tmp_path)
    by_name = {segment.name: segment for segment, _ in recordings}
    text = playlist(listed(recordings), START_90K, is_ended=True)
    assert text is not None
    timelines: list[bytes] = []
    for part in m3u8.loads(text).segments:
        segment = by_name[Path(part.uri).stem]
        data = segment.path(tmp_path).read_bytes()
        if part.discontinuity or not timelines:
            timelines.append(shared_init(segment.head + data[len(segment.head) : segment.init_size]))
        size, offset = (int(number) for number in part.byterange.split("@"))
        timelines[-1] += data[offset : offset + size]
    for number, timeline in enumerate(timelines):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(timeline)
        assert decode(path) == ""
        probed = ffprobe(path, "-count_frames")
        assert int(probed["streams"][0]["nb_read_frames"]) == 60
        assert float(probed["streams"][0]["start_time"]) == 0
    assert len(timelines) == 3
