"""I-frame playlists: what they list, and that each entry is one keyframe alone, which decodes."""

import io
from itertools import pairwise
from pathlib import Path

import av
import m3u8
import pytest

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from gateway.errors import NotFoundError
from hls.archive.recording import SequenceNumbers
from hls.archive.segment import SegmentWithFragments
from hls.archive.segment_files import SegmentFiles, read_init
from hls.mp4.init_segment import shared_init, video_init
from hls.playback.keyframes import Keyframe, filled, in_span, keyframe_fragment, keyframes_of, playlist
from tests.support.recording import record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode

SOUND = EncoderSettings(seconds=12, audio=True)
"""Ten frames a second, a keyframe each second."""


def listed(recordings: list[SegmentWithFragments], interval_s: float = 0) -> list[Keyframe]:
    return [each for whole in recordings for each in keyframes_of(*whole, round(interval_s * CLOCK_RATE))]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keyframes")


@pytest.fixture(scope="module")
def recordings(data_dir: Path) -> list[SegmentWithFragments]:
    """12 s with sound in files of 6 s, a gap, and 6 s of another size."""
    numbers = SequenceNumbers()
    first = record(data_dir, encode(SOUND), segment_s=6, numbers=numbers)
    later = encode(EncoderSettings(seconds=6, width=320, height=240), START_90K + 60 * CLOCK_RATE, run=2)
    return [*first, *record(data_dir, later, segment_s=6, numbers=numbers)]


def test_a_playlist_lists_each_keyframe_until_the_next_one(recordings: list[SegmentWithFragments]) -> None:
    text = playlist(listed(recordings), base="")
    assert text is not None
    parsed = m3u8.loads(text)
    assert parsed.is_i_frames_only
    assert parsed.is_endlist
    assert len(parsed.segments) == sum(fragment.is_keyframe for _, fragments in recordings for fragment in fragments)
    assert parsed.target_duration >= max(segment.duration for segment in parsed.segments)
    whole_s = sum(segment.duration_90k for segment, _ in recordings) / CLOCK_RATE
    assert sum(segment.duration for segment in parsed.segments) == pytest.approx(whole_s, abs=0.01)
    assert sum(segment.discontinuity for segment in parsed.segments) == len(recordings) - 1
    assert text.count("#EXT-X-MAP") == 2, "one until the tracks change"
    assert playlist([], "") is None


def test_an_interval_thins_and_a_span_cuts(recordings: list[SegmentWithFragments]) -> None:
    every = listed(recordings)
    thin = listed(recordings, 3)
    assert len(thin) < len(every) / 2
    assert {each.segment.name for each in thin} == {each.segment.name for each in every}
    for one, two in pairwise(thin):
        if one.segment is two.segment:
            assert two.media_90k - one.media_90k == one.lasts_90k >= 3 * CLOCK_RATE
    inside = in_span(every, START_90K + 5 * CLOCK_RATE // 2, START_90K + 4 * CLOCK_RATE)
    assert inside[0].start_90k <= START_90K + 5 * CLOCK_RATE // 2 < inside[0].start_90k + inside[0].lasts_90k
    assert inside[-1].start_90k < START_90K + 4 * CLOCK_RATE


def test_the_other_stream_fills_what_was_not_recorded(recordings: list[SegmentWithFragments], tmp_path: Path) -> None:
    sub = record(tmp_path, encode(EncoderSettings(seconds=40), START_90K), rendition=RenditionName.SUB)
    own, other = listed(recordings), listed(sub)
    merged = filled(own, other)
    assert [each.start_90k for each in merged] == sorted(each.start_90k for each in merged)
    fills = [each for each in merged if each.segment.rendition is RenditionName.SUB]
    assert len(merged) == len(own) + len(fills)
    assert START_90K + 12 * CLOCK_RATE <= min(each.start_90k for each in fills) < START_90K + 14 * CLOCK_RATE
    assert filled([], other) == other


def test_every_entry_is_one_keyframe_that_decodes(recordings: list[SegmentWithFragments], data_dir: Path) -> None:
    """As a player does: the init segment, then each entry up to the next discontinuity."""
    files = SegmentFiles(data_dir)
    for segment, fragments in recordings:
        init = video_init(shared_init(read_init(files.open, segment.path(data_dir), segment)))
        entries = keyframes_of(segment, fragments, 0)
        media = [keyframe_fragment(files, segment, fragments, each.offset, each.lasts_90k) for each in entries]
        with av.open(io.BytesIO(init + b"".join(media)), "r", format="mp4") as container:
            assert [stream.type for stream in container.streams] == ["video"]
            packets = [packet for packet in container.demux(video=0) if packet.dts is not None]
        assert [packet.dts for packet in packets] == [each.media_90k for each in entries]
        assert all(packet.is_keyframe for packet in packets)
        with av.open(io.BytesIO(init + media[-1]), "r", format="mp4") as container:
            (frame,) = list(container.decode(video=0))
        assert (frame.width, frame.height) == (segment.width, segment.height)
    files.close()


def test_what_no_playlist_lists_is_not_found(recordings: list[SegmentWithFragments], data_dir: Path) -> None:
    files = SegmentFiles(data_dir)
    segment, fragments = recordings[0]
    between = next(each for each in fragments if not each.is_keyframe)
    for offset, lasts_90k in ((0, 1), (between.offset, 1), (fragments[0].offset, 0), (10**14, 1)):
        with pytest.raises(NotFoundError, match="keyframe"):
            keyframe_fragment(files, segment, fragments, offset, lasts_90k)
    files.close()
