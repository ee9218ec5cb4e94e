"""What a camera's back channel takes, and what a talker is asked to send."""

import pytest

from gateway.rtsp.sdp import parse_sdp
from gateway.talk.formats import TALK_CODECS, back_channel_formats, choose

BROWSER = frozenset(TALK_CODECS)

HEAD = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:v\r\na=recvonly\r\n"
SOUND = "m=audio 0 RTP/AVP 8\r\na=control:a\r\na=recvonly\r\n"


def section(types: str, *lines: str) -> str:
    rows = "".join(f"a={line}\r\n" for line in lines)
    return f"m=audio 0 RTP/AVP {types}\r\n{rows}a=control:back\r\na=sendonly\r\n"


AAC = ("rtpmap:97 MPEG4-GENERIC/16000/1", "fmtp:97 mode=AAC-hbr;config=1408;sizelength=13")


@pytest.mark.parametrize(
    ("back", "offered", "expected"),
    [
        (section("0"), BROWSER, ("PCMU", "PCMU", True)),
        (section("8 0"), BROWSER, ("PCMA", "PCMA", True)),
        (section("97 8", *AAC), BROWSER, ("PCMA", "PCMA", True)),
        (section("97", *AAC), BROWSER, ("OPUS", "AAC", False)),
        (section("0"), {"OPUS"}, ("OPUS", "PCMU", False)),
        (section("98", "rtpmap:98 opus/48000/2"), BROWSER, ("OPUS", "Opus", True)),
        (section("98", "rtpmap:98 PCMU/16000"), BROWSER, ("OPUS", "PCMU", False)),
        (section("9"), BROWSER, ("G722", "G722", True)),
        (section("99", "rtpmap:99 G726-32/8000"), {"PCMA"}, ("PCMA", "G726", False)),
        (section("0"), {"SPEEX"}, None),
        (section("97", AAC[0], "fmtp:97 mode=AAC-lbr;config=1408;sizelength=6"), BROWSER, None),
        (section("97", AAC[0], "fmtp:97 config=2B8A08;sizelength=13"), BROWSER, None),
        (section("18"), BROWSER, None),
    ],
)
def test_what_is_sent_and_what_the_camera_gets(
    back: str, offered: frozenset[str], expected: tuple[str, str, bool] | None
) -> None:
    formats = back_channel_formats(parse_sdp((HEAD + SOUND + back).encode(), "rtsp://camera/"))
    found = choose(formats, offered)
    assert (found and (found.codec, found.format.name, found.is_passed_through)) == expected
    if found is not None:
        assert found.format.media.control == "rtsp://camera/back"


def test_the_sound_of_a_camera_is_no_back_channel() -> None:
    assert not back_channel_formats(parse_sdp((HEAD + SOUND).encode(), "rtsp://camera/"))


def test_each_format_of_each_back_channel_counts() -> None:
    two = section("97", *AAC) + section("0")
    formats = back_channel_formats(parse_sdp((HEAD + two).encode(), "rtsp://camera/"))
    assert [each.name for each in formats] == ["AAC", "PCMU"]
