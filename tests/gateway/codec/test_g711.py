"""G.711 by tables sounds as by FFmpeg's decoder, and is as loud as it is."""

import av
import numpy as np
import pytest

from gateway.codec.g711 import SAMPLES, G711Decoder
from gateway.codec.loudness import LEVEL_FULL, loudness

CODES = bytes(range(256)) * 3


@pytest.mark.parametrize("codec", SAMPLES)
def test_each_code_is_the_sample_that_ffmpeg_says(codec: str) -> None:
    ffmpeg = av.CodecContext.create(codec, "r")
    assert isinstance(ffmpeg, av.AudioCodecContext)
    ffmpeg.sample_rate, ffmpeg.layout = 8_000, "mono"
    [expected] = ffmpeg.decode(av.Packet(CODES))
    for full_scale in (1.0, 0.125):
        frame = G711Decoder(codec, 8_000, full_scale).decode(CODES)
        assert (frame.samples, frame.sample_rate) == (len(CODES), 8_000)
        assert (frame.to_ndarray() * 32768 / full_scale == expected.to_ndarray()).all()


@pytest.mark.parametrize("codec", SAMPLES)
def test_the_level_is_that_of_the_loudest_moment(codec: str) -> None:
    samples = np.array(SAMPLES[codec])
    wave = 16384 * np.sin(np.arange(1024) * 2 * np.pi * 440 / 8_000)
    tone = bytes(int(np.abs(samples - value).argmin()) for value in wave)
    quiet = bytes([int(np.abs(samples).argmin())]) * 1024
    decoder = G711Decoder(codec, 8_000, 1.0)
    assert decoder.level(tone) == pytest.approx(LEVEL_FULL - 9, abs=0.5)  # a sine of half of full scale
    assert decoder.level(tone) == pytest.approx(loudness(decoder.decode(tone)), abs=1)
    assert decoder.level(quiet + tone + quiet) == decoder.level(tone)
    assert decoder.level(quiet) < LEVEL_FULL - 70
