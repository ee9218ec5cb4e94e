"""Packets, thumbnails and JPEG replays out of recordings."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from gateway.codec import av1
from gateway.errors import NotFoundError, StorageError
from gateway.jpeg.reader import JpegFrame
from gateway.media import VIDEO, Packet, StreamInfo, VideoInfo
from hls.archive.fragment import Fragment
from hls.archive.recovery import segment_from_file
from hls.archive.scan import scan
from hls.archive.segment import EndReason, Segment, SegmentWithFragments
from hls.archive.segment_files import SegmentFiles
from hls.playback.replay import ARRIVED_90K, fragments_from, make_thumbnail, read_packets, replay_jpeg
from tests.support.coded_rtp import encoded
from tests.support.manual_clock import ManualClock
from tests.support.recording import record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode


def brightness(jpeg: bytes) -> int:
    """The number of the frame in the test video, within one or two."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    # The test video is limited-range video, the JPEG is full-range.
    return round(float(picture.mean()) * 219 / 255 + 16) - 20


def test_recorded_packets_are_read_back_equal(tmp_path: Path) -> None:
    packets = [packet for packet in encode(EncoderSettings(seconds=4, audio=True)) if packet.is_video]
    [(segment, fragments)] = record(tmp_path, encode(EncoderSettings(seconds=4, audio=True)))
    for first in (0, 10, 30):
        read = list(read_packets(SegmentFiles(tmp_path), segment, fragments_from(fragments, first * 9000)))
        expected = packets[first - first % 10 :]
        assert [(p.captured_at_90k, p.pts_90k, p.is_keyframe) for p in read] == [
            (p.captured_at_90k, p.pts_90k, p.is_keyframe) for p in expected
        ]
        assert all(p.data.startswith((b"\0\0\0\1", b"\0\0\1")) for p in read)


def test_a_recording_of_av1_is_read_back_shown_and_found_again(tmp_path: Path) -> None:
    pictures = encoded("av1", 320, 240, frames=50, gop=25)
    header = av1.sequence_header(pictures[0][0])
    assert header is not None
    info = StreamInfo(VideoInfo("av1", header.codec_string, 320, 240, header.obu))
    packets = [
        Packet(VIDEO, data, n * 3600, n * 3600, 3600, is_keyframe, START_90K + n * 3600, info)
        for n, (data, is_keyframe) in enumerate(pictures)
    ]
    [(segment, fragments)] = record(tmp_path, packets)
    read = list(read_packets(SegmentFiles(tmp_path), segment, fragments))
    assert [(p.pts_90k, p.is_keyframe) for p in read] == [(p.pts_90k, p.is_keyframe) for p in packets]
    assert av1.sample(read[0].data) == av1.sample(packets[0].data)
    thumbnail = make_thumbnail(SegmentFiles(tmp_path), segment, fragments).read_bytes()
    # The grey of the first picture.
    assert brightness(thumbnail) + 20 == pytest.approx(100, abs=3)
    path = segment.path(tmp_path)
    found = segment_from_file(path, "door", scan(path))
    assert (found.codec, found.codec_string) == ("av1", header.codec_string)


@pytest.mark.parametrize("content", [None, b"", b"garbage" * 1000])
def test_a_missing_or_broken_file_is_our_error(tmp_path: Path, content: bytes | None) -> None:
    [(segment, fragments)] = record(tmp_path, encode())
    path = segment.path(tmp_path)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((NotFoundError, StorageError)):
        list(read_packets(SegmentFiles(tmp_path), segment, fragments))


def test_a_thumbnail_is_the_first_picture_and_made_once(tmp_path: Path) -> None:
    [(segment, fragments)] = record(tmp_path, encode(EncoderSettings(width=640, height=480)), finish=False)
    path = make_thumbnail(SegmentFiles(tmp_path), segment, fragments)
    assert path == segment.path(tmp_path).with_suffix(".jpg")
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (240, 320, 3)
    assert brightness(path.read_bytes()) == pytest.approx(0, abs=2)
    path.write_bytes(b"kept")
    assert make_thumbnail(SegmentFiles(tmp_path), segment, fragments).read_bytes() == b"kept"
    assert not list(tmp_path.rglob("*.part"))


class Archive:
    """Recordings in a list; the newest may have grown since it was last asked for."""

    def __init__(self, data_dir: Path, recordings: Sequence[SegmentWithFragments]) -> None:
        self.files = SegmentFiles(data_dir)
        self.recordings = list(recordings)

    async def find_from(
        self, camera_id: str, time_90k: int, width: int | None, rendition: RenditionName | None
    ) -> tuple[Segment, Sequence[Fragment]] | None:
        return next((whole for whole in self.recordings if whole[0].end_90k > time_90k), None)

    def pin(self, segment: Segment) -> AbstractContextManager[None]:
        return nullcontext()


@pytest.fixture
async def executor() -> AsyncIterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


async def replay(
    archive: Archive,
    executor: ThreadPoolExecutor,
    at_s: float,
    live_edge_s: float | None,
    monkeypatch: pytest.MonkeyPatch,
    frame_rate: float = 10,
) -> list[tuple[float, JpegFrame]]:
    """All frames of a replay, and when each came, in seconds from the first."""
    clock = ManualClock(START_90K)
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    edge_90k = None if live_edge_s is None else START_90K + round(live_edge_s * CLOCK_RATE)
    at_90k = START_90K + round(at_s * CLOCK_RATE)
    frames = replay_jpeg(archive, executor, clock, "door", at_90k, frame_rate, None, lambda: edge_90k)
    return [(round(clock.now, 3), frame) async for frame in frames]


def recorded(data_dir: Path) -> Archive:
    """6 s in 2 s files, a gap, and 2 s from second 20 on."""
    first = record(data_dir, encode(EncoderSettings(seconds=6)), segment_s=2)
    return Archive(
        data_dir, [*first, *record(data_dir, encode(EncoderSettings(seconds=2), START_90K + 20 * CLOCK_RATE, run=2))]
    )


async def test_a_replay_begins_exactly_and_plays_across_segments_and_gaps(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = await replay(recorded(tmp_path), executor, 1.7, 1000, monkeypatch)
    numbers = [*range(17, 60), *range(20)]
    assert [brightness(frame.data) for _, frame in frames] == pytest.approx(numbers, abs=2)
    assert frames[0][1].captured_at_90k == START_90K + 17 * 9000
    assert [frame.sequence for _, frame in frames] == list(range(1, 64))
    # 43 pictures a tenth of a second apart; then the gap is jumped over.
    assert [at for at, _ in frames[:43]] == pytest.approx([n / 10 for n in range(43)], abs=0.001)
    assert frames[43][0] == frames[42][0]
    assert frames[-1][0] == pytest.approx(frames[43][0] + 1.9, abs=0.001)


async def test_a_lower_frame_rate_shows_fewer_frames_at_the_same_speed(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = await replay(recorded(tmp_path), executor, 0, 1000, monkeypatch, frame_rate=2)
    assert len(frames) == 16
    assert [at for at, _ in frames[:12]] == pytest.approx([n / 2 for n in range(12)], abs=0.001)


async def test_a_replay_near_the_live_edge_plays_faster_and_ends_there(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = record(tmp_path, encode(EncoderSettings(seconds=6)), finish=False)
    assert recordings[0][0].end_reason is None
    frames = await replay(Archive(tmp_path, recordings), executor, 1, 6.5, monkeypatch)
    shown_to_90k = frames[-1][1].captured_at_90k
    assert START_90K + 6.5 * CLOCK_RATE - shown_to_90k < ARRIVED_90K
    lasted_s = (shown_to_90k - frames[0][1].captured_at_90k) / CLOCK_RATE
    assert frames[-1][0] == pytest.approx(lasted_s / 1.25, abs=0.001)


async def test_a_growing_file_is_read_on_as_it_grows(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive(tmp_path, record(tmp_path, encode(EncoderSettings(seconds=6)), finish=False))
    segment, fragments = archive.recordings[0]
    grown = iter(range(2, len(fragments) + 1))

    class Growing(Archive):
        async def find_from(
            self, camera_id: str, time_90k: int, width: int | None, rendition: RenditionName | None
        ) -> tuple[Segment, Sequence[Fragment]] | None:
            return segment, fragments[: next(grown, len(fragments))]

    frames = [frame for _, frame in await replay(Growing(tmp_path, archive.recordings), executor, 0, 60, monkeypatch)]
    assert len(frames) >= 50
    assert [frame.captured_at_90k for frame in frames] == [START_90K + n * 9000 for n in range(len(frames))]


async def test_a_replay_after_the_last_recording_is_not_found(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFoundError):
        await replay(recorded(tmp_path), executor, 100, 1000, monkeypatch)


async def test_a_closed_replay_leaves_no_file_open(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    archive = recorded(tmp_path)
    assert archive.recordings[0][0].end_reason is EndReason.BOUNDARY
    frames = replay_jpeg(archive, executor, ManualClock(START_90K), "door", START_90K, 10, 80, lambda: None)
    frame = await anext(frames)
    assert (frame.width, frame.height) == (80, 60)
    await frames.aclose()
    links = [path.resolve() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert not [path for path in links if path.is_relative_to(tmp_path)]
