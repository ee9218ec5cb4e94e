"""Which H.265 of browsers' offers fits a camera, and what is answered."""

from dataclasses import replace

import pytest

from gateway.errors import NegotiationError
from gateway.media import StreamInfo
from gateway.webrtc.sdp.answer import write_answer
from gateway.webrtc.sdp.counter_offer import write_counter_offer
from gateway.webrtc.sdp.h265 import stream_profile
from gateway.webrtc.sdp.negotiation import NegotiatedSession, negotiate
from gateway.webrtc.sdp.offer import parse_offer
from tests.gateway.webrtc.sdp.test_answer import FINGERPRINT, LOCAL
from tests.gateway.webrtc.wire import INFO

MAIN_1080P = "hvc1.1.6.L120.B0"
MAIN_4K = "hvc1.1.6.L153.B0"
MAIN_10 = "hvc1.2.4.L120.B0"
HIGH_TIER = "hvc1.1.6.H120.B0"

H264 = """a=rtpmap:96 H264/90000
a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"""

FEEDBACK = """a=rtcp-fb:{0} goog-remb
a=rtcp-fb:{0} transport-cc
a=rtcp-fb:{0} ccm fir
a=rtcp-fb:{0} nack
a=rtcp-fb:{0} nack pli"""

CHROME = f"""a=rtpmap:49 H265/90000
{FEEDBACK.format(49)}
a=fmtp:49 level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST
a=rtpmap:50 rtx/90000
a=fmtp:50 apt=49
a=rtpmap:51 H265/90000
{FEEDBACK.format(51)}
a=fmtp:51 level-id=180;profile-id=2;tier-flag=0;tx-mode=SRST
a=rtpmap:52 rtx/90000
a=fmtp:52 apt=51"""
"""Chrome 144 on macOS."""

CHROME_WEAK = """a=rtpmap:49 H265/90000
a=fmtp:49 level-id=120;profile-id=1;tier-flag=0;tx-mode=SRST"""
"""Chrome whose hardware decodes 1080p and no more."""

SAFARI = f"""a=rtpmap:104 H265/90000
{FEEDBACK.format(104)}
a=fmtp:104 level-id=93;tx-mode=SRST
a=rtpmap:105 rtx/90000
a=fmtp:105 apt=104"""
"""Safari 18."""

SAFARI_17 = f"""a=rtpmap:104 H265/90000
{FEEDBACK.format(104)}"""
"""Safari 17 says nothing about the format; GStreamer does not either."""


def offer(*formats: str) -> str:
    lines = "\n".join(formats)
    numbers = [line.split(":")[1].split(" ")[0] for line in lines.splitlines() if line.startswith("a=rtpmap")]
    return f"""v=0
o=- 1 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuvwx
a=fingerprint:sha-256 {FINGERPRINT}
a=setup:actpass
m=video 9 UDP/TLS/RTP/SAVPF {" ".join(numbers)}
c=IN IP4 0.0.0.0
a=mid:0
a=recvonly
a=rtcp-mux
{lines}
"""


def sends(codec_string: str) -> StreamInfo:
    return StreamInfo(replace(INFO.video, codec="hevc", codec_string=codec_string))


def meet(text: str, codec_string: str) -> NegotiatedSession:
    return negotiate(parse_offer(text), sends(codec_string), "door")


@pytest.mark.parametrize(
    ("formats", "codec_string", "payload_type", "parameters"),
    [
        (CHROME, MAIN_1080P, 49, "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST"),
        (CHROME, MAIN_4K, 49, "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST"),
        (CHROME, MAIN_10, 51, "level-id=180;profile-id=2;tier-flag=0;tx-mode=SRST"),
        (CHROME, "hvc1.1.6.L180.B0", 49, "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST"),
        (CHROME_WEAK, MAIN_1080P, 49, "level-id=120;profile-id=1;tier-flag=0;tx-mode=SRST"),
        # 3.1 is what a browser says that does not know better.
        (SAFARI, MAIN_4K, 104, "level-id=93;tx-mode=SRST"),
        (SAFARI, "hvc1.1.6.L90.B0", 104, "level-id=93;tx-mode=SRST"),
        (SAFARI_17, MAIN_4K, 104, ""),
        (SAFARI_17, "hvc1", 104, ""),
    ],
)
def test_what_clients_offer_is_answered_with_the_same_parameters(
    formats: str, codec_string: str, payload_type: int, parameters: str
) -> None:
    video = meet(offer(H264, formats), codec_string).video
    assert (video.payload_type, video.format_parameters) == (payload_type, parameters)
    assert video.rtpmap == f"{payload_type} H265/90000"


def test_feedback_and_retransmissions_are_those_of_h264() -> None:
    negotiated = meet(offer(H264, CHROME), MAIN_1080P)
    assert set(negotiated.video.feedback) == {"nack", "nack pli", "ccm fir", "goog-remb"}
    lines = write_answer(negotiated, LOCAL).splitlines()
    assert {"a=rtpmap:49 H265/90000", "a=rtpmap:50 rtx/90000", "a=fmtp:50 apt=49"} <= set(lines)
    assert "a=ssrc-group:FID 1 2" in lines


def test_a_stream_that_conforms_to_another_profile_is_sent_as_that() -> None:
    only_main_10 = CHROME.replace("profile-id=1", "profile-id=2")
    assert meet(offer(only_main_10), MAIN_1080P).video.payload_type == 49
    assert meet(offer(SAFARI), "hvc1.3.E.L90.B0").video.payload_type == 104


@pytest.mark.parametrize(
    ("formats", "codec_string"),
    [
        (SAFARI, MAIN_10),
        (CHROME, HIGH_TIER),
        (CHROME_WEAK, MAIN_4K),
        (CHROME, "hvc1.4.10.L120.B0"),
        (CHROME.replace("SRST", "MRST"), MAIN_1080P),
    ],
)
def test_h265_that_the_browser_cannot_decode_is_refused_with_the_reason(formats: str, codec_string: str) -> None:
    with pytest.raises(NegotiationError, match=r"camera door sends H\.265 \(hvc1") as caught:
        meet(offer(H264, formats), codec_string)
    assert caught.value.transports == ("hls", "mjpeg")


def test_an_offer_without_h265_is_refused_with_the_reason() -> None:
    with pytest.raises(NegotiationError, match=r"camera door sends H\.265, and the offer has no video section"):
        meet(offer(H264), MAIN_1080P)


@pytest.mark.parametrize("value", ["", "x", "-1", "99999", "1.0", "\u0661"])
def test_a_parameter_that_is_no_number_counts_as_missing(value: str) -> None:
    formats = f"a=rtpmap:49 H265/90000\na=fmtp:49 profile-id={value};level-id={value};tier-flag={value}"
    assert meet(offer(formats), MAIN_1080P).video.payload_type == 49


def test_high_tier_decoders_decode_the_main_tier() -> None:
    assert meet(offer(CHROME.replace("tier-flag=0", "tier-flag=1")), MAIN_1080P).video.payload_type == 49


def test_the_counter_offer_is_accepted_by_a_client_that_answers_it() -> None:
    info = sends(HIGH_TIER)
    text = write_counter_offer([info.video], info.audio, LOCAL, "why")
    assert "a=fmtp:96 level-id=120;profile-id=1;tier-flag=1;tx-mode=SRST" in text
    assert "H264" not in text
    reply = text.replace("a=sendonly", "a=recvonly").replace("a=ice-lite\r\n", "")
    assert negotiate(parse_offer(reply), info, "door").video.payload_type == 96


@pytest.mark.parametrize(
    ("codec_string", "profiles", "level_id"),
    [(MAIN_1080P, {1, 2}, 120), (MAIN_10, {2}, 120), ("hvc1", {1, 2}, 93), ("hvc1.A4.10.L93", {1, 2}, 93)],
)
def test_profile_and_level_come_from_the_codec_string(codec_string: str, profiles: set[int], level_id: int) -> None:
    own = stream_profile(sends(codec_string).video)
    assert set(own.profiles) == profiles
    assert own.level_id == level_id


@pytest.mark.parametrize("first", ["h264", "hevc"])
def test_both_codecs_are_accepted_where_the_camera_has_both(first: str) -> None:
    infos = {"h264": INFO, "hevc": sends(MAIN_1080P)}
    others = [info.video for info in infos.values()]
    negotiated = negotiate(parse_offer(offer(H264, CHROME_WEAK)), infos[first], "door", others)
    assert next(iter(negotiated.video_formats)) == first
    assert negotiated.video is negotiated.video_formats[first]
    media = [line for line in write_answer(negotiated, LOCAL).splitlines() if line.startswith(("m=", "a=rtpmap"))]
    formats = ["96", "49"] if first == "h264" else ["49", "96"]
    assert media[0] == f"m=video 9 UDP/TLS/RTP/SAVPF {' '.join(formats)}"
    assert sorted(media[1:]) == ["a=rtpmap:49 H265/90000", "a=rtpmap:96 H264/90000"]
    assert negotiated.can_decode(INFO.video)
    assert negotiated.can_decode(sends(MAIN_1080P).video)
    # What it turns out to be later may be more than the viewer decodes.
    assert not negotiated.can_decode(sends(MAIN_4K).video)
    assert not negotiated.can_decode(sends(MAIN_10).video)
    assert not negotiated.can_decode(replace(INFO.video, codec="av1"))


def test_one_codec_is_accepted_where_the_viewer_has_one() -> None:
    others = [INFO.video, sends(MAIN_4K).video]
    for formats in (H264, f"{H264}\n{CHROME_WEAK}"):
        negotiated = negotiate(parse_offer(offer(formats)), INFO, "door", others)
        assert list(negotiated.video_formats) == ["h264"]
        assert not negotiated.can_decode(sends(MAIN_1080P).video)
