"""Which tracks are taken, and what a session description says of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec.aac import parse_config
from gateway.rtsp.formats import audio_format, video_format
from gateway.rtsp.sdp import Media, parse_sdp


def media(kind: str, *lines: str, types: str = "96") -> Media:
    body = "\n".join([f"m={kind} 0 RTP/AVP {types}", *lines])
    return parse_sdp(body.encode(), "rtsp://c/").media[0]


def test_parameter_sets_of_h264_with_what_cameras_put_around_them() -> None:
    found = video_format(
        media("video", "a=rtpmap:96 H264/90000", "a=fmtp:96 sprop-parameter-sets=AAAAAWdCAB8, aM48gA==,,%%%")
    )
    assert found is not None
    assert found.codec == "h264"
    assert found.parameter_sets == (b"\x67\x42\x00\x1f", b"\x68\xce\x3c\x80")


def test_parameter_sets_of_h265() -> None:
    found = video_format(
        media("video", "a=rtpmap:96 H265/90000", "a=fmtp:96 sprop-vps=QAEM;sprop-sps=QgEB; sprop-pps=RAHA")
    )
    assert found is not None
    assert found.codec == "hevc"
    assert len(found.parameter_sets) == 3


def test_the_first_format_that_is_known_is_taken() -> None:
    found = video_format(media("video", "a=rtpmap:98 VP8/90000", "a=rtpmap:99 H264/90000", types="98 99"))
    assert found is not None
    assert found.payload_type == 99
    assert video_format(media("video", "a=rtpmap:98 VP8/90000", types="98")) is None


@pytest.mark.parametrize(
    ("lines", "types", "codec", "rate_hz", "channels"),
    [
        ([], "0", "pcm_mulaw", 8000, 1),
        ([], "8", "pcm_alaw", 8000, 1),
        (["a=rtpmap:97 PCMA/16000/2"], "97", "pcm_alaw", 16_000, 2),
        ([], "9", "adpcm_g722", 16_000, 1),
        (["a=rtpmap:97 G726-32/8000"], "97", "adpcm_g726le", 8000, 1),
        (["a=rtpmap:97 AAL2-G726-32/8000"], "97", "adpcm_g726", 8000, 1),
        (["a=rtpmap:97 opus/48000/2"], "97", "opus", 48_000, 2),
        (["a=rtpmap:97 mpeg4-generic/16000/1", "a=fmtp:97 mode=AAC-hbr;config=1408"], "97", "aac", 16_000, 1),
        # The RTP clock is not the sample rate of the config.
        (["a=rtpmap:97 mpeg4-generic/90000/1", "a=fmtp:97 config=1190"], "97", "aac", 48_000, 2),
        (["a=rtpmap:97 MP4A-LATM/48000/2", "a=fmtp:97 cpresent=0;config=400023203fc0"], "97", "aac", 48_000, 2),
        (["a=rtpmap:97 MP4A-LATM/48000/2", "a=fmtp:97 cpresent=0;config=410023203fc0"], "97", "aac", 48_000, 2),
    ],
)
def test_audio_formats(lines: list[str], types: str, codec: str, rate_hz: int, channels: int) -> None:
    found = audio_format(media("audio", *lines, types=types))
    assert found is not None
    assert (found.info.codec, found.info.sample_rate_hz, found.info.channels) == (codec, rate_hz, channels)


def test_frames_of_aac_last_as_long_as_the_rtp_clock_says() -> None:
    found = audio_format(media("audio", "a=rtpmap:96 mpeg4-generic/90000/1", "a=fmtp:96 config=1408"))
    assert found is not None
    (frame,) = found.make().push(memoryview(b"\x00\x10\x00\x20abcd"), 0, marker=True, lost=0)
    assert frame.duration == 1024 * 90_000 // 16_000


@pytest.mark.parametrize("config", ["", "zz", "14", "ffff"])
def test_aac_without_a_config_is_what_rtpmap_says(config: str) -> None:
    found = audio_format(media("audio", "a=rtpmap:96 mpeg4-generic/16000/1", f"a=fmtp:96 config={config}"))
    assert found is not None
    assert (found.info.sample_rate_hz, found.info.channels, found.info.extradata) == (16_000, 1, b"\x14\x08")
    assert not found.is_certain


def test_latm_with_its_config_in_band_is_a_guess() -> None:
    found = audio_format(media("audio", "a=rtpmap:96 MP4A-LATM/90000", "a=fmtp:96 cpresent=1"))
    assert found is not None
    assert (found.info.codec, found.is_certain) == ("aac", False)


def test_all_formats_of_a_section_that_are_known() -> None:
    found = audio_format(media("audio", "a=rtpmap:97 G726-32/8000", "a=rtpmap:98 X/8000", types="0 97 98"))
    assert found is not None
    assert found.payload_types == (0, 97)
    assert [each.payload_type for each in found.others] == [97, 8]


@pytest.mark.parametrize(
    ("rtpmap", "bytes_a_second", "frame_bytes"),
    [
        ("G722/8000", 8000, 800),
        ("G722/16000", 8000, 800),
        ("G726-24/8000", 3000, 300),
        ("G726-40/8000", 5000, 500),
        ("L16/44100/2", 176_400, 17_640),
        ("PCMU/8000/2", 16_000, 1600),
    ],
)
def test_frames_of_samples_are_a_tenth_of_a_second_at_most(rtpmap: str, bytes_a_second: int, frame_bytes: int) -> None:
    found = audio_format(media("audio", f"a=rtpmap:97 {rtpmap}", types="97"))
    assert found is not None
    frames = found.make().push(memoryview(bytes(bytes_a_second)), 0, marker=True, lost=0)
    assert {len(frame.data) for frame in frames} == {frame_bytes}
    assert sum(frame.duration for frame in frames) == found.clock_rate


@given(st.binary(max_size=8))
def test_wild_configs_raise_nothing(config: bytes) -> None:
    found = parse_config(config)
    assert found is None or (found.sample_rate_hz > 0 and found.channels > 0)
