"""StreamMeter: frame rate, bitrate and keyframe interval, measured."""

import pytest

from gateway.media import MediaKind, Packet
from gateway.stream_meter import METER_WINDOW_S, StreamMeter
from tests.support.sources.scripted import INFO


def feed(meter: StreamMeter, seconds: float, *, fps: int = 25, size: int = 1000, gop: int = 50, run: int = 1) -> None:
    for i in range(round(seconds * fps)):
        time_90k = i * 90_000 // fps
        meter.on_packet(Packet(MediaKind.VIDEO, bytes(size), time_90k, time_90k, 0, i % gop == 0, 0, INFO, run))


def test_without_packets_there_are_no_rates() -> None:
    meter = StreamMeter()
    assert (meter.fps, meter.bitrate_bps, meter.keyframe_interval_s) == (None, None, None)
    feed(meter, 0.04)
    assert (meter.fps, meter.bitrate_bps) == (None, None)


@pytest.mark.parametrize("seconds", [1, 4, 30])
def test_rates_are_those_of_the_stream_from_the_first_second_on(seconds: int) -> None:
    meter = StreamMeter()
    feed(meter, seconds)
    assert meter.fps == pytest.approx(25, abs=0.1)
    assert meter.bitrate_bps == pytest.approx(200_000, rel=0.05)


def test_the_keyframe_interval_is_the_last_one() -> None:
    meter = StreamMeter()
    feed(meter, 5, gop=50)
    assert meter.keyframe_interval_s == 2


def test_audio_counts_for_the_bitrate_and_not_for_the_frame_rate() -> None:
    meter = StreamMeter()
    for i in range(100):
        kind = MediaKind.VIDEO if i % 2 == 0 else MediaKind.AUDIO
        meter.on_packet(Packet(kind, bytes(500), i * 1800, i * 1800, 0, i == 0, 0, INFO, 1))
    assert meter.fps == pytest.approx(25, abs=0.5)
    assert meter.bitrate_bps == pytest.approx(500 * 50 * 8, rel=0.05)


@pytest.mark.parametrize("ahead_s", [-8, 8])
def test_audio_seconds_off_does_not_change_the_rates(ahead_s: int) -> None:
    meter = StreamMeter()
    for i in range(200):
        kind = MediaKind.VIDEO if i % 2 == 0 else MediaKind.AUDIO
        time_90k = 900_000 + i * 1800 + (0 if i % 2 == 0 else ahead_s * 90_000)
        meter.on_packet(Packet(kind, bytes(500), time_90k, time_90k, 0, i == 0, 0, INFO, 1))
    assert meter.fps == pytest.approx(25, abs=0.5)
    assert meter.bitrate_bps == pytest.approx(500 * 50 * 8, rel=0.05)


def test_a_new_run_resets_it_and_memory_is_bounded() -> None:
    meter = StreamMeter()
    feed(meter, 600)
    assert len(meter._packets) <= METER_WINDOW_S * 25 + 2
    feed(meter, 1, fps=10, run=2)
    assert meter.fps == pytest.approx(10, abs=0.1)
