"""Clips: exact to the frame, across segments and gaps, of one codec and one size, and readable in any range."""

from itertools import pairwise
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import CLOCK_RATE
from gateway.errors import ConflictError, NotFoundError, StorageError
from gateway.times import parse_time
from hls.archive.recording import SequenceNumbers
from hls.archive.segment import SegmentWithFragments
from hls.archive.segment_files import SegmentFiles
from hls.playback.clip import make_clip
from hls.playback.composite_file import CompositeFile, Slice, growing_file
from tests.support.ffprobe import decode, ffprobe
from tests.support.recording import record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def recordings(data_dir: Path) -> list[SegmentWithFragments]:
    """6 s in 2 s files with sound, a gap until second 60, and 4 s with other keyframes, the last 2 s still growing."""
    numbers = SequenceNumbers()
    first = record(data_dir, encode(EncoderSettings(seconds=6, audio=True)), segment_s=2, numbers=numbers)
    later = encode(EncoderSettings(seconds=4, audio=True, gop=5), START_90K + 60 * CLOCK_RATE, run=2)
    return [*first, *record(data_dir, later, segment_s=2, numbers=numbers, finish=False)]


def cut(data_dir: Path, recordings: list[SegmentWithFragments], start_s: float, end_s: float) -> CompositeFile:
    return make_clip(
        SegmentFiles(data_dir),
        recordings,
        START_90K + round(start_s * CLOCK_RATE),
        START_90K + round(end_s * CLOCK_RATE),
    )


def whole_bytes(file: CompositeFile) -> bytes:
    return b"".join(file.read(0, file.length))


def pictures(path: Path) -> list[tuple[float, int]]:
    """When each picture is shown, and which it is: frame n is a grey of 20 + n."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        assert video.time_base is not None
        return [
            (round(float(frame.pts * video.time_base), 3), round(float(frame.to_ndarray(format="yuv420p")[0, 0])) - 20)
            for frame in container.decode(video)
            if frame.pts is not None
        ]


@pytest.mark.parametrize(
    ("start_s", "end_s", "numbers"),
    [
        (0, 2, range(20)),
        (0.5, 1.5, range(5, 15)),
        (1.8, 4.2, range(18, 42)),
        (0.9, 1.0, range(9, 10)),
        (2.3, 61.2, [*range(23, 60), *range(12)]),
        (60.5, 62.5, range(5, 25)),
        (-100, 1000, [*range(60), *range(38)]),
    ],
)
def test_a_clip_shows_exactly_its_frames(
    data_dir: Path,
    recordings: list[SegmentWithFragments],
    tmp_path: Path,
    start_s: float,
    end_s: float,
    numbers: list[int],
) -> None:
    file = cut(data_dir, recordings, start_s, end_s)
    path = tmp_path / "clip.mp4"
    path.write_bytes(whole_bytes(file))
    shown = pictures(path)
    assert [at for at, _ in shown] == [round(n / 10, 3) for n in range(len(shown))], "no gap, from 0 on"
    expected = list(numbers)
    assert [number for _, number in shown][: len(expected)] == pytest.approx(expected, abs=1)
    assert len(shown) == len(expected)
    assert decode(path) == ""
    probed = ffprobe(path)
    assert float(probed["format"]["duration"]) == pytest.approx(len(expected) / 10, abs=0.03)
    assert {stream["codec_name"] for stream in probed["streams"]} == {"h264", "aac"}


@pytest.fixture(scope="module")
def changing(data_dir: Path) -> list[SegmentWithFragments]:
    """2 s of H.264, 3 s of H.265 from 2.0005 s on, and 2 s of H.264 in another size from 5.0005 s on."""
    recordings, at_90k = list[SegmentWithFragments](), START_90K
    for run, what in enumerate(
        (
            EncoderSettings(seconds=2),
            EncoderSettings(seconds=3, hevc=True),
            EncoderSettings(seconds=2, width=320, height=240),
        )
    ):
        recordings += record(data_dir, encode(what, at_90k, run=run), "changing", segment_s=600)
        at_90k = START_90K + (2 + 3 * run) * CLOCK_RATE + 45
    return recordings


def test_a_clip_has_one_codec_and_one_size(
    data_dir: Path, changing: list[SegmentWithFragments], tmp_path: Path
) -> None:
    with pytest.raises(ConflictError) as refused:
        cut(data_dir, changing, -10, 100)
    assert refused.value.reason == "clip_format_changes"
    times = str(refused.value.values["at"]).split(", ")
    assert times == ["2026-11-22T18:50:02.000Z", "2026-11-22T18:50:05.000Z"]
    # The times of the answer make clips that are not refused, and no frame is lost.
    edges = [START_90K - CLOCK_RATE, *(parse_time(each, "at") for each in times), START_90K + 100 * CLOCK_RATE]
    found = []
    for start_90k, end_90k in pairwise(edges):
        path = tmp_path / f"{start_90k}.mp4"
        path.write_bytes(whole_bytes(make_clip(SegmentFiles(data_dir), changing, start_90k, end_90k)))
        (stream,) = ffprobe(path, "-count_frames")["streams"]
        assert decode(path) == ""
        found.append((stream["codec_name"], stream["width"], stream["nb_read_frames"]))
    assert found == [("h264", 160, "20"), ("hevc", 160, "30"), ("h264", 320, "20")]


@pytest.mark.parametrize(("most_of", "codec", "frames"), [((0, 1.5), "h264", "20"), ((1.5, 6), "hevc", "30")])
def test_a_clip_of_something_is_the_part_that_has_most_of_it(
    data_dir: Path,
    changing: list[SegmentWithFragments],
    tmp_path: Path,
    most_of: tuple[float, float],
    codec: str,
    frames: str,
) -> None:
    from_90k, to_90k = (START_90K + round(each * CLOCK_RATE) for each in most_of)
    path = tmp_path / "clip.mp4"
    clip = make_clip(SegmentFiles(data_dir), changing, START_90K, START_90K + 10 * CLOCK_RATE, (from_90k, to_90k))
    path.write_bytes(whole_bytes(clip))
    (stream,) = ffprobe(path, "-count_frames")["streams"]
    assert (stream["codec_name"], stream["nb_read_frames"]) == (codec, frames)


def test_audio_stays_in_sync_across_a_gap(
    data_dir: Path, recordings: list[SegmentWithFragments], tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(whole_bytes(cut(data_dir, recordings, 4.0, 61.0)))
    with av.open(str(path)) as container:
        times = [float(packet.pts * packet.time_base) for packet in container.demux(audio=0) if packet.pts is not None]
    # 2 s before the gap and 1 s after it, whose sounds begin where its pictures do: within one AAC frame of second 2.
    assert min(abs(time - 2.0) for time in times) < 0.022
    assert times[-1] == pytest.approx(3.0, abs=0.05)
    assert all(before < after for before, after in pairwise(times))


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_range_of_a_clip_is_that_range(
    data_dir: Path, recordings: list[SegmentWithFragments], data: st.DataObject
) -> None:
    file = cut(data_dir, recordings, 1.25, 61.5)
    start = data.draw(st.integers(0, file.length))
    end = data.draw(st.integers(start, file.length))
    assert b"".join(file.read(start, end)) == whole_bytes(file)[start:end]


@settings(deadline=None, max_examples=25)
@given(start_ms=st.integers(-500, 64_500), length_ms=st.integers(1, 70_000))
def test_any_span_is_a_clip_or_not_found(
    data_dir: Path, recordings: list[SegmentWithFragments], start_ms: int, length_ms: int
) -> None:
    try:
        file = cut(data_dir, recordings, start_ms / 1000, (start_ms + length_ms) / 1000)
    except NotFoundError:
        return
    assert len(whole_bytes(file)) == file.length
    assert 0 < file.duration_90k <= length_ms * 90


def test_nothing_recorded_is_not_found(data_dir: Path, recordings: list[SegmentWithFragments]) -> None:
    for start_s, end_s in ((-10, -5), (10, 50), (70, 80)):
        with pytest.raises(NotFoundError, match="nothing is recorded"):
            cut(data_dir, recordings, start_s, end_s)


def test_a_clip_is_the_same_file_each_time(data_dir: Path, recordings: list[SegmentWithFragments]) -> None:
    first, again, other = (cut(data_dir, recordings, 0, end_s) for end_s in (3, 3, 4))
    assert whole_bytes(first) == whole_bytes(again)
    assert first.etag == again.etag != other.etag


def test_a_growing_file_reads_the_same_after_it_was_closed(tmp_path: Path) -> None:
    [(growing, _)] = record(tmp_path / "a", encode(), finish=False)
    before = growing.path(tmp_path / "a").read_bytes()
    [(closed, _)] = record(tmp_path / "b", encode())
    file = growing_file(closed.path(tmp_path / "b"), growing)
    assert whole_bytes(file) == before[: growing.size]


def test_a_missing_or_short_file_is_a_storage_error(tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"12345")
    for slices in ([Slice(path, 3, 10)], [Slice(tmp_path / "gone", 0, 5)]):
        file = CompositeFile(b"head", slices, '"etag"')
        with pytest.raises(StorageError):
            whole_bytes(file)
