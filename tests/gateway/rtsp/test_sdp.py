"""Session descriptions as cameras write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rtsp.errors import RtspProtocolError
from gateway.rtsp.sdp import content_base, parse_sdp, resolve_control

BASE = "rtsp://192.0.2.7/stream1"

HIKVISION = b"""v=0\r
o=- 1109162014219182 1109162014219192 IN IP4 x.y.z.w\r
s=Media Presentation\r
e=NONE\r
b=AS:5100\r
t=0 0\r
a=control:rtsp://192.0.2.7/Streaming/Channels/101/\r
m=video 0 RTP/AVP 96\r
c=IN IP4 0.0.0.0\r
b=AS:5000\r
a=recvonly\r
a=x-dimensions:1920,1080\r
a=control:rtsp://192.0.2.7/Streaming/Channels/101/trackID=1\r
a=rtpmap:96 H264/90000\r
a=fmtp:96 profile-level-id=420029; packetization-mode=1; sprop-parameter-sets=Z00A,aO4=\r
a=framerate:25.0\r
m=audio 0 RTP/AVP 8\r
a=recvonly\r
a=control:rtsp://192.0.2.7/Streaming/Channels/101/trackID=2\r
m=audio 0 RTP/AVP 0\r
a=sendonly\r
a=control:rtsp://192.0.2.7/Streaming/Channels/101/trackID=4\r
m=application 0 RTP/AVP 107\r
a=recvonly\r
a=rtpmap:107 vnd.onvif.metadata/90000\r
a=control:trackID=3\r
"""


def test_a_camera_with_audio_a_back_channel_and_metadata() -> None:
    description = parse_sdp(HIKVISION, BASE)
    video, audio, back, metadata = description.media
    assert description.control == "rtsp://192.0.2.7/Streaming/Channels/101/"
    assert (video.kind, video.formats[0].encoding, video.frame_rate) == ("video", "H264", 25.0)
    assert video.formats[0].parameters["sprop-parameter-sets"] == "Z00A,aO4="
    assert video.control.endswith("/trackID=1")
    assert (audio.formats[0].encoding, audio.formats[0].clock_rate, audio.is_back_channel) == ("PCMA", 8000, False)
    assert back.is_back_channel
    assert metadata.formats[0].encoding == "VND.ONVIF.METADATA"
    assert metadata.control == f"{BASE}/trackID=3"


def test_where_every_section_is_sendonly_none_is_a_back_channel() -> None:
    body = b"m=video 0 RTP/AVP 26\na=sendonly\nm=audio 0 RTP/AVP 0\na=sendonly\n"
    assert [media.is_back_channel for media in parse_sdp(body, BASE).media] == [False, False]


@pytest.mark.parametrize(
    ("base", "control", "expected"),
    [
        ("rtsp://c/a", "trackID=1", "rtsp://c/a/trackID=1"),
        ("rtsp://c/a/", "trackID=1", "rtsp://c/a/trackID=1"),
        ("rtsp://c/a?x=1", "trackID=1", "rtsp://c/a?x=1/trackID=1"),
        ("rtsp://c/a", "*", "rtsp://c/a"),
        ("rtsp://c/a", "", "rtsp://c/a"),
        ("rtsp://c/a/b", "/other", "rtsp://c/other"),
        ("rtsp://c/a", "rtsp://user:secret@d/t", "rtsp://d/t"),
    ],
)
def test_control_addresses(base: str, control: str, expected: str) -> None:
    assert resolve_control(base, control) == expected


def test_the_base_is_the_first_header_that_is_an_address() -> None:
    assert content_base("rtsp://c/a", "rtsp://u:p@d/b/", None) == "rtsp://d/b/"
    assert content_base("rtsp://c/a", "", "rtsp://d/b") == "rtsp://d/b"
    assert content_base("rtsp://c/a", "stream1/", None) == "rtsp://c/a"


def test_a_line_that_cannot_be_read_spoils_nothing_but_itself() -> None:
    body = (
        b"garbage\nm=video\na=control:lost\nm=video 0 RTP/AVP 96 xx 300\na=rtpmap:96 H265/90000\na=rtpmap:x\n"
        b"a=fmtp:96 sprop-sps=QgEB;\xff\xfe\na=framerate:abc\na=control:t1\n"
    )
    (video,) = parse_sdp(body, BASE).media
    assert [found.encoding for found in video.formats] == ["H265"]
    assert video.control == f"{BASE}/t1"
    assert video.frame_rate is None


def test_zero_bytes_mean_nothing() -> None:
    body = b"v=0\0\r\nm=video 0 RTP/AVP 96\0\r\na=rtpmap:96 H264/90000\0\r\na=control:t1\0\r\n\0\0"
    (video,) = parse_sdp(body, BASE).media
    assert (video.control, [found.encoding for found in video.formats]) == (f"{BASE}/t1", ["H264"])


def test_without_media_there_is_no_description() -> None:
    with pytest.raises(RtspProtocolError, match="without media"):
        parse_sdp(b"v=0\r\ns=-\r\n", BASE)


LINES = st.lists(
    st.one_of(
        st.text(max_size=60),
        st.sampled_from(["m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/0", "a=rtpmap:96 H264/90000/0", "a=fmtp:96 ;;=;"]),
    ),
    max_size=80,
)


@given(LINES)
def test_wild_descriptions_raise_nothing_else(lines: list[str]) -> None:
    try:
        description = parse_sdp("\n".join(lines).encode(), BASE)
    except RtspProtocolError:
        return
    assert len(description.media) <= 32
    assert all(found.clock_rate > 0 and found.channels > 0 for media in description.media for found in media.formats)


@pytest.mark.parametrize(
    "attributes",
    [
        "a=rtpmap:96 H264",
        "a=rtpmap:96 h264/0",
        "a=rtpmap: 96 H264/90000",
        "a=fmtp:96 packetization-mode=1",
        "a=fmtp:96 sprop-parameter-sets=Z00A,aO4=",
    ],
)
def test_a_video_format_with_an_odd_or_missing_rtpmap(attributes: str) -> None:
    description = parse_sdp(f"v=0\r\nm=video 0 RTP/AVP 96\r\n{attributes}\r\n".encode(), BASE)
    (found,) = description.media[0].formats
    assert (found.encoding, found.clock_rate) == ("H264", 90_000)


def test_sound_without_rtpmap_is_not_guessed() -> None:
    assert not parse_sdp(b"m=audio 0 RTP/AVP 96\r\na=fmtp:96 packetization-mode=1\r\n", BASE).media[0].formats


FORMAT = b"a=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z00A\n"


@pytest.mark.parametrize(
    "body",
    [
        FORMAT + b"m=video 0 RTP/AVP 96\na=control:track1\nm=audio 0 RTP/AVP 97\na=rtpmap:97 OPUS/48000/2\n",
        b"m=video 0 RTP/AVP 96\na=control:track1\nm=audio 0 RTP/AVP 97\na=rtpmap:97 OPUS/48000/2\n" + FORMAT,
    ],
)
def test_formats_that_are_described_in_another_place(body: bytes) -> None:
    video, audio = parse_sdp(body, BASE).media
    assert [(each.encoding, each.parameters["sprop-parameter-sets"]) for each in video.formats] == [("H264", "Z00A")]
    assert [each.encoding for each in audio.formats] == ["OPUS"]


def test_formats_of_the_same_number_in_two_sections_are_two() -> None:
    section = "m={0} 0 RTP/AVP 96\na=rtpmap:96 {1}\na=fmtp:96 config={1}\n"
    body = "a=rtpmap:96 JPEG/90000\n" + section.format("video", "H264/90000") + section.format("audio", "OPUS/48000/2")
    video, audio = parse_sdp(body.encode(), BASE).media
    assert [(each.encoding, each.parameters) for each in video.formats] == [("H264", {"config": "H264/90000"})]
    assert [(each.encoding, each.parameters) for each in audio.formats] == [("OPUS", {"config": "OPUS/48000/2"})]
