"""Sound as RTP payloads: read back by the depacketizers, it is what it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media import AudioInfo
from gateway.rtsp.formats import audio_format
from gateway.rtsp.packetize.audio import AudioPayloadFormat, audio_payload_format
from gateway.rtsp.sdp import parse_sdp
from tests.support.camera_media import aac_frames

CONFIG = bytes.fromhex("1408")
AAC = AudioInfo("aac", "mp4a.40.2", 16_000, 1, CONFIG)

SAMPLES = {
    "pcm_alaw": (AudioInfo("pcm_alaw", "alaw", 8000, 1), 8, "PCMA/8000"),
    "pcm_mulaw": (AudioInfo("pcm_mulaw", "ulaw", 8000, 1), 0, "PCMU/8000"),
    "wide": (AudioInfo("pcm_alaw", "alaw", 16_000, 2), 97, "PCMA/16000/2"),
    "g722": (AudioInfo("adpcm_g722", "", 16_000, 1), 9, "G722/8000"),
    "g726": (AudioInfo("adpcm_g726le", "", 8000, 1, b"\x03"), 97, "G726-24/8000"),
    "aal2": (AudioInfo("adpcm_g726", "", 8000, 1, b"\x04"), 97, "AAL2-G726-32/8000"),
    "l16": (AudioInfo("pcm_s16be", "", 44_100, 2), 97, "L16/44100/2"),
}


def read_back(audio: AudioInfo, frames: list[bytes], max_bytes: int = 1400) -> tuple[AudioInfo, list[bytes]]:
    """Describe and packetize frames, and read both with the receiving side."""
    sent = audio_payload_format(audio)
    assert sent is not None
    fmtp = f"a=fmtp:{sent.payload_type} {sent.fmtp}\r\n" if sent.fmtp else ""
    section = f"m=audio 0 RTP/AVP {sent.payload_type}\r\na=rtpmap:{sent.payload_type} {sent.rtpmap}\r\n{fmtp}"
    known = audio_format(parse_sdp(f"v=0\r\n{section}".encode(), "rtsp://camera/").media[0])
    assert known is not None
    assert (known.payload_type, known.clock_rate) == (sent.payload_type, sent.clock_rate)
    depacketizer, found, time = known.make(), [], 0
    for frame in frames:
        payloads = sent.payloads(frame, max_bytes)
        for number, (payload, at) in enumerate(payloads):
            assert len(payload) <= max_bytes
            marker = sent.has_markers and number == len(payloads) - 1
            found += depacketizer.push(memoryview(payload), time + at, marker=marker, lost=0)
        time += 1024
    return known.info, [frame.data for frame in found]


def test_aac_is_read_back_with_its_configuration() -> None:
    frames, config = aac_frames(5)
    info, found = read_back(AudioInfo("aac", "mp4a.40.2", 16_000, 1, bytes.fromhex(config)), list(frames))
    assert (info.codec, info.sample_rate_hz, info.channels, info.extradata.hex()) == ("aac", 16_000, 1, config)
    assert found == list(frames)


def test_an_aac_frame_larger_than_a_packet_is_fragmented() -> None:
    assert read_back(AAC, [bytes(range(250)) * 8])[1] == [bytes(range(250)) * 8]


@given(frames=st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=4), max_bytes=st.integers(60, 1500))
def test_any_aac_frame_is_read_back(frames: list[bytes], max_bytes: int) -> None:
    assert read_back(AAC, frames, max_bytes)[1] == frames


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_split_between_samples_and_at_their_times(name: str) -> None:
    audio, payload_type, rtpmap = SAMPLES[name]
    sent = audio_payload_format(audio)
    assert sent is not None
    assert (sent.payload_type, sent.rtpmap) == (payload_type, rtpmap)
    data = bytes(range(256)) * 30
    payloads = sent.payloads(data, 1400)
    assert b"".join(payload for payload, _ in payloads) == data
    assert len(payloads) > 1
    assert payloads[0][1] == 0
    bits_a_s = {"g722": 64_000, "g726": 24_000, "aal2": 32_000, "l16": 44_100 * 32, "wide": 16_000 * 16}.get(
        name, 64_000
    )
    size = len(payloads[0][0])
    assert payloads[1][1] == round(size * 8 / bits_a_s * sent.clock_rate)
    assert size * 8 % {"g726": 24, "l16": 32}.get(name, 8) == 0, "a whole number of samples"
    assert b"".join(read_back(audio, [data])[1]) == data


def test_opus_is_always_48_khz_and_two_channels_to_rtp() -> None:
    sent = audio_payload_format(AudioInfo("opus", "opus", 48_000, 1))
    assert isinstance(sent, AudioPayloadFormat)
    assert (sent.rtpmap, sent.fmtp) == ("opus/48000/2", "sprop-stereo=0")
    assert read_back(AudioInfo("opus", "opus", 48_000, 1), [b"abc", b"de"])[1] == [b"abc", b"de"]


@pytest.mark.parametrize("audio", [AudioInfo("mp2", "mp3", 48_000, 2), AudioInfo("aac", "", 48_000, 2)])
def test_sound_without_a_payload_format_has_no_track(audio: AudioInfo) -> None:
    assert audio_payload_format(audio) is None


@pytest.mark.parametrize("audio", [AAC, *(audio for audio, _, _ in SAMPLES.values())], ids=lambda audio: audio.codec)
def test_a_camera_that_comes_back_with_the_same_sound_has_the_same_format(audio: AudioInfo) -> None:
    assert audio_payload_format(audio) == audio_payload_format(audio)
