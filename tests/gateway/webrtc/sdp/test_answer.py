"""Offers of browsers and of others, and what is answered."""

from dataclasses import replace

import pytest
from aiortc.sdp import SessionDescription
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import BadRequestError, NegotiationError
from gateway.media import AudioInfo, StreamInfo
from gateway.webrtc.sdp.answer import LocalDescription, write_answer
from gateway.webrtc.sdp.fragment import RestartedTransport, check_candidate, parse_fragment, write_fragment
from gateway.webrtc.sdp.negotiation import TRANSPORT_CC, NegotiatedSession, negotiate
from gateway.webrtc.sdp.offer import parse_offer
from tests.gateway.webrtc.wire import INFO

FINGERPRINT = ":".join(["AB"] * 32)

HEAD = f"""v=0
o=- 1 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuvwx
a=fingerprint:sha-256 {FINGERPRINT}
a=setup:actpass
"""

VIDEO = """m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 104 106 127 125
c=IN IP4 0.0.0.0
a=mid:0
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay
a=extmap:3 urn:ietf:params:rtp-hdrext:toffset
a=recvonly
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:102 H264/90000
a=rtcp-fb:102 goog-remb
a=rtcp-fb:102 transport-cc
a=rtcp-fb:102 ccm fir
a=rtcp-fb:102 nack
a=rtcp-fb:102 nack pli
a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f
a=rtpmap:103 rtx/90000
a=fmtp:103 apt=102
a=rtpmap:104 H264/90000
a=fmtp:104 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f
a=rtpmap:106 H264/90000
a=rtcp-fb:106 nack
a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtpmap:127 H264/90000
a=fmtp:127 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f
a=rtpmap:125 H264/90000
a=fmtp:125 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f
"""

AUDIO = """m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8
c=IN IP4 0.0.0.0
a=mid:1
a=recvonly
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
"""

DATA = """m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=mid:2
a=sctp-port:5000
"""

LOCAL = LocalDescription(
    session_id=1,
    stream_name="door",
    credentials=(("user", "password" * 3), ("other", "different" * 3)),
    fingerprint=("sha-256", FINGERPRINT),
    candidates=("1 1 udp 2 192.0.2.1 8189 typ host",),
    video_ssrc=1,
    rtx_ssrc=2,
    audio_ssrc=3,
)


def sends(codec_string: str = "avc1.42c01f", audio: AudioInfo | None = None, codec: str = "h264") -> StreamInfo:
    return StreamInfo(replace(INFO.video, codec=codec, codec_string=codec_string), audio)


def meet(offer: str, info: StreamInfo = INFO) -> NegotiatedSession:
    return negotiate(parse_offer(offer), info, "door")


def answer(offer: str, info: StreamInfo = INFO) -> SessionDescription:
    return SessionDescription.parse(write_answer(meet(offer, info), LOCAL))


@pytest.mark.parametrize(
    ("codec_string", "payload_type"),
    [
        ("avc1.42c01f", 106),
        ("avc1.42e01e", 106),
        ("avc1.42001f", 102),
        ("avc1.4d0028", 127),
        ("avc1.4d401f", 127),
        ("avc1.640028", 125),
        ("avc1.640c28", 125),
        ("avc1.nonsense", 125),
    ],
)
def test_the_payload_type_with_the_cameras_profile_is_chosen(codec_string: str, payload_type: int) -> None:
    assert meet(HEAD + VIDEO, sends(codec_string)).video.payload_type == payload_type


def test_a_profile_that_contains_the_cameras_is_accepted() -> None:
    only_high = "\n".join(line for line in VIDEO.splitlines() if not line.startswith(("a=rtpmap:127", "a=fmtp:127")))
    assert meet(HEAD + only_high + "\n", sends("avc1.4d001f")).video.payload_type == 125


def test_h264_of_another_profile_is_the_last_choice() -> None:
    baseline = "\n".join(line for line in VIDEO.splitlines() if not line.startswith(("a=rtpmap:12", "a=fmtp:12")))
    assert meet(HEAD + baseline + "\n", sends("avc1.640028")).video.payload_type in (102, 106)


def with_modes(mode: str) -> str:
    """The offer with another packetization-mode everywhere."""
    return HEAD + VIDEO.replace("packetization-mode=0", mode).replace("packetization-mode=1", mode)


@pytest.mark.parametrize("mode", ["0", "2"])
def test_an_offer_without_fragmentation_is_refused_with_the_reason(mode: str) -> None:
    with pytest.raises(NegotiationError, match="a packetization-mode other than 1") as caught:
        meet(with_modes(f"packetization-mode={mode}"))
    assert caught.value.transports == ("hls", "mjpeg")


def test_packetization_mode_1_is_preferred_to_none() -> None:
    unsaid = VIDEO.replace("packetization-mode=0;", "")
    assert meet(HEAD + unsaid).video.payload_type == 106
    assert meet(with_modes("level-asymmetry-allowed=1")).video.payload_type == 104


def test_the_answer_is_what_a_browser_expects() -> None:
    result = answer(HEAD + VIDEO + AUDIO + DATA, sends("avc1.42001f", AudioInfo("aac", "", 16_000, 1)))
    video, audio, data = result.media
    assert (video.direction, audio.direction) == ("sendonly", "sendonly")
    assert [codec.payloadType for codec in video.rtp.codecs] == [102, 103]
    assert video.rtp.codecs[0].parameters["profile-level-id"] == "42001f"
    assert {(item.type, item.parameter) for item in video.rtp.codecs[0].rtcpFeedback} == {
        ("ccm", "fir"),
        ("nack", None),
        ("nack", "pli"),
        ("goog-remb", None),
    }, "the offer lacks the header extension for transport-cc"
    assert {item.id for item in video.rtp.headerExtensions} == {4, 5}
    assert [group.items for group in video.ssrc_group] == [[1, 2]]
    assert [item.ssrc for item in video.ssrc] == [1, 2], "the medium first"
    assert [item.ssrc for item in audio.ssrc] == [3]
    assert [codec.mimeType for codec in audio.rtp.codecs] == ["audio/opus"]
    assert data.port == 0
    assert [str(group) for group in result.group] == ["BUNDLE 0 1"]
    assert video.ice is not None
    assert video.ice.iceLite
    assert video.ice_candidates_complete
    assert video.rtcp_mux
    assert video.dtls is not None
    assert video.dtls.role == "server"


def test_without_nack_there_is_no_rtx() -> None:
    assert meet(HEAD + VIDEO.replace("a=rtcp-fb:102 nack\n", ""), sends("avc1.42001f")).video.rtx_payload_type is None


def test_the_dtls_role_is_the_one_the_offer_does_not_take() -> None:
    assert meet(HEAD.replace("actpass", "active") + VIDEO).transport.dtls_role == "server"
    assert meet(HEAD.replace("actpass", "passive") + VIDEO).transport.dtls_role == "client"
    assert "a=setup:active" in write_answer(meet(HEAD.replace("actpass", "passive") + VIDEO), LOCAL)


@pytest.mark.parametrize(
    ("audio", "payload_type"),
    [
        (None, None),
        (AudioInfo("pcm_alaw", "", 8000, 1), 8),
        (AudioInfo("pcm_mulaw", "", 8000, 1), 0),
        (AudioInfo("pcm_mulaw", "", 16_000, 1), 111),
        (AudioInfo("opus", "", 48_000, 2), 111),
        (AudioInfo("aac", "", 44_100, 2), 111),
    ],
)
def test_audio_is_sent_unchanged_if_possible_else_as_opus(audio: AudioInfo | None, payload_type: int | None) -> None:
    track = meet(HEAD + VIDEO + AUDIO, sends(audio=audio)).audio
    assert (track.payload_type if track else None) == payload_type


def test_audio_before_video_and_a_mid_with_a_name() -> None:
    offer = HEAD.replace("0 1", "video0 1") + AUDIO + VIDEO.replace("a=mid:0", "a=mid:video0")
    result = answer(offer, sends(audio=AudioInfo("aac", "", 16_000, 1)))
    assert [media.kind for media in result.media] == ["audio", "video"]
    assert [str(group) for group in result.group] == ["BUNDLE video0 1"]


def test_h265_is_refused_with_the_reason_and_what_works() -> None:
    with pytest.raises(NegotiationError, match=r"camera door sends H\.265") as caught:
        meet(HEAD + VIDEO, sends(codec="hevc"))
    assert caught.value.transports == ("hls", "mjpeg")


@pytest.mark.parametrize(
    "offer",
    [
        HEAD + AUDIO,
        HEAD + VIDEO.replace("H264", "VP9"),
        HEAD + VIDEO.replace("recvonly", "sendonly"),
        HEAD + VIDEO.replace("recvonly", "inactive"),
        HEAD + VIDEO.replace("m=video 9", "m=video 0"),
        HEAD + VIDEO.replace("a=rtcp-mux\n", ""),
    ],
)
def test_no_common_codec_is_a_negotiation_error(offer: str) -> None:
    with pytest.raises(NegotiationError):
        meet(offer)


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "hello",
        '{"sdp": "v=0"}',
        "v=0\r\n",
        "v=0\r\nm=video x y z",
        HEAD.replace("a=ice-pwd:abcdefghijklmnopqrstuvwx\n", "") + VIDEO,
        HEAD.replace("a=setup:actpass\n", "") + VIDEO,
        HEAD.replace("a=fingerprint", "a=fingerprinted") + VIDEO,
        HEAD + VIDEO + "nonsense\n",
        HEAD + VIDEO + AUDIO.replace("a=mid:1", "a=mid:0"),
        HEAD.replace("actpass", "holdconn") + VIDEO,
        HEAD + VIDEO + DATA * 20,
        HEAD + VIDEO + "a=x\n" * 40_000,
    ],
)
def test_text_that_is_not_an_offer_is_a_bad_request(offer: str) -> None:
    with pytest.raises(BadRequestError):
        meet(offer)


LINES = (HEAD + VIDEO + AUDIO + DATA).splitlines()


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, len(LINES) - 1), st.sampled_from(["drop", "cut", "twice", "wild"])), max_size=6),
    st.text(max_size=30),
)
def test_a_mangled_offer_is_answered_or_refused(edits: list[tuple[int, str]], wild: str) -> None:
    lines = list(LINES)
    for place, edit in edits:
        line = lines[place]
        lines[place] = {
            "drop": "",
            "cut": line[: len(line) // 2],
            "twice": f"{line}\n{line}",
            "wild": line.split(":")[0] + ":" + wild,
        }[edit]
    try:
        text = write_answer(
            meet("\n".join(line for line in lines if line), sends(audio=AudioInfo("aac", "", 8000, 1))), LOCAL
        )
    except (BadRequestError, NegotiationError):
        return
    assert text.startswith("v=0\r\n")
    for line in text.split("\r\n"):
        assert "\n" not in line


@given(st.text(max_size=300))
def test_random_text_is_not_an_offer_fragment_or_candidate(text: str) -> None:
    with pytest.raises(BadRequestError):
        meet(text)
    for parse in (parse_fragment, check_candidate):
        try:
            parse(text)
        except BadRequestError:
            continue


def test_a_fragment_with_candidates() -> None:
    text = (
        "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n"
        "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\n"
        "a=candidate:3471623853 1 udp 2122194687 f2c1.local 61765 typ host\r\na=end-of-candidates\r\n"
    )
    parsed = parse_fragment(text)
    assert (parsed.any_credentials[0], parsed.candidates) == ("EsAw", 2)


@pytest.mark.parametrize(
    "text",
    ["", "\r\n", "hello", "a=ice-ufrag:abc", "a=ice-pwd:short", "a=candidate:1 1 udp", "a=mid:0\r\n" * 300],
)
def test_text_that_is_not_a_fragment_is_a_bad_request(text: str) -> None:
    with pytest.raises(BadRequestError):
        parse_fragment(text)


def test_our_own_fragment_can_be_read() -> None:
    video = RestartedTransport(
        "abcd",
        "x" * 24,
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "0",
        (),
    )
    audio = RestartedTransport("efgh", "y" * 24, "m=audio 9 UDP/TLS/RTP/SAVPF 8", "1", ("1", "2"))
    text = write_fragment([video], LOCAL.candidates)
    assert "BUNDLE" not in text
    assert "a=mid:0" in text
    parsed = parse_fragment(text)
    assert (parsed.any_credentials, parsed.candidates) == (("abcd", "x" * 24), 1)
    parsed = parse_fragment(write_fragment([video, audio], LOCAL.candidates))
    assert parsed.credentials({"0"}) == ("abcd", "x" * 24)
    assert parsed.credentials({"1", "2"}) == ("efgh", "y" * 24)
    assert parsed.credentials({"3"}) == (None, None)


WIDE = f"a=extmap:3 {TRANSPORT_CC}"


@pytest.mark.parametrize(
    ("extension", "feedback", "accepted"),
    [
        (WIDE, ("goog-remb", "transport-cc"), {"transport-cc"}),
        (WIDE, ("transport-cc",), {"transport-cc"}),
        (WIDE, ("goog-remb",), {"goog-remb"}),
        (WIDE, (), set()),
        ("", ("goog-remb", "transport-cc"), {"goog-remb"}),
        ("", ("transport-cc",), set()),
        (WIDE.replace(":3", ":15"), ("transport-cc",), {"transport-cc"}),
        (WIDE.replace(":3", ":255"), ("transport-cc",), {"transport-cc"}),
        (WIDE.replace(":3", ":0"), ("transport-cc",), set()),
        (WIDE.replace(":3", ":4096"), ("transport-cc",), set()),
        (WIDE.replace(":3", ":3/sendonly"), ("transport-cc",), set()),
    ],
)
def test_transport_wide_feedback_needs_its_extension_and_comes_before_remb(
    extension: str, feedback: tuple[str, ...], accepted: set[str]
) -> None:
    offer = VIDEO.replace("a=rtcp-fb:102 goog-remb\na=rtcp-fb:102 transport-cc\n", "")
    offer = offer.replace("a=extmap:3 urn:ietf:params:rtp-hdrext:toffset", extension or "a=rtcp-rsize")
    lines = "".join(f"a=rtcp-fb:102 {item}\n" for item in feedback)
    media = meet(HEAD + offer.replace("a=fmtp:102", f"{lines}a=fmtp:102"), sends("avc1.42001f")).video
    assert set(media.feedback) - {"nack", "nack pli", "ccm fir"} == accepted
    assert (TRANSPORT_CC in media.extensions) == (accepted == {"transport-cc"})
    assert media.extensions.get(TRANSPORT_CC, 3) in (3, 15, 255), "the offer's id"


def test_audio_has_transport_wide_numbers_where_they_are_offered() -> None:
    wide = AUDIO.replace("a=mid:1\n", f"a=mid:1\na=extmap:3 {TRANSPORT_CC}\na=rtcp-fb:111 transport-cc\n")
    audio = meet(HEAD + VIDEO + wide, sends(audio=AudioInfo("aac", "", 16_000, 1))).audio
    assert audio is not None
    assert audio.extensions[TRANSPORT_CC] == 3
    assert audio.feedback == ("transport-cc",)
