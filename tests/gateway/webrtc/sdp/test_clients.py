"""Offers in the form of thirty clients, and their answers by the rules that an answer has to keep.

An offer is written here from what is particular to a client: its codecs and their order, where the transport's
attributes stand, bundling, directions, header extensions, feedback, line ends.
"""

from dataclasses import dataclass

import pytest

from gateway.media import AudioInfo
from gateway.webrtc.sdp.answer import write_answer
from gateway.webrtc.sdp.negotiation import TRANSPORT_CC, negotiate
from gateway.webrtc.sdp.offer import OfferedSection, parse_offer
from tests.gateway.webrtc.sdp.test_answer import FINGERPRINT, LOCAL, sends

UFRAG, PASSWORD = "Yk3f", "q7Jm0aPz5Rw2Vn8Tc4Ls6Xd1"

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"

FULL_FEEDBACK = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")


def h264(number: int, profile: str = "42e01f", mode: str = "1", *, rtx: int | None = None, more: str = "") -> str:
    """H.264 as libwebrtc offers it."""
    fmtp = f"level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile}{more}"
    return codec(number, "H264/90000", fmtp, rtx=rtx)


def codec(
    number: int, name: str, fmtp: str = "", *, rtx: int | None = None, feedback: tuple[str, ...] = FULL_FEEDBACK
) -> str:
    """The lines of a format."""
    lines = [f"a=rtpmap:{number} {name}", *(f"a=rtcp-fb:{number} {each}" for each in feedback)]
    lines += [f"a=fmtp:{number} {fmtp}"] if fmtp else []
    lines += [f"a=rtpmap:{rtx} rtx/90000", f"a=fmtp:{rtx} apt={number}"] if rtx is not None else []
    return "\n".join(lines)


OPUS = codec(111, "opus/48000/2", "minptime=10;useinbandfec=1", feedback=())
G711 = "a=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000"
VP8 = codec(96, "VP8/90000", rtx=97)
CHROME = "\n".join(
    [
        VP8,
        codec(98, "VP9/90000", "profile-id=0", rtx=99),
        h264(102, "42001f", rtx=103),
        h264(104, "42001f", "0", rtx=107),
        h264(108, "42e01f", rtx=109),
        h264(127, "42e01f", "0", rtx=125),
        h264(39, "4d001f", rtx=40),
        codec(45, "AV1/90000", "level-idx=5;profile=0;tier=0", rtx=46),
        h264(112, "64001f", rtx=113),
        codec(114, "red/90000", rtx=115, feedback=()),
        codec(116, "ulpfec/90000", feedback=()),
    ]
)
SAFARI = "\n".join(
    [
        h264(96, "640c1f", rtx=97),
        h264(98, "42e01f", rtx=99),
        codec(100, "H265/90000", rtx=101),
        codec(104, "VP8/90000", rtx=105),
    ]
)
FIREFOX = "\n".join([codec(120, "VP8/90000", "max-fs=12288;max-fr=60", rtx=124), h264(126), h264(97, mode="0")])
FIREFOX_OPUS = codec(109, "opus/48000/2", "maxplaybackrate=48000;stereo=1;useinbandfec=1", feedback=())
EXTENSIONS = "\n".join(
    f"a=extmap:{number} {uri}"
    for number, uri in (
        (1, "urn:ietf:params:rtp-hdrext:toffset"),
        (2, SEND_TIME),
        (4, TRANSPORT_CC),
        (5, DELAY),
        (9, MID),
    )
)
SOUND_EXTENSIONS = "\n".join(
    f"a=extmap:{number} {uri}"
    for number, uri in ((14, "urn:ietf:params:rtp-hdrext:ssrc-audio-level"), (4, TRANSPORT_CC), (9, MID))
)


@dataclass(frozen=True)
class Section:
    """A media section. ``more`` are further lines."""

    kind: str = "video"
    lines: str = ""
    mid: str = ""
    direction: str = "recvonly"
    port: int = 9
    protocol: str = "UDP/TLS/RTP/SAVPF"
    transport: bool = True
    mux: bool = True
    more: str = ""
    setup: str = "actpass"

    def text(self) -> str:
        """The lines of the section."""
        if self.kind == "application":
            formats = "webrtc-datachannel" if "UDP" in self.protocol else "5000"
        else:
            numbers = [line.split(":")[1].split()[0] for line in self.lines.splitlines() if line.startswith("a=rtpmap")]
            formats = " ".join(dict.fromkeys(numbers))
        lines = [f"m={self.kind} {self.port} {self.protocol} {formats}", "c=IN IP4 0.0.0.0"]
        lines += transport(self.setup) if self.transport else []
        lines += [f"a=mid:{self.mid}"] if self.mid else []
        lines += [f"a={self.direction}"] if self.direction else []
        lines += ["a=rtcp-mux"] if self.mux and self.kind != "application" else []
        return "\n".join([*lines, *filter(None, [self.more, self.lines])])


def transport(setup: str = "actpass", fingerprint: str = f"sha-256 {FINGERPRINT}") -> list[str]:
    return [f"a=ice-ufrag:{UFRAG}", f"a=ice-pwd:{PASSWORD}", f"a=fingerprint:{fingerprint}", f"a=setup:{setup}"]


def offer(*sections: Section, bundle: str | None = "all", head: str = "", end: str = "\r\n") -> str:
    """A whole offer. ``head`` are lines of the session."""
    mids = " ".join(each.mid for each in sections if each.mid) if bundle == "all" else bundle
    group = [f"a=group:BUNDLE {mids}"] if mids else []
    lines = ["v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0", *group, *filter(None, [head])]
    return "\n".join([*lines, *(each.text() for each in sections), ""]).replace("\n", end)


def video(mid: str = "0", lines: str = CHROME, **more: object) -> Section:
    return Section("video", lines, mid, **more)  # type: ignore[arg-type]


def audio(mid: str = "1", lines: str = f"{OPUS}\n{G711}", **more: object) -> Section:
    return Section("audio", lines, mid, **more)  # type: ignore[arg-type]


def data(mid: str = "2", **more: object) -> Section:
    return Section("application", "", mid, "", protocol="UDP/DTLS/SCTP", more="a=sctp-port:5000", **more)  # type: ignore[arg-type]


ALLOW_MIXED = "a=extmap-allow-mixed\na=msid-semantic: WMS"
AT_SESSION = "\n".join(transport())
PION_H264 = "\n".join([VP8, h264(102, "42001f", rtx=103), h264(106, "42e01f", rtx=107), h264(127, "4d001f", rtx=125)])
BARE_H264 = codec(96, "H264/90000", "packetization-mode=1;profile-level-id=42e01f", feedback=())
GST_H264 = codec(96, "H264/90000", "packetization-mode=1;profile-level-id=42c016", feedback=("nack", "nack pli"))
PLAIN = ("nack", "nack pli")

OFFERS = {
    "Chrome": offer(video(more=EXTENSIONS), audio(more=SOUND_EXTENSIONS), head=ALLOW_MIXED),
    "Chrome, addTransceiver audio first": offer(audio("0", more=SOUND_EXTENSIONS), video("1", more=EXTENSIONS)),
    "Chrome, sendrecv with tracks": offer(
        audio("0", direction="sendrecv", more="a=msid:- a"),
        video("1", direction="sendrecv", more="a=msid:- v\na=ssrc-group:FID 1 2\na=ssrc:1 cname:x\na=ssrc:2 cname:x"),
        head=ALLOW_MIXED,
    ),
    "Chrome with a data channel": offer(data("0"), video("1"), audio("2")),
    "Chrome, munged bandwidth": offer(video(more="b=AS:500"), audio()),
    "Chrome, munged stereo": offer(video(), audio(lines=OPUS.replace("minptime", "stereo=1;minptime"))),
    "Edge behind a proxy, LF": offer(video(), audio(), end="\n"),
    "Android WebView, H.264 high only": offer(video(lines="\n".join([VP8, h264(127, "640c1f", rtx=125)]))),
    "Firefox": offer(
        video("0", FIREFOX),
        audio("1", f"{FIREFOX_OPUS}\n{G711}"),
        head=f"a=fingerprint:sha-256 {FINGERPRINT}\na=ice-options:trickle\na=msid-semantic:WMS *",
    ),
    "Firefox, max-bundle": offer(
        audio("0", transport=True),
        video("1", port=0, transport=False, mux=False, more="a=bundle-only"),
        head="a=ice-options:trickle",
    ),
    "Safari 17": offer(video(lines=SAFARI, more=EXTENSIONS), audio()),
    "Safari 18, rtcp-rsize": offer(video(lines=SAFARI, more=f"a=rtcp-rsize\n{EXTENSIONS}"), audio(more="a=rtcp-rsize")),
    "OBS": offer(
        video("video", codec(96, "H264/90000", "profile-level-id=42e01f;packetization-mode=1", feedback=PLAIN)),
        audio("audio", codec(111, "opus/48000/2", "minptime=10;maxaveragebitrate=96000;stereo=1", feedback=())),
        bundle="video audio",
    ),
    "GStreamer whepsrc": offer(
        audio("audio0", codec(96, "OPUS/48000/2", feedback=())),
        video("video1", GST_H264.replace(":96", ":97"), port=0, more="a=bundle-only\na=rtcp-mux-only"),
    ),
    "GStreamer webrtcbin, no bundle": offer(video("video0", GST_H264), audio("audio1"), bundle=None),
    "GStreamer webrtcbin, setup active": offer(video("video0", GST_H264, setup="active")),
    "Pion": offer(
        video("0", PION_H264),
        audio("1", codec(111, "opus/48000/2", "minptime=10;useinbandfec=1", feedback=())),
        head=f"a=fingerprint:sha-256 {FINGERPRINT.lower()}\n{ALLOW_MIXED}",
    ),
    "Pion, twcc": offer(video("0", PION_H264, more=f"a=extmap:1 {MID}\na=extmap:3 {TRANSPORT_CC}"), audio()),
    "werift": offer(
        video("0", codec(97, "H264/90000", "packetization-mode=1;profile-level-id=42001f", feedback=PLAIN)),
        audio("1", codec(96, "OPUS/48000/2", feedback=())),
        head="a=extmap-allow-mixed\na=ice-options:trickle",
    ),
    "aiortc": offer(
        audio("0", f"a=rtpmap:96 opus/48000/2\n{G711}", direction="recvonly"),
        video("1", "\n".join([codec(97, "VP8/90000", rtx=98), h264(99, "42001f", rtx=100), h264(101, rtx=102)])),
    ),
    "libdatachannel": offer(
        video(
            "video", codec(96, "H264/90000", "profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1")
        ),
        head=f"{AT_SESSION}\na=ice-options:ice2,trickle",
    ),
    "libdatachannel with data": offer(video("video", BARE_H264), data("data"), bundle="video data"),
    "str0m": offer(
        audio("aud", codec(111, "opus/48000/2", "minptime=10;useinbandfec=1", feedback=("transport-cc",))),
        video("vid", "\n".join([VP8, h264(108, rtx=109), h264(114, "64001f", rtx=115)])),
        head=f"a=ice-options:trickle\n{ALLOW_MIXED}",
    ),
    "libpeer on an ESP32": offer(
        video("video", codec(96, "H264/90000", "packetization-mode=1;profile-level-id=42e01f", feedback=PLAIN)),
        audio("audio", "a=rtpmap:8 PCMA/8000"),
        head="a=msid-semantic: iot",
    ),
    "Amazon Kinesis C SDK": offer(
        video("0", h264(125, "42e01f"), direction="sendrecv"), audio("1", OPUS, direction="sendrecv"), head=ALLOW_MIXED
    ),
    "Unity": offer(video(lines="\n".join([VP8, h264(102, "42001f", rtx=103), h264(123, "640033", rtx=124)])), audio()),
    "Unreal Pixel Streaming": offer(video("0", CHROME, more="b=TIAS:20000000"), audio("1"), data("2")),
    "Flutter on iOS": offer(audio("0"), video("1", SAFARI), head=ALLOW_MIXED),
    "Janus as a client": offer(video("v", h264(107, more=";sprop-parameter-sets=Z0LA,aM4=")), audio("a"), bundle="a v"),
    "Kurento, attributes at the session": offer(
        video("video0", BARE_H264, transport=False), audio("audio0", transport=False), head=AT_SESSION
    ),
    "two-byte extensions": offer(
        video(more=f"a=extmap:16 {TRANSPORT_CC}\na=extmap:200 {MID}"), audio(), head=ALLOW_MIXED
    ),
    "no mid, no group": offer(video("", BARE_H264), audio(""), bundle=None),
}

CAMERAS = {
    "silent": sends("avc1.42c01f"),
    "AAC": sends("avc1.42c01f", AudioInfo("aac", "mp4a.40.2", 48_000, 2)),
    "G.711": sends("avc1.640028", AudioInfo("pcm_alaw", "pcma", 8_000, 1)),
}


def direction(lines: list[str]) -> str:
    found = [line[2:] for line in lines if line[2:] in ("sendrecv", "sendonly", "recvonly", "inactive")]
    assert len(found) <= 1, "one direction"
    return found[0] if found else "sendrecv"


def values(lines: list[str], name: str) -> list[str]:
    return [line.partition(":")[2] for line in lines if line.startswith(f"a={name}:")]


def check_section(head: str, lines: list[str], offered: OfferedSection) -> None:
    """The rules for one section of an answer."""
    kind, port, protocol, *formats = head[2:].split()
    assert (kind, protocol) == (offered.kind, offered.protocol), "RFC 3264 §6: the same medium and transport"
    assert values(lines, "mid") == ([offered.mid] if offered.mid else []), "RFC 5888 §9.1"
    assert set(formats) <= set(offered.formats), "RFC 3264 §6.1"
    if port == "0":
        return
    assert [len(values(lines, name)) for name in ("ice-ufrag", "ice-pwd", "setup")] == [1, 1, 1]
    wanted = {"actpass": ("active", "passive"), "active": ("passive",), "passive": ("active",)}
    assert values(lines, "setup")[0] in wanted[offered.transport.setup or "actpass"], "RFC 8842 §5.3"
    if kind == "application":
        return
    assert "a=rtcp-mux" in lines, "RFC 5761 §5.1.1"
    may = {"recvonly": ("sendonly", "inactive"), "sendrecv": ("sendonly", "inactive"), "sendonly": ("inactive",)}
    assert direction(lines) in may.get(offered.direction, ("inactive",)), "RFC 3264 §6.1"
    known = {str(each.payload_type): each for each in offered.codecs}
    rtpmaps = dict(value.split(" ", 1) for value in values(lines, "rtpmap"))
    assert list(rtpmaps) == formats, "each format has its rtpmap"
    for number, name in rtpmaps.items():
        assert name == known[number].rtpmap.split(" ", 1)[1]
    for number, text in (value.split(" ", 1) for value in values(lines, "fmtp")):
        assert number in formats
        told = dict(item.strip().partition("=")[::2] for item in text.split(";"))
        if known[number].name == "rtx":
            assert told["apt"] in formats, "RFC 4588 §8.6"
        if known[number].name == "H264":
            asked = known[number].parameters
            assert told.get("packetization-mode", "0") == (asked.get("packetization-mode") or "0"), "RFC 6184 §8.2.2"
            asked_profile = int((asked.get("profile-level-id") or "42001f")[:2], 16)
            assert int(told["profile-level-id"][:2], 16) == asked_profile, "RFC 6184 §8.2.2"
    for number, feedback in (value.split(" ", 1) for value in values(lines, "rtcp-fb")):
        assert feedback in known[number].feedback, "RFC 4585 §4.2"
    ids = []
    for value in values(lines, "extmap"):
        identifier, uri = value.split(" ")[:2]
        ids.append(identifier.partition("/")[0])
        assert offered.extensions[uri] == int(ids[-1]), "RFC 8285 §7"
        assert 1 <= int(ids[-1]) <= 255
    assert len(set(ids)) == len(ids)
    if direction(lines) == "sendonly":
        assert values(lines, "candidate"), "the gateway is ICE-lite: all of its candidates are in the answer"
        assert "a=end-of-candidates" in lines


def check_answer(text: str, offered_text: str) -> None:
    """The rules for a whole answer."""
    offered = parse_offer(offered_text)
    assert text.endswith("\r\n")
    lines = text.split("\r\n")[:-1]
    assert all(lines), "no empty line"
    assert [line[0] for line in lines[:4]] == ["v", "o", "s", "t"], "RFC 8866 §5"
    starts = [place for place, line in enumerate(lines) if line.startswith("m=")]
    assert len(starts) == len(offered.sections), "RFC 3264 §6: as many sections"
    sections = [lines[a:b] for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]
    for section, of_offer in zip(sections, offered.sections, strict=True):
        check_section(section[0], section[1:], of_offer)
    used = {values(each, "mid")[0] for each in sections if each[0].split()[1] != "0" and values(each, "mid")}
    groups = [value.split()[1:] for value in values(lines[: starts[0]], "group")]
    for group in groups:
        assert set(group) <= used, "RFC 9143 §7.3.3: no rejected section in a group"
        assert any(set(group) <= set(each) for each in offered.bundles), "RFC 9143 §7.3: no other grouping"
    assert "a=ice-lite" in lines


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("client", OFFERS)
def test_an_answer_keeps_the_rules_for_every_client(client: str, camera: str) -> None:
    info, text = CAMERAS[camera], OFFERS[client]
    negotiated = negotiate(parse_offer(text), info, "door")
    answer = write_answer(negotiated, LOCAL)
    check_answer(answer, text)
    assert "a=sendonly" in answer
    # AAC is sent as Opus, G.711 as it is.
    names = {each.name.lower() for section in negotiated.sections if section.kind == "audio" for each in section.codecs}
    can_hear = {"silent": False, "AAC": "opus" in names, "G.711": bool({"opus", "pcma"} & names)}[camera]
    assert (negotiated.audio is not None) == can_hear
