"""Descriptions of our streams, read by our own client."""

import pytest

from gateway.codec.annexb import nal_units
from gateway.media import AudioInfo, StreamInfo, VideoInfo
from gateway.rtsp.description import control_of, describe
from gateway.rtsp.formats import audio_format, video_format
from gateway.rtsp.sdp import parse_sdp
from tests.support.camera_media import coded

URL = "rtsp://127.0.0.1:8554/door/"


def sets_of(*, hevc: bool) -> bytes:
    kinds = {32, 33, 34} if hevc else {7, 8}
    units = [unit for unit in coded(1, hevc=hevc)[0] if (unit[0] >> 1 & 0x3F if hevc else unit[0] & 0x1F) in kinds]
    return b"".join(b"\0\0\0\1" + unit for unit in units)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_a_client_finds_the_codec_its_parameter_sets_and_the_controls(codec: str) -> None:
    sets = sets_of(hevc=codec == "hevc")
    video = VideoInfo(codec, "", 160, 128, sets)
    described = describe(StreamInfo(video, AudioInfo("pcm_alaw", "alaw", 8000, 1)), "door")
    assert described is not None
    assert described.tracks == 2
    session = parse_sdp(described.text.encode(), URL)
    first, second = session.media
    found, sound = video_format(first), audio_format(second)
    assert found is not None
    assert sound is not None
    assert (found.codec, found.clock_rate, found.parameter_sets) == (codec, 90_000, tuple(nal_units(sets)))
    assert (sound.info.codec, sound.payload_type) == ("pcm_alaw", 8)
    assert [each.control for each in session.media] == [URL + control_of(0), URL + control_of(1)]


def test_sound_without_a_payload_format_has_no_section() -> None:
    video = VideoInfo("h264", "", 160, 128, sets_of(hevc=False))
    described = describe(StreamInfo(video, AudioInfo("mp2", "mp3", 48_000, 2)), "door")
    assert described is not None
    assert (described.tracks, described.text.count("m=")) == (1, 1)


def test_video_without_a_payload_format_has_no_description() -> None:
    assert describe(StreamInfo(VideoInfo("mjpeg", "", 160, 128, b"")), "door") is None
