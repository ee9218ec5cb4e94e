"""Audio frames lie end to end and in sync with the video, whatever the camera sends or does not send."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import av
import numpy as np
import pytest

from gateway.clock import CLOCK_RATE, seconds_90k
from gateway.codec.audio import AudioTranscoder, EncodedAudioFrame
from gateway.media import AudioInfo, Packet
from hls.mp4.audio import LAG_MAX_S, AudioTrack, fmp4_audio
from hls.mp4.fragments import FragmentMuxer, Sample
from tests.support.sources.packets import AAC, PCMA, PCMU, PacketSource, Shape


def sound(audio: AudioInfo, seconds: float) -> list[Packet]:
    return list(PacketSource(Shape(audio=audio)).sound(seconds_90k(seconds)))


def end_to_end(samples: list[Sample], first: int = 0) -> bool:
    at = first
    for sample in samples:
        if sample.dts != at:
            return False
        at += sample.duration
    return True


def heard(track: AudioTrack, samples: list[Sample]) -> np.ndarray:
    """Loudness of each 64 ms, decoded."""
    muxer = FragmentMuxer(replace(Shape().info, audio=track.info))
    with av.open(BytesIO(muxer.init + muxer.fragment((), samples, 1)), "r") as container:
        pieces = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
    wave = np.concatenate(pieces)
    size = track.info.sample_rate_hz * 64 // 1000
    return np.sqrt((wave[: len(wave) // size * size].reshape(-1, size) ** 2).mean(axis=1))


def test_aac_passes_untouched() -> None:
    track = AudioTrack(AAC, 0, 0)
    packets = sound(AAC, 2)
    for packet in packets:
        track.feed(packet)
    samples = track.take(seconds_90k(2))
    assert [sample.data for sample in samples] == [packet.data for packet in packets]
    assert end_to_end(samples)
    assert track.info is AAC


@pytest.mark.parametrize("audio", [PCMA, PCMU])
def test_g711_becomes_aac_of_the_same_sound_at_the_same_time(audio: AudioInfo) -> None:
    start_90k, offset_90k = 90_000, 90_000
    track = AudioTrack(audio, start_90k, offset_90k)
    for packet in sound(audio, 3):
        # Silence, but for the second second.
        if not 1 <= packet.pts_90k / CLOCK_RATE < 2:
            packet = replace(packet, data=b"\xd5" * 160 if audio is PCMA else b"\xff" * 160)
        track.feed(packet)
    samples = track.take(start_90k + seconds_90k(2.8))
    assert track.info.codec == "aac"
    assert end_to_end(samples, first=16_000)
    loud = np.flatnonzero(heard(track, samples) > 0.1) * 0.064
    assert abs(loud[0] - 1) < 0.13
    assert abs(loud[-1] + 0.064 - 2) < 0.13
    assert track.counters.decode_errors == 0


def test_a_codec_that_ffmpeg_does_not_decode_is_left_out() -> None:
    assert fmp4_audio(None) is None
    assert fmp4_audio(AudioInfo("no_such_codec", "", 8000, 1)) is None


def test_a_gap_is_filled_with_silence() -> None:
    track = AudioTrack(AAC, 0, 0)
    for packet in sound(AAC, 3):
        if not 1 <= packet.pts_90k / CLOCK_RATE < 2:
            track.feed(packet)
    samples = track.take(seconds_90k(3))
    assert end_to_end(samples)
    loudness = heard(track, samples)
    assert loudness[2:14].min() > 0.1
    assert loudness[18:30].max() < 0.01
    assert loudness[34:44].min() > 0.1


def test_a_track_without_packets_never_ends_before_the_video() -> None:
    track = AudioTrack(PCMA, 0, 0)
    for packet in sound(PCMA, 1):
        track.feed(packet)
    taken: list[Sample] = []
    for tenth in range(1, 50):
        taken += track.take(seconds_90k(tenth / 10))
        assert tenth / 10 - (taken[-1].dts + 1024) / 16_000 <= LAG_MAX_S + 0.064
    assert end_to_end(taken)


def test_late_audio_goes_into_the_next_part_and_is_not_lost() -> None:
    track = AudioTrack(AAC, 0, 0)
    packets = sound(AAC, 4)
    taken: list[Sample] = []
    for tenth in range(1, 40):
        until_90k = seconds_90k(tenth / 10)
        while packets and packets[0].pts_90k < until_90k - seconds_90k(0.3):
            track.feed(packets.pop(0))
        taken += track.take(until_90k)
    assert end_to_end(taken)
    assert track.counters.frames_dropped == 0
    assert heard(track, taken)[2:].min() > 0.1


def delayed(audio: AudioInfo, seconds: int, late_s: Callable[[float], float]) -> tuple[AudioTrack, list[Sample]]:
    """Sound that comes ``late_s`` after its time, and is taken every tenth of a second."""
    track = AudioTrack(audio, 0, 0)
    packets = sound(audio, seconds)
    taken: list[Sample] = []
    for tenth in range(1, seconds * 10):
        until_90k = seconds_90k(tenth / 10)
        while packets and packets[0].pts_90k < until_90k - seconds_90k(late_s(tenth / 10)):
            track.feed(packets.pop(0))
        taken += track.take(until_90k)
    assert end_to_end(taken)
    return track, taken


def test_audio_later_than_the_limit_for_once_is_replaced_by_silence_until_it_is_in_time() -> None:
    track, taken = delayed(AAC, 5, lambda at_s: 1.0 if 1 <= at_s < 2 else 0.0)
    assert track.counters.frames_dropped > 0
    loudness = heard(track, taken)
    assert loudness[2:14].min() > 0.1
    assert loudness[18:29].max() < 0.01
    assert loudness[33:].min() > 0.1


def test_sound_that_nobody_hears_is_silence_and_is_not_transcoded(monkeypatch: pytest.MonkeyPatch) -> None:
    is_heard = False
    transcoded_90k: list[int] = []
    transcode = AudioTranscoder.transcode

    def noted(self: AudioTranscoder, data: bytes, pts_90k: int) -> list[EncodedAudioFrame]:
        transcoded_90k.append(pts_90k)
        return transcode(self, data, pts_90k)

    monkeypatch.setattr(AudioTranscoder, "transcode", noted)
    track = AudioTrack(PCMA, 0, 0, is_heard=lambda: is_heard)
    packets = sound(PCMA, 6)
    taken: list[Sample] = []
    for fifth in range(1, 30):
        is_heard = 10 <= fifth < 20
        until_90k = seconds_90k(fifth / 5)
        while packets and packets[0].pts_90k < until_90k:
            track.feed(packets.pop(0))
        taken += track.take(until_90k)
    assert end_to_end(taken)
    assert {1.8 * CLOCK_RATE <= at_90k < 3.8 * CLOCK_RATE for at_90k in transcoded_90k} == {True}
    loudness = heard(track, taken)
    assert loudness[:26].max() < 0.01
    assert loudness[35:54].min() > 0.1
    assert loudness[66:].max() < 0.01


def test_jitter_of_time_stamps_shifts_no_frame() -> None:
    track = AudioTrack(AAC, 0, 0)
    for number, packet in enumerate(sound(AAC, 2)):
        track.feed(replace(packet, pts_90k=packet.pts_90k + (number * 977) % 3600))
    assert end_to_end(samples := track.take(seconds_90k(2)))
    assert track.counters.frames_dropped == 0
    assert len(samples) > 90


def test_broken_packets_are_counted_and_leave_no_gap() -> None:
    opus = AudioInfo("opus", "opus", 48_000, 2)
    track = AudioTrack(opus, 0, 0)
    for packet in sound(PCMA, 1):
        track.feed(replace(packet, data=b""))
        track.feed(replace(packet, data=b"\xff" * 3))
    assert track.counters.decode_errors >= 50
    assert end_to_end(track.take(seconds_90k(1)))
