"""Offers that are unusual, and yet valid: how they are read, and what is answered."""

import re

import pytest
from aiortc.sdp import MediaDescription, SessionDescription

from gateway.errors import BadRequestError, NegotiationError
from gateway.media import AudioInfo
from gateway.webrtc.sdp.answer import write_answer
from gateway.webrtc.sdp.offer import parse_offer
from tests.gateway.webrtc.sdp.test_answer import AUDIO, DATA, FINGERPRINT, HEAD, LOCAL, VIDEO, answer, meet, sends
from tests.gateway.webrtc.wire import INFO

SOUND = sends(audio=AudioInfo("aac", "", 16_000, 1))
TRANSPORT = HEAD[HEAD.index("a=ice-ufrag") :]
BARE_HEAD = HEAD[: HEAD.index("a=ice-ufrag")]


def bundle_only(section: str) -> str:
    """A section as RFC 9143 §6 has it in an offer with max-bundle: port zero, no transport attributes."""
    return section.replace(" 9 ", " 0 ", 1).replace("a=rtcp-mux\n", "a=bundle-only\n", 1)


def test_a_bundle_only_section_with_port_zero_is_offered() -> None:
    offer = BARE_HEAD.replace("0 1", "1 0") + AUDIO + TRANSPORT + bundle_only(VIDEO)
    negotiated = meet(offer, SOUND)
    assert (negotiated.transport.remote_username, negotiated.transport.dtls_role) == ("abcd", "server")
    assert negotiated.audio is not None
    audio, video = answer(offer, SOUND).media
    assert (audio.port, video.port, video.direction) == (9, 9, "sendonly")


def test_the_transport_is_that_of_the_tagged_section() -> None:
    """Without a max-bundle policy each section of an offer has a transport of its own."""
    other = TRANSPORT.replace("abcd\n", "efgh\n", 1).replace("abcdefgh", "zyxwvuts").replace("AB:", "CD:")
    head = BARE_HEAD.replace("0 1", "1 0")
    negotiated = meet(head + AUDIO + TRANSPORT + VIDEO + other)
    assert (negotiated.transport.remote_username, negotiated.transport.remote_password[:4]) == ("abcd", "abcd")
    assert negotiated.transport.fingerprints == (("sha-256", FINGERPRINT),)
    negotiated = meet(head.replace("1 0", "0 1") + AUDIO + TRANSPORT + VIDEO + other)
    assert negotiated.transport.remote_username == "efgh"
    negotiated = meet(head.replace("1 0", "2 1 0") + DATA + TRANSPORT + AUDIO + other + VIDEO + other)
    assert negotiated.transport.remote_username == "abcd"
    assert negotiated.transport.tagged.is_data_channel


def test_port_zero_alone_is_a_rejected_section() -> None:
    with pytest.raises(NegotiationError):
        meet(HEAD + VIDEO.replace(" 9 ", " 0 ", 1))


def test_bundle_only_means_nothing_outside_of_a_group() -> None:
    head = HEAD.replace("a=group:BUNDLE 0 1\n", "a=group:BUNDLE 0\n")
    result = answer(head + VIDEO + AUDIO.replace(" 9 ", " 0 ", 1) + "a=bundle-only\n", SOUND)
    assert [media.port for media in result.media] == [9, 0]
    with pytest.raises(NegotiationError):
        meet(head.replace("BUNDLE 0", "BUNDLE 1") + VIDEO.replace(" 9 ", " 0 ", 1) + "a=bundle-only\n" + AUDIO, SOUND)


def usable(media: MediaDescription) -> None:
    """Assert what Pion, aiortc, werift and webrtcbin need in each section."""
    assert len(media.fmt) == 1
    assert media.rtcp_mux
    assert media.ice is not None
    assert (media.ice.usernameFragment, media.ice.password) == LOCAL.credentials[0]
    assert media.dtls is not None
    assert [item.value for item in media.dtls.fingerprints] == [FINGERPRINT]


def test_bundled_audio_of_a_silent_camera_is_inactive_and_keeps_its_port() -> None:
    offer = HEAD.replace("0 1", "1 0") + AUDIO + VIDEO
    result = answer(offer, INFO)
    audio, video = result.media
    assert (audio.port, audio.direction, video.direction) == (9, "inactive", "sendonly")
    usable(audio)
    assert [codec.mimeType for codec in audio.rtp.codecs] == ["audio/opus"]
    assert audio.rtp.codecs[0].parameters == {"minptime": 10, "useinbandfec": 1}
    assert audio.ice_candidates, "it is the tagged section, which has the transport's candidates"
    assert [str(group) for group in result.group] == ["BUNDLE 1 0"]
    assert not audio.ssrc


def test_a_rejected_section_is_complete_too() -> None:
    offer = HEAD.replace("0 1", "0") + VIDEO + AUDIO
    result = answer(offer, INFO)
    audio = result.media[1]
    assert (audio.port, audio.direction) == (0, "inactive")
    usable(audio)
    assert [str(group) for group in result.group] == ["BUNDLE 0"]


def test_of_several_video_sections_one_is_sent() -> None:
    second = VIDEO.replace("a=mid:0", "a=mid:1")
    result = answer(HEAD + VIDEO + second)
    assert [media.direction for media in result.media] == ["sendonly", "inactive"]
    sendonly = VIDEO.replace("recvonly", "sendonly")
    result = answer(HEAD + sendonly + second)
    assert [media.direction for media in result.media] == ["inactive", "sendonly"]


@pytest.mark.parametrize(
    ("head", "format_", "line"),
    [
        ("UDP/DTLS/SCTP", "webrtc-datachannel", "a=sctp-port:5000"),
        ("DTLS/SCTP", "5000", "a=sctpmap:5000 webrtc-datachannel 1"),
    ],
)
def test_a_bundled_data_channel_keeps_its_place(head: str, format_: str, line: str) -> None:
    data = DATA.replace("UDP/DTLS/SCTP webrtc-datachannel", f"{head} {format_}")
    offer = HEAD.replace("0 1", "2 0 1") + data + VIDEO + AUDIO
    text = write_answer(meet(offer, SOUND), LOCAL)
    section = text.split("m=")[1].split("\r\n")
    assert section[0] == f"application 9 {head} {format_}"
    assert line in section
    assert "a=group:BUNDLE 2 0 1\r\n" in text
    assert meet(offer, SOUND).transport.has_data_channels


def test_a_data_channel_with_a_transport_of_its_own_is_rejected() -> None:
    offer = HEAD + VIDEO + AUDIO + DATA
    section = write_answer(meet(offer, SOUND), LOCAL).split("m=")[3].split("\r\n")
    assert section[0] == "application 0 UDP/DTLS/SCTP webrtc-datachannel"
    assert "a=sctp-port:5000" in section, "werift reads it also there"
    assert not [line for line in section if line.startswith("a=candidate")]
    assert not meet(offer, SOUND).transport.has_data_channels


def test_a_group_names_each_section_once() -> None:
    """Firefox refuses an answer that names one twice."""
    assert meet(HEAD.replace("0 1", "0 1 0") + VIDEO + AUDIO, SOUND).transport.bundle == ("0", "1")


@pytest.mark.parametrize(
    ("offered", "answered"),
    [("4", "a=extmap:4 "), ("4/sendrecv", "a=extmap:4 "), ("4/recvonly", "a=extmap:4/sendonly "), ("4/sendonly", "")],
)
def test_an_extension_is_answered_in_the_other_direction(offered: str, answered: str) -> None:
    text = write_answer(meet(HEAD + VIDEO.replace("a=extmap:4 ", f"a=extmap:{offered} "), SOUND), LOCAL)
    lines = [line for line in text.split("\r\n") if line.endswith(":sdes:mid")]
    assert lines == ([f"{answered}urn:ietf:params:rtp-hdrext:sdes:mid"] if answered else [])


def test_an_identifier_of_two_extensions_means_the_first() -> None:
    negotiated = meet(HEAD + VIDEO.replace("a=extmap:5 ", "a=extmap:4 "))
    assert negotiated.video.extensions == {"urn:ietf:params:rtp-hdrext:sdes:mid": 4}


def test_the_fingerprints_of_one_hash_count() -> None:
    """RFC 8122 §5: a client with several certificates lists one for each, with each of its hashes."""
    other = FINGERPRINT.replace("AB", "CD")
    more = f"a=fingerprint:sha-512 {other}:{other}\na=fingerprint:sha-256 {other}\na=fingerprint:"
    negotiated = meet(HEAD.replace("a=fingerprint:", more) + VIDEO)
    assert negotiated.transport.fingerprints == (("sha-256", other), ("sha-256", FINGERPRINT))


@pytest.mark.parametrize("group", ["", "a=group:BUNDLE 1\n"])
def test_the_answer_bundles_nothing_that_the_offer_does_not(group: str) -> None:
    """RFC 9143 §7.3. Chromium refuses an answer with a group that is not in its offer."""
    offer = HEAD.replace("a=group:BUNDLE 0 1\n", group) + VIDEO + AUDIO
    result = answer(offer, INFO)
    assert not result.group
    assert [media.port for media in result.media] == [9, 0]
    assert [media.rtp.muxId for media in result.media] == ["0", "1"]


def test_of_several_bundle_groups_the_one_with_the_video_is_used() -> None:
    head = HEAD.replace("a=group:BUNDLE 0 1\n", "a=group:BUNDLE 2\na=group:BUNDLE 1 0\n")
    offer = head + VIDEO + AUDIO.replace("a=mid:1", "a=mid:2") + AUDIO
    result = answer(offer, SOUND)
    assert [str(group) for group in result.group] == ["BUNDLE 1 0"]
    assert [media.port for media in result.media] == [9, 0, 9]


def test_rtcp_mux_only_means_rtcp_mux_and_is_answered() -> None:
    offer = HEAD + VIDEO.replace("a=rtcp-mux\n", "a=rtcp-mux-only\n")
    text = write_answer(meet(offer), LOCAL)
    assert "a=rtcp-mux\r\n" in text
    assert "a=rtcp-mux-only\r\n" in text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a=rtcp-mux\n", "a=rtcp-mux \t\n"),
        ("a=rtcp-mux\n", "a=rtcp-mux\na=ssrc:7 fmtp\na=rid\na=simulcast:\na=candidate:nonsense\na=x-unknown:\n"),
        ("a=rtcp-mux\n", "a=rtcp-mux\na=rtpmap:0\na=fmtp:0\na=rtcp-fb:0\na=rtcp-fb:* nack\na=extmap:x\na=extmap:1\n"),
        ("a=extmap:3 ", "a=extmap:3/recvonly "),
        ("a=extmap:3 urn:ietf:params:rtp-hdrext:toffset", "a=extmap:3 urn:ietf:params:rtp-hdrext:toffset attributes"),
        ("c=IN IP4 0.0.0.0", "c=IN IP4 224.2.1.1/127"),
        ("m=video 9 ", "m=video 9/2 "),
        ("UDP/TLS/RTP/SAVPF", "RTP/SAVPF"),
        ("a=setup:actpass", "a=setup:ACTPASS"),
        ("a=mid:0", "b=AS:2000\ni=camera\nk=prompt\na=mid:0"),
        ("96 97 102", "96 97 102 0"),
        ("a=fmtp:97 apt=96", "a=fmtp:55 apt=96"),
        ("a=fingerprint:", "a=fingerprint:sha-1 AB:CD\na=fingerprint:"),
        ("\n", "\r\n"),
        ("\n", "\r"),
        ("v=0", "\ufeffv=0"),
    ],
)
def test_what_is_not_needed_does_no_harm(old: str, new: str) -> None:
    offer = HEAD + VIDEO
    assert old in offer
    result = answer(offer.replace(old, new), sends("avc1.42001f"))
    assert result.media[0].direction == "sendonly"
    assert result.media[0].rtp.codecs[0].payloadType == 102


def test_spaces_between_format_parameters_are_allowed() -> None:
    offer = HEAD + VIDEO.replace(";", "; ")
    assert meet(offer, sends("avc1.640028")).video.payload_type == 125


@pytest.mark.parametrize(
    ("offer", "message"),
    [
        (HEAD + VIDEO + "nonsense\n", "line 39 is not of the form type=value"),
        (HEAD + VIDEO.replace("m=video 9", "m=video 99999"), "line 10 has no valid port"),
        (HEAD + VIDEO.replace("m=video 9", "m=video -1"), "line 10 is not a media description"),
        (HEAD + VIDEO.replace("a=mid:0", "a=mid:a b"), "a mid is not a token"),
        (HEAD + VIDEO + AUDIO.replace("a=mid:1", "a=mid:0"), "two media sections have the same mid"),
        (HEAD.replace("a=ice-pwd:abcdefghijklmnopqrstuvwx", "a=ice-pwd:short") + VIDEO, "no valid ICE user fragment"),
        (HEAD.replace("a=ice-pwd:abcd", "a=ice-pwd:äöü") + VIDEO, "not ASCII"),
        (HEAD.replace("actpass", "holdconn") + VIDEO, "not actpass, active or passive"),
    ],
)
def test_an_invalid_offer_is_refused_with_the_reason(offer: str, message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        meet(offer)


@pytest.mark.parametrize(
    ("offer", "message"),
    [
        (HEAD + "a=ice-lite\n" + VIDEO, "ICE-lite"),
        (HEAD.replace("sha-256", "sha-1") + VIDEO, "sha-256"),
        (HEAD + DATA, "no video section"),
        (HEAD + VIDEO.replace("/90000", "/48000"), "no video section"),
    ],
)
def test_an_offer_with_which_nothing_can_be_sent_is_refused_with_the_reason(offer: str, message: str) -> None:
    with pytest.raises(NegotiationError, match=message):
        meet(offer)


def test_a_session_level_direction_holds_for_all_sections() -> None:
    video = VIDEO.replace("a=recvonly\n", "")
    assert meet(HEAD + "a=recvonly\n" + video).video.index == 0
    with pytest.raises(NegotiationError):
        meet(HEAD + "a=inactive\n" + video)


@pytest.mark.parametrize(
    ("formats", "lines", "source", "rtpmap"),
    [
        ("8 96", "a=rtpmap:8 PCMA/8000/2\na=rtpmap:96 PCMA/8000\n", AudioInfo("pcm_alaw", "", 8000, 1), "96 PCMA/8000"),
        ("8", "", AudioInfo("pcm_alaw", "", 8000, 1), "8 PCMA/8000"),
        ("8", "a=rtpmap:8 PCMA/8000/1\n", AudioInfo("pcm_alaw", "", 8000, 1), "8 PCMA/8000/1"),
        ("96 97", "a=rtpmap:96 PCMA/16000\na=rtpmap:97 opus/48000/2\n", AudioInfo("pcm_alaw", "", 8000, 1),
         "97 opus/48000/2"),
        ("96", "a=rtpmap:96 PCMA/8000/2\n", AudioInfo("pcm_alaw", "", 8000, 1), None),
        ("96 97", "a=rtpmap:96 OPUS/48000\na=rtpmap:97 opus/48000/2\n", AudioInfo("aac", "", 8000, 1),
         "97 opus/48000/2"),
        ("96", "a=rtpmap:96 OPUS/48000\n", AudioInfo("aac", "", 8000, 1), "96 OPUS/48000"),
        ("96", "a=rtpmap:96 opus/16000/2\n", AudioInfo("aac", "", 8000, 1), None),
        ("96 97", "a=rtpmap:96 opus/48000/2\na=rtpmap:97 opus/48000/2\na=fmtp:97 stereo=1\n",
         AudioInfo("opus", "", 48_000, 2), "97 opus/48000/2"),
        ("97 96", "a=rtpmap:96 opus/48000/2\na=rtpmap:97 opus/48000/2\na=fmtp:97 stereo=1\n",
         AudioInfo("aac", "", 48_000, 1), "96 opus/48000/2"),
    ],
)  # fmt: skip
def test_clock_rate_channels_and_parameters_of_audio_decide(
    formats: str, lines: str, source: AudioInfo, rtpmap: str | None
) -> None:
    audio = re.sub(r"a=(rtpmap|fmtp):.*\n", "", AUDIO).replace("111 0 8", formats) + lines
    chosen = meet(HEAD + VIDEO + audio, sends(audio=source)).audio
    assert (chosen.rtpmap if chosen else None) == rtpmap


@pytest.mark.parametrize(
    ("channels", "parameters"),
    [(1, {"minptime": 10, "useinbandfec": 1}), (2, {"minptime": 10, "useinbandfec": 1, "sprop-stereo": "1"})],
)
def test_the_answer_says_whether_opus_has_two_channels(channels: int, parameters: dict[str, object]) -> None:
    offered = AUDIO.replace("useinbandfec=1", "useinbandfec=1;sprop-maxcapturerate=48000;maxaveragebitrate=9000")
    audio = answer(HEAD + VIDEO + offered, sends(audio=AudioInfo("aac", "", 48_000, channels))).media[1]
    assert audio.rtp.codecs[0].parameters == parameters


@pytest.mark.parametrize(
    ("asymmetry", "wanted"),
    [("level-asymmetry-allowed=1;", "42e028"), ("level-asymmetry-allowed=0;", "42e01f"), ("", "42e01f")],
)
def test_the_answer_has_the_offered_profile_and_the_cameras_level(asymmetry: str, wanted: str) -> None:
    offer = HEAD + VIDEO.replace("level-asymmetry-allowed=1;", asymmetry)
    video = answer(offer, sends("avc1.42c028")).media[0]
    assert video.rtp.codecs[0].payloadType == 106
    assert video.rtp.codecs[0].parameters["profile-level-id"] == wanted
    assert video.rtp.codecs[0].parameters["packetization-mode"] == "1"


def test_parameters_of_the_offerers_own_video_are_not_repeated() -> None:
    offer = HEAD + VIDEO.replace("packetization-mode=1", "packetization-mode=1;max-fs=3600;sprop-parameter-sets=Z0LA")
    parameters = answer(offer).media[0].rtp.codecs[0].parameters
    assert set(parameters) == {"level-asymmetry-allowed", "packetization-mode", "profile-level-id"}


def test_repeated_attributes_of_all_codecs_are_bounded() -> None:
    """An offer is read on the event loop: 4000 lines for 32 codecs took a second."""
    repeated = "".join(f"a=rtcp-fb:* x{number}\na=fmtp:* p{number}\n" for number in range(1500))
    codec = parse_offer(HEAD + VIDEO + "a=rtcp-fb:* nack\n" + repeated).sections[0].codecs[0]
    assert codec.feedback[0] == "nack"
    assert len(codec.feedback) < 64
    assert len(codec.parameters) < 64


def test_a_payload_type_that_looks_like_rtcp_is_not_used() -> None:
    """RFC 5761 §4."""
    offer = HEAD + VIDEO.replace("102", "72")
    assert "72" not in {str(codec.payload_type) for codec in parse_offer(offer).sections[0].codecs}


def test_an_offer_can_be_huge_but_not_too_huge() -> None:
    filler = "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\n"
    assert meet(HEAD + VIDEO + filler * 500).video.payload_type == 106
    with pytest.raises(BadRequestError, match="longer than"):
        parse_offer(HEAD + VIDEO + filler * 1000)


def test_every_answer_can_be_read_by_a_parser_of_another_project() -> None:
    for offer in (HEAD + VIDEO + AUDIO + DATA, HEAD.replace("0 1", "1 0") + AUDIO + VIDEO, HEAD + VIDEO):
        for info in (INFO, SOUND):
            assert SessionDescription.parse(write_answer(meet(offer, info), LOCAL)).media


@pytest.mark.parametrize(
    ("session", "section", "max_bps"),
    [
        ("", "", None),
        ("", "b=AS:500\n", 475_000),
        ("", "b=AS:500\nb=TIAS:400000\n", 400_000),
        ("b=AS:1000\n", "", 950_000),
        ("b=AS:1000\n", "b=TIAS:400000\n", 400_000),
        ("", "b=TIAS:0\n", None),
        ("", "b=CT:100\nb=RS:0\nb=RR:800\nb=X-YZ:1\nb=AS:\nb=TIAS:many\n", None),
    ],
)
def test_the_bandwidth_of_an_offer_is_a_limit(session: str, section: str, max_bps: float | None) -> None:
    offer = HEAD.replace("t=0 0\n", f"{session}t=0 0\n") + AUDIO.replace("mid:1", "mid:1\nb=AS:64")
    assert meet(offer + VIDEO.replace("a=mid:0\n", f"{section}a=mid:0\n")).max_bps == max_bps
