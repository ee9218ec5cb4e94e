"""The fake camera: its packets are like those of any camera, and its time code is right."""

from datetime import UTC, datetime
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.capture.engine import CaptureSource
from gateway.capture.engines import timecode
from gateway.capture.engines.fake import FakeLiveStreamGenerator
from gateway.capture.engines.test_pattern import ClockPattern
from gateway.errors import CaptureError
from gateway.media import Packet

SMALL = "fake://demo?width=320&height=240&fps=30&gop=1"


def take_packets(url: str, packets: int) -> list[Packet]:
    engine = FakeLiveStreamGenerator(CaptureSource("demo", url, run=3))
    taken = []
    for packet in engine.packets():
        taken.append(packet)
        if len(taken) == packets:
            engine.interrupt()
    return taken


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=30))
def test_each_name_has_a_picture_of_its_own_with_a_readable_time_code(name: str) -> None:
    picture = ClockPattern(160, 96, name).draw(datetime(2026, 1, 2, tzinfo=UTC), 1_767_312_000_456)
    assert timecode.read(picture[:96]) == 1_767_312_000_456
    again = ClockPattern(160, 96, name).draw(datetime(2026, 1, 2, tzinfo=UTC), 1_767_312_000_456)
    assert np.array_equal(picture, again)
    other = ClockPattern(160, 96, name + "x").draw(datetime(2026, 1, 2, tzinfo=UTC), 1_767_312_000_456)
    assert not np.array_equal(picture, other)


def test_its_packets_follow_the_rules() -> None:
    packets = take_packets(SMALL, 40)
    assert len(packets) == 40
    assert [packet.is_keyframe for packet in packets] == [number % 30 == 0 for number in range(40)]
    assert all(after.dts_90k - before.dts_90k == 3000 for before, after in pairwise(packets))
    assert all(after.captured_at_90k > before.captured_at_90k for before, after in pairwise(packets))
    assert {packet.run for packet in packets} == {3}
    assert len({id(packet.info) for packet in packets}) == 1
    video = packets[0].info.video
    assert (video.codec, video.width, video.height, video.has_b_frames) == ("h264", 320, 240, False)
    assert video.codec_string.startswith("avc1.42c0")
    assert video.frame_rate == 30


def test_the_time_code_is_the_capture_time() -> None:
    packets = take_packets(SMALL, 35)
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    pictures = [picture for packet in packets for picture in decoder.decode(av.Packet(packet.data))]
    seen = [timecode.read(picture.to_ndarray()[: picture.height].astype(np.uint8)) for picture in pictures]
    assert len(seen) > 30
    assert seen == [packet.captured_at_90k // 90 for packet in packets[: len(seen)]]


@pytest.mark.parametrize(("name", "codec", "frame_90k"), [("aac", "aac", 1920), ("alaw", "pcm_alaw", 1800)])
def test_its_audio_has_tones(name: str, codec: str, frame_90k: int) -> None:
    packets = take_packets(f"{SMALL}&audio={name}", 60)
    audio = [packet for packet in packets if not packet.is_video]
    assert len(audio) > 10
    assert all(after.dts_90k - before.dts_90k == frame_90k for before, after in pairwise(audio))
    described = packets[0].info.audio
    assert described is not None
    assert described.codec == codec
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout = described.sample_rate_hz, "mono"
    decoder.extradata = described.extradata or None
    samples = np.concatenate(
        [frame.to_ndarray() for item in audio for frame in decoder.decode(av.Packet(item.data))], 1
    )
    assert np.abs(samples.astype(float)).max() > 0


@pytest.mark.parametrize("wrong", ["width=0", "fps=abc", "gop=-1", "height=99999", "audio=loud"])
def test_invalid_parameters_raise_an_error_that_names_them(wrong: str) -> None:
    engine = FakeLiveStreamGenerator(CaptureSource("demo", f"fake://demo?{wrong}"))
    with pytest.raises(CaptureError, match=wrong.partition("=")[0]):
        next(iter(engine.packets()))


def test_an_interrupt_before_the_start_is_kept() -> None:
    engine = FakeLiveStreamGenerator(CaptureSource("demo", SMALL))
    engine.interrupt()
    assert list(engine.packets()) == []


@given(st.integers(0, 2**48 - 1), st.sampled_from([(160, 96), (320, 240), (642, 362), (1280, 720)]))
def test_the_time_code_is_read_as_written(unix_ms: int, size: tuple[int, int]) -> None:
    luma = np.full((size[1], size[0]), 90, np.uint8)
    assert timecode.read(luma) is None
    timecode.write(luma, unix_ms)
    assert timecode.read(luma) == unix_ms
