"""A talker's packets in, the camera's out: every codec, times, and packets that are no sound."""

import itertools

import av
import numpy as np
import pytest

from gateway.codec.audio import AudioEncoder, AudioTranscoder
from gateway.media import AudioInfo
from gateway.rtsp.sdp import parse_sdp
from gateway.talk.formats import TALK_CODECS, back_channel_formats, choose
from gateway.talk.sound import PAYLOAD_MAX_BYTES, RTP_CLOCK_HZ, TalkSound, Voice, is_silence, opus_ticks
from tests.support.talk import TONE_HZ, pitch

RATE_HZ = 48_000

SECTIONS = {
    "PCMU": ("0", ""),
    "PCMA": ("8", ""),
    "AAC": ("97", "rtpmap:97 MPEG4-GENERIC/16000/1\r\na=fmtp:97 mode=AAC-hbr;config=1408;sizelength=13"),
    "G726": ("99", "rtpmap:99 G726-32/8000"),
    "L16": ("96", "rtpmap:96 L16/16000"),
    "G722": ("9", ""),
    "Opus": ("98", "rtpmap:98 opus/48000/2"),
}


def sound(camera: str, talker: str) -> TalkSound:
    types, line = SECTIONS[camera]
    more = f"a={line}\r\n" if line else ""
    text = f"v=0\r\nm=video 0 RTP/AVP 96\r\na=recvonly\r\nm=audio 0 RTP/AVP {types}\r\n{more}a=sendonly\r\n"
    choice = choose(back_channel_formats(parse_sdp(text.encode(), "rtsp://camera/")), {talker})
    assert choice is not None
    assert choice.format.name == camera
    return TalkSound(choice)


def tone(talker: str, count: int) -> list[tuple[bytes, int]]:
    """RTP payloads and timestamps of a talker, 20 ms each."""
    info, clock = TALK_CODECS[talker], RTP_CLOCK_HZ[talker]
    encoder = AudioEncoder(
        info.codec, info.sample_rate_hz, 1, frame_samples=info.sample_rate_hz // 50, bit_rate_bps=64_000
    )
    times = np.arange(count * RATE_HZ // 50) / RATE_HZ
    samples = (0.4 * 32767 * np.sin(2 * np.pi * TONE_HZ * times)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate, frame.pts = RATE_HZ, 0
    resampler = av.AudioResampler("s16", "mono", info.sample_rate_hz, info.sample_rate_hz // 50)
    coded = [each for part in resampler.resample(frame) for each in encoder.encode(part)]
    return [(each.data, number * clock // 50) for number, each in enumerate(coded)]


def played(voices: list[Voice], info: AudioInfo) -> np.ndarray:
    """What a camera plays."""
    decoder = AudioTranscoder(info, "pcm_s16be", 16_000, 1, frame_samples=320, bit_rate_bps=0)
    heard = b"".join(
        each.data
        for voice in voices
        for each in decoder.transcode(voice.payload[4:] if info.codec == "aac" else voice.payload, voice.at)
    )
    return np.frombuffer(heard, dtype=">i2").astype(np.float64) / 32768


@pytest.mark.parametrize("talker", list(TALK_CODECS))
@pytest.mark.parametrize("camera", list(SECTIONS))
def test_every_camera_hears_every_talker(camera: str, talker: str) -> None:
    talk = sound(camera, talker)
    voices = [voice for payload, at in tone(talker, 60) for voice in talk.take(payload, at)]
    assert talk.faults == 0
    assert all(0 < len(voice.payload) <= PAYLOAD_MAX_BYTES for voice in voices)
    for voice, following in itertools.pairwise(voices):
        assert abs(following.at - voice.at - voice.duration) <= 1, "one follows the other"
    heard = played(voices, talk.choice.format.info)
    assert len(heard) > 0.6 * 16_000
    assert pitch(heard[1600:]) == pytest.approx(TONE_HZ, rel=0.05)


def test_what_the_camera_takes_is_passed_on_as_it_is() -> None:
    talk = sound("PCMU", "PCMU")
    assert talk.take(b"abcd" * 40, 1000) == [Voice(1000, 160, b"abcd" * 40)]
    assert talk.take(b"abcd" * 40, 9000) == [Voice(9000, 160, b"abcd" * 40)], "a pause is a step in the times"
    assert talk.take(b"x" * 160, 2**32 - 80) == [Voice(-80, 160, b"x" * 160)]


def test_what_cannot_be_decoded_is_left_out() -> None:
    talk = sound("AAC", "OPUS")
    good = tone("OPUS", 30)
    assert not talk.take(b"", 0)
    assert not talk.take(b"\xff" * 7, 0)
    assert not talk.take(bytes(PAYLOAD_MAX_BYTES + 1), 0)
    assert talk.faults == 3
    assert [voice for payload, at in good for voice in talk.take(payload, at)]


def test_the_duration_of_opus() -> None:
    (frame, _), *_ = tone("OPUS", 3)
    assert opus_ticks(frame) == 960
    assert opus_ticks(bytes([3 << 3])) == 2880
    assert opus_ticks(bytes([(12 << 3) | 1])) == 960
    assert opus_ticks(bytes([(16 << 3) | 3, 4])) == 480
    assert opus_ticks(bytes([3])) == 0


def test_opus_of_no_duration_or_of_too_long_a_one_is_left_out() -> None:
    opus = sound("Opus", "OPUS")
    assert not opus.take(bytes([3, 0]), 0)
    assert not opus.take(bytes([(3 << 3) | 3, 3]) + bytes(30), 960)
    assert (len(opus.take(bytes([3 << 3]) + bytes(30), 1920)), opus.faults) == (1, 2)


def test_a_microphone_that_is_muted_says_nothing() -> None:
    assert is_silence("PCMU", b"\xff\x7f" * 80)
    assert is_silence("PCMA", b"\xd5" * 160)
    assert is_silence("OPUS", b"\xf8\xff\xfe")
    assert not is_silence("PCMU", b"\xff" * 159 + b"\x12")
    assert not any(is_silence(name, payload) for name in TALK_CODECS for payload, _ in tone(name, 5)[2:])
