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
def test_aac_without_a_config_is_left_out(config: str) -> None:
    assert audio_format(media("audio", "a=rtpmap:96 mpeg4-generic/16000/1", f"a=fmtp:96 config={config}")) is None


@given(st.binary(max_size=8))
def test_wild_configs_raise_nothing(config: bytes) -> None:
    found = parse_config(config)
    assert found is None or (found.sample_rate_hz > 0 and found.channels > 0)
