"""Which stream of a camera a request about a moment gets."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE
from gateway.service import CaptureService
from hls.archive.service import Archive
from hls.playback.reader import ArchiveReader
from hls.playback.replay import replay_jpeg
from tests.support.manual_clock import ManualClock
from tests.support.recording import index_of, record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode
from web.settings import load_settings


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[ArchiveReader]:
    """A main stream of 320 pixels with 4 s, 10 ms nothing, 4 s, and then nothing; a sub stream of 160 with 12 s."""
    wide = EncoderSettings(seconds=4, width=320, height=240)
    recordings = record(tmp_path, encode(wide), segment_s=600)
    recordings += record(tmp_path, encode(wide, START_90K + 4 * CLOCK_RATE + 900, run=2), segment_s=600)
    recordings += record(tmp_path, encode(EncoderSettings(seconds=12)), segment_s=600, rendition=RenditionName.SUB)
    index_of(tmp_path, recordings).close()
    settings = load_settings(data_dir=tmp_path, cameras={"door": {"url": "rtsp://127.0.0.1:9/"}}, start="on-demand")
    archive = Archive(settings, CaptureService(settings.camera_settings()))
    await archive.start()
    made = ArchiveReader(archive, archive.service)
    yield made
    made.close()
    await archive.close()


@pytest.mark.parametrize(
    ("second", "width", "found"),
    [
        (1.0, None, 320),
        (1.0, 320, 320),
        (1.0, 200, 320),
        (1.0, 160, 160),
        (1.0, 64, 160),
        (1.0, 640, 320),
        (4.005, None, 320),  # between two files of one stream
        (9.0, None, 160),
        (9.0, 320, 160),
        (-5.0, None, 320),  # nothing then: the next recording
        (20.0, None, None),
    ],
)
async def test_a_picture_is_of_the_smallest_stream_that_has_its_width(
    reader: ArchiveReader, second: float, width: int | None, found: int | None
) -> None:
    segment = await reader.segments.find_from("door", START_90K + round(second * CLOCK_RATE), width)
    assert (segment and segment.segment.width) == found


async def test_a_replay_goes_over_to_the_stream_that_goes_on(
    reader: ArchiveReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    monkeypatch.setattr("hls.playback.replay.asyncio.sleep", clock.sleep)
    at_90k = START_90K + 6 * CLOCK_RATE
    with ThreadPoolExecutor(1) as executor:
        replay = replay_jpeg(reader.segments, executor, clock, "door", at_90k, 2, None, lambda: None)
        frames = [frame async for frame in replay]
    widths = [frame.width for frame in frames]
    assert widths == sorted(widths, reverse=True)
    assert set(widths) == {320, 160}
    times = [frame.captured_at_90k for frame in frames]
    assert times == sorted(set(times))
    assert times[-1] > START_90K + 11 * CLOCK_RATE
