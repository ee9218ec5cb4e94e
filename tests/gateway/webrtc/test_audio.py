"""AudioSource: payloads of the negotiated codec at the camera's times, without gaps where they are transcoded."""

import numpy as np

from gateway.clock import CLOCK_RATE
from gateway.media import AudioInfo, MediaKind, Packet, StreamInfo
from gateway.webrtc.audio import OPUS_FRAME_SAMPLES, AudioSource
from gateway.webrtc.sdp.codecs import AudioCodec
from tests.gateway.webrtc.wire import INFO

PCMA = AudioInfo("pcm_alaw", "", 8_000, 1)
PCM_16_KHZ = AudioInfo("pcm_s16le", "", 16_000, 1)
SILENCE = bytes(2 * 320)
"""20 ms of it."""


def packet(audio: AudioInfo, at_90k: int, data: bytes) -> Packet:
    return Packet(MediaKind.AUDIO, data, at_90k, at_90k, 1800, True, at_90k, StreamInfo(INFO.video, audio), 1)


def timestamps(source: AudioSource, times_90k: list[int]) -> list[int]:
    """The Opus timestamps for packets of 20 ms at these times."""
    return [
        timestamp
        for at_90k in times_90k
        for _, timestamp in source.payloads(packet(PCM_16_KHZ, at_90k, SILENCE), at_90k)
    ]


def test_a_codec_that_webrtc_knows_passes_unchanged() -> None:
    source = AudioSource(AudioCodec.PCMA)
    assert source.payloads(packet(PCMA, 9000, b"x" * 160), 9000) == [(b"x" * 160, 800)]


def test_g711_that_no_packet_holds_is_split_into_20_ms() -> None:
    source = AudioSource(AudioCodec.PCMA)
    data = bytes(range(256)) * 8
    payloads = source.payloads(packet(PCMA, 9000, data), 9000)
    assert b"".join(payload for payload, _ in payloads) == data
    assert [timestamp for _, timestamp in payloads] == [800 + 160 * number for number in range(13)]
    assert max(len(payload) for payload, _ in payloads) == 160


def test_g711_of_60_ms_stays_whole() -> None:
    assert AudioSource(AudioCodec.PCMA).payloads(packet(PCMA, 0, b"x" * 480), 0) == [(b"x" * 480, 0)]


def test_a_codec_that_was_not_negotiated_and_is_not_opus_is_left_out() -> None:
    assert AudioSource(AudioCodec.PCMU).payloads(packet(PCMA, 0, b"x" * 160), 0) == []


def test_jitter_of_the_camera_makes_no_gaps_in_opus() -> None:
    jitter_90k = np.random.default_rng(1).integers(0, CLOCK_RATE // 20, 200)
    times = [number * 1800 + int(late) for number, late in enumerate(jitter_90k)]
    found = timestamps(AudioSource(AudioCodec.OPUS), times)
    assert len(found) > 190
    assert set(np.diff(found)) == {OPUS_FRAME_SAMPLES}


def test_after_a_second_without_audio_opus_continues_at_the_cameras_time() -> None:
    times = [number * 1800 + (CLOCK_RATE if number >= 50 else 0) for number in range(100)]
    steps = np.diff(timestamps(AudioSource(AudioCodec.OPUS), times))
    assert sorted(steps)[:-1] == [OPUS_FRAME_SAMPLES] * (len(steps) - 1)
    assert abs(int(steps.max()) - 48_000 - OPUS_FRAME_SAMPLES) <= 2


def test_a_broken_packet_is_counted_and_the_next_one_is_encoded() -> None:
    source = AudioSource(AudioCodec.OPUS)
    assert source.payloads(packet(PCM_16_KHZ, 0, b""), 0) == []
    assert source.faults == 1
    assert timestamps(source, [number * 1800 for number in range(1, 10)])
    assert source.faults == 1
