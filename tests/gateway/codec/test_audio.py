"""Audio keeps its sound and its time through decoding, resampling and encoding, for both codecs that are encoded."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from gateway.clock import CLOCK_RATE
from gateway.codec.audio import AudioEncoder, AudioTranscoder, EncodedAudioFrame
from gateway.media import AudioInfo

TONE_HZ = 500
START_90K = 10 * CLOCK_RATE

OPUS: dict[str, Any] = {
    "codec": "opus",
    "sample_rate_hz": 48_000,
    "channels": 2,
    "frame_samples": 960,
    "bit_rate_bps": 48_000,
}
AAC: dict[str, Any] = {
    "codec": "aac",
    "sample_rate_hz": 16_000,
    "channels": 1,
    "frame_samples": 1024,
    "bit_rate_bps": 48_000,
}

TARGETS = pytest.mark.parametrize("target", [OPUS, AAC], ids=["opus", "aac"])


def tone(
    codec: str, sample_rate_hz: int, channels: int, seconds: float, amplitude: float = 0.5
) -> tuple[AudioInfo, list[tuple[bytes, int]]]:
    """A sine tone as ``codec``, and its packets with their times in 90 kHz."""
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.AudioCodecContext)
    layout = "stereo" if channels == 2 else "mono"
    encoder.sample_rate, encoder.layout = sample_rate_hz, layout
    encoder.format = "fltp" if codec == "aac" else "s16"
    encoder.time_base = Fraction(1, sample_rate_hz)
    encoder.open()
    step = encoder.frame_size or sample_rate_hz // 50
    packets: list[tuple[bytes, int]] = []
    for first in range(0, round(seconds * sample_rate_hz), step):
        wave = amplitude * np.sin(2 * np.pi * TONE_HZ * np.arange(first, first + step) / sample_rate_hz)
        if codec == "aac":
            frame = av.AudioFrame.from_ndarray(np.tile(wave.astype(np.float32), (channels, 1)), "fltp", layout)
        else:
            samples = np.repeat((wave * 32767).astype(np.int16), channels).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(samples, "s16", layout)
        frame.sample_rate, frame.pts = sample_rate_hz, first
        for packet in encoder.encode(frame):
            at_90k = START_90K + len(packets) * step * CLOCK_RATE // sample_rate_hz
            packets.append((bytes(packet), at_90k))
    return AudioInfo(codec, "", sample_rate_hz, channels, bytes(encoder.extradata or b"")), packets


def decoded(info: AudioInfo, frames: list[EncodedAudioFrame]) -> np.ndarray:
    """The first channel of coded frames, as floats."""
    decoder = av.CodecContext.create("libopus" if info.codec == "opus" else info.codec, "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.extradata = info.extradata
    decoder.sample_rate = info.sample_rate_hz
    resampler = av.AudioResampler("fltp", "mono", info.sample_rate_hz)
    pieces = [
        resampled.to_ndarray()[0]
        for _, data in frames
        for frame in decoder.decode(av.Packet(data))
        for resampled in resampler.resample(frame)
    ]
    return np.concatenate(pieces)


@TARGETS
@pytest.mark.parametrize(
    ("codec", "sample_rate_hz", "channels"),
    [("pcm_alaw", 8_000, 1), ("pcm_mulaw", 8_000, 1), ("aac", 48_000, 2), ("aac", 16_000, 1)],
)
def test_a_tone_stays_the_same_tone(target: dict[str, Any], codec: str, sample_rate_hz: int, channels: int) -> None:
    source, packets = tone(codec, sample_rate_hz, channels, 2)
    transcoder = AudioTranscoder(source, **target)
    frames = [frame for packet in packets for frame in transcoder.transcode(*packet)]
    wave = decoded(transcoder.info, frames)[target["sample_rate_hz"] // 2 :][: target["sample_rate_hz"]]
    spectrum = np.abs(np.fft.rfft(wave))
    assert abs(int(spectrum.argmax()) - TONE_HZ) <= 1
    # A sine of 0.5 has 0.354. FFmpeg adds 3 dB where it mixes two equal channels into one.
    expected = 0.354 if channels == 1 else 0.5
    assert np.sqrt((wave**2).mean()) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("amplitude", [0.95, 0.05])
def test_a_loud_and_a_quiet_tone_become_aac_of_the_same_level_and_little_else(amplitude: float) -> None:
    source, packets = tone("pcm_mulaw", 8_000, 1, 2, amplitude)
    transcoder = AudioTranscoder(source, **AAC)
    frames = [frame for packet in packets for frame in transcoder.transcode(*packet)]
    wave = decoded(transcoder.info, frames)[8_000:][:16_000]
    power = np.abs(np.fft.rfft(wave * np.hanning(16_000))) ** 2
    near_tone = power[TONE_HZ - 3 : TONE_HZ + 4].sum()
    assert np.sqrt((wave**2).mean()) == pytest.approx(amplitude / np.sqrt(2), rel=0.02)
    assert near_tone / (power.sum() - near_tone) > 1000  # 30 dB


def square(time_s: np.ndarray) -> np.ndarray:
    """Full scale, as from a microphone that is far too loud."""
    return np.sign(np.sin(2 * np.pi * 300 * time_s))


def noise(time_s: np.ndarray) -> np.ndarray:
    """A room in which nothing happens."""
    return np.random.default_rng(1).standard_normal(len(time_s)) * 0.005


@pytest.mark.parametrize(("wave_of", "least_db"), [(square, 35), (noise, 18)])
def test_the_loudest_and_the_least_sound_become_aac_with_little_noise(
    wave_of: Callable[[np.ndarray], np.ndarray], least_db: float
) -> None:
    wave = wave_of(np.arange(16_000) / 8_000)
    samples = np.clip(wave * 32768, -32768, 32767).astype(">i2")
    transcoder = AudioTranscoder(AudioInfo("pcm_s16be", "", 8_000, 1), **AAC)
    frames = [frame for first in range(0, 16_000, 1_600) for frame in transcoder.transcode(*packet_of(samples, first))]
    resampler = av.AudioResampler("fltp", "mono", 16_000, 1024)
    raw = av.AudioFrame.from_ndarray(samples.astype(np.int16).reshape(1, -1), "s16", "mono")
    raw.sample_rate = 8_000
    expected = np.concatenate([frame.to_ndarray()[0] for frame in resampler.resample(raw)])[8_000:24_000]
    heard = decoded(transcoder.info, frames)[1024:][8_000:24_000]
    error = (heard - expected) ** 2
    assert 10 * np.log10((expected**2).mean() / error.mean()) > least_db
    assert 10 * np.log10((heard**2).mean() / (expected**2).mean()) == pytest.approx(0, abs=0.3)
    # The level is that of the sound, and not of what the encoder got.
    assert transcoder.level == pytest.approx(128 + 20 * np.log10(np.sqrt((expected**2).mean())), abs=2)


def packet_of(samples: np.ndarray, first: int) -> tuple[bytes, int]:
    """1,600 samples from ``first`` on, and their time."""
    return samples[first : first + 1_600].tobytes(), START_90K + first * CLOCK_RATE // 8_000


@TARGETS
def test_frames_follow_each_other_without_a_gap_from_the_first_packets_time(target: dict[str, Any]) -> None:
    source, packets = tone("pcm_alaw", 8_000, 1, 1)
    transcoder = AudioTranscoder(source, **target)
    frames = [frame for packet in packets for frame in transcoder.transcode(*packet)]
    positions = np.array([frame.position for frame in frames])
    assert set(np.diff(positions)) == {target["frame_samples"]}
    start = START_90K * target["sample_rate_hz"] // CLOCK_RATE
    assert 0 <= start - positions[0] <= target["frame_samples"]
    assert len(frames) >= target["sample_rate_hz"] // target["frame_samples"] - 3


@TARGETS
def test_a_gap_in_the_packets_is_a_gap_in_the_positions(target: dict[str, Any]) -> None:
    source, packets = tone("pcm_alaw", 8_000, 1, 2)
    transcoder = AudioTranscoder(source, **target)
    half = len(packets) // 2
    frames = [frame for data, at in packets[:half] for frame in transcoder.transcode(data, at)]
    frames += [frame for data, at in packets[half:] for frame in transcoder.transcode(data, at + CLOCK_RATE)]
    steps = np.diff([frame.position for frame in frames])
    assert steps.max() == pytest.approx(target["sample_rate_hz"] + target["frame_samples"], abs=2)
    assert sorted(steps)[:-1] == pytest.approx([target["frame_samples"]] * (len(steps) - 1), abs=2)


def test_the_output_is_described_with_what_its_decoder_needs() -> None:
    source, _ = tone("pcm_alaw", 8_000, 1, 0.1)
    aac = AudioTranscoder(source, **AAC).info
    assert (aac.codec, aac.codec_string, aac.sample_rate_hz, aac.channels) == ("aac", "mp4a.40.2", 16_000, 1)
    assert aac.extradata[:2] == bytes.fromhex("1408")  # AudioSpecificConfig: AAC-LC, 16 kHz, one channel
    opus = AudioTranscoder(source, **OPUS).info
    assert (opus.codec, opus.sample_rate_hz, opus.channels) == ("opus", 48_000, 2)
    assert opus.extradata.startswith(b"OpusHead")


@TARGETS
def test_a_packet_that_cannot_be_decoded_raises_and_the_next_one_is_taken(target: dict[str, Any]) -> None:
    source, packets = tone("aac", 16_000, 1, 1)
    transcoder = AudioTranscoder(source, **target)
    for data in (b"", b"\xff" * 50):
        with pytest.raises((av.FFmpegError, ValueError)):
            transcoder.transcode(data, START_90K)
    assert [frame for packet in packets for frame in transcoder.transcode(*packet)]


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        (AudioInfo("no_such_codec", "", 8_000, 1), {}),
        (AudioInfo("h264", "", 8_000, 1), {}),
        (AudioInfo("pcm_alaw", "", 8_000, 1), {"codec": "mp3"}),
        (AudioInfo("pcm_alaw", "", 8_000, 1), {"channels": 6}),
        (AudioInfo("pcm_alaw", "", 8_000, 1), {"frame_samples": 1000}),
        (AudioInfo("pcm_alaw", "", 8_000, 1), {"sample_rate_hz": 12_345}),
    ],
)
@TARGETS
def test_what_is_not_supported_raises(target: dict[str, Any], source: AudioInfo, changes: dict[str, Any]) -> None:
    with pytest.raises((av.FFmpegError, ValueError)):
        AudioTranscoder(source, **{**target, **changes})


def test_an_encoder_alone_makes_frames_of_silence() -> None:
    encoder = AudioEncoder("aac", 44_100, 2, frame_samples=1024, bit_rate_bps=96_000)
    frames: list[EncodedAudioFrame] = []
    for number in range(10):
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), encoder.sample_format, encoder.layout)
        silence.sample_rate, silence.pts = encoder.sample_rate_hz, number * 1024
        frames += encoder.encode(silence)
    assert [frame.position for frame in frames] == [number * 1024 for number in range(-1, 8)]
    assert np.abs(decoded(encoder.info, frames)).max() < 1e-3


def test_packets_of_g711_that_follow_each_other_are_joined_and_others_are_not() -> None:
    transcoder = AudioTranscoder(AudioInfo("pcm_alaw", "pcma", 8_000, 1), **AAC)
    packets = [(b"a" * 160, 0), (b"b" * 160, 1_900), (b"c" * 160, 3_600), (b"d" * 160, 90_000), (b"e" * 160, 91_800)]
    assert list(transcoder.joined(packets)) == [
        (b"a" * 160 + b"b" * 160 + b"c" * 160, 0),
        (b"d" * 160 + b"e" * 160, 90_000),
    ]
    source, coded = tone("aac", 16_000, 1, 1)
    assert list(AudioTranscoder(source, **AAC).joined(coded)) == coded


def test_joined_packets_sound_as_single_ones_do() -> None:
    source, packets = tone("pcm_mulaw", 8_000, 1, 1)
    single, joined = AudioTranscoder(source, **AAC), AudioTranscoder(source, **AAC)
    expected = [frame for packet in packets for frame in single.transcode(*packet)]
    assert [frame for packet in joined.joined(packets) for frame in joined.transcode(*packet)] == expected
