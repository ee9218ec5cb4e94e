"""MediaSession: the header extensions of what it sends, by what the viewer offered."""

from typing import Any

import pytest
from aiortc.rtp import RtcpPsfbPacket, RtcpRtpfbPacket, RtpPacket, pack_remb_fci, unpack_header_extensions
from pylibsrtp import Session

from gateway.hub import PacketHub
from gateway.media import AudioInfo, StreamInfo
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.media_transport import SrtpConnection
from gateway.webrtc.sdp.negotiation import PLAYOUT_DELAY, TRANSPORT_CC, negotiate
from gateway.webrtc.sdp.offer import parse_offer
from gateway.webrtc.session import LocalSsrcs, MediaSession
from tests.gateway.webrtc.sdp.test_answer import HEAD, VIDEO
from tests.gateway.webrtc.wire import INFO, CapturingTransport, packet, srtp
from tests.support.manual_clock import ManualClock
from tests.support.transport_cc import write_feedback

PLAYOUT_ID, MID_ID, WIDE_ID = 5, 4, 3
WIDE = VIDEO.replace("apt=102", "apt=106").replace(
    "a=extmap:3 urn:ietf:params:rtp-hdrext:toffset",
    f"a=extmap:{WIDE_ID} {TRANSPORT_CC}\na=rtcp-fb:106 transport-cc",
)


class PlainSession(Session):
    """SRTCP of a viewer that sends it without encryption."""

    def unprotect_rtcp(self, data: Any) -> bytes:
        return bytes(data)


def extensions(plain: bytes) -> dict[int, bytes]:
    """The header extensions of an RTP packet without CSRCs, by identifier."""
    assert plain[0] == 0x90
    profile, words = int.from_bytes(plain[12:14], "big"), int.from_bytes(plain[14:16], "big")
    return dict(unpack_header_extensions(profile, plain[16 : 16 + 4 * words]))


@pytest.mark.parametrize("is_offered", [True, False])
async def test_every_packet_says_that_it_is_to_be_shown_at_once(is_offered: bool) -> None:
    # 106 is the camera's profile.
    offered = VIDEO.replace("apt=102", "apt=106")
    if not is_offered:
        offered = offered.replace(f"a=extmap:{PLAYOUT_ID} {PLAYOUT_DELAY}\n", "")
    hub, clock, wire = PacketHub("door"), ManualClock(), CapturingTransport()
    session = MediaSession(
        negotiate(parse_offer(HEAD + offered), INFO, "door"),
        LocalSsrcs(1, 2, 3),
        "door",
        SrtpConnection(srtp(), PlainSession(), 16, wire),
        fanout=CameraFanout(hub, clock, lambda reason: None),
        clock=clock,
    )
    hub.publish(packet(0, key=True))
    session.begin(lambda error: None)
    hub.publish(packet(1))
    sent = wire.take_plain()
    lost = RtcpRtpfbPacket(fmt=1, ssrc=9, media_ssrc=1, lost=[int.from_bytes(sent[0][2:4], "big")])
    session.receive(bytes(lost))
    sent += wire.take_plain()
    assert {RtpPacket.parse(plain).ssrc for plain in sent} == {1, 2}, "video and its retransmission"
    shown = {PLAYOUT_ID: bytes(3)} if is_offered else {}
    assert all(extensions(plain) == {MID_ID: b"0", **shown} for plain in sent)


class Scene:
    """A session with one viewer, and what it is sent."""

    def __init__(self, video: str, audio: AudioInfo | None = None) -> None:
        self.hub, self.clock, self.wire = PacketHub("door"), ManualClock(), CapturingTransport()
        self.fanout = CameraFanout(self.hub, self.clock, lambda reason: None)
        info = INFO if audio is None else StreamInfo(INFO.video, audio)
        self.session = MediaSession(
            negotiate(parse_offer(HEAD + video), info, "door"),
            LocalSsrcs(1, 2, 3),
            "door",
            SrtpConnection(srtp(), PlainSession(), 16, self.wire),
            fanout=self.fanout,
            clock=self.clock,
        )
        self.published = 0

    def publish(self, count: int, *, size: int = 3000) -> None:
        for _ in range(count):
            self.hub.publish(packet(self.published, key=self.published % 30 == 0, size=size))
            self.published += 1
            self.clock.now += 1 / 30


def numbers(sent: list[bytes]) -> list[int]:
    """The transport-wide sequence numbers of packets."""
    return [int.from_bytes(extensions(plain)[WIDE_ID], "big") for plain in sent]


async def test_all_packets_to_a_viewer_have_one_sequence_of_transport_wide_numbers() -> None:
    scene = Scene(WIDE)
    scene.publish(3)
    scene.session.begin(lambda error: None)
    scene.publish(5)
    sent = scene.wire.take_plain()
    lost = RtcpRtpfbPacket(fmt=1, ssrc=9, media_ssrc=1, lost=[int.from_bytes(sent[0][2:4], "big")])
    scene.session.receive(bytes(lost))
    scene.publish(1)
    sent += scene.wire.take_plain()
    found = numbers(sent)
    assert [(number - found[0]) & 0xFFFF for number in found] == list(range(len(sent)))
    assert {RtpPacket.parse(plain).ssrc for plain in sent} == {1, 2}


async def test_a_viewer_is_sent_less_as_soon_as_its_feedback_says_that_most_is_lost() -> None:
    scene = Scene(WIDE)
    scene.session.begin(lambda error: None)
    clock = 0
    for turn in range(40):
        scene.publish(3, size=18_000)
        sent = numbers(scene.wire.take_plain())
        clock += 400
        if not sent:
            continue
        # One packet of eight arrives, ever later.
        arrivals = [clock % 256 + place if place % 8 == 0 else None for place in range(len(sent))]
        scene.session.receive(write_feedback(sent[0], clock // 256, turn, arrivals))
    bandwidth = scene.session.bandwidth
    assert bandwidth.method == "transport-cc"
    assert bandwidth.estimate_bps is not None
    assert bandwidth.estimate_bps < 8 * 18_000 * 30 / 2
    assert bandwidth.limit_bytes_per_s == scene.session.video.limit_bytes_per_s
    assert bandwidth.limit_bytes_per_s is not None
    assert "of the packets are lost" in str(bandwidth.reason)


async def test_a_viewer_that_negotiated_feedback_and_sends_none_is_judged_by_its_reports() -> None:
    scene = Scene(WIDE)
    scene.session.begin(lambda error: None)
    scene.publish(2)
    assert scene.session.bandwidth.method == "receiver-reports"
    scene.session.receive(write_feedback(5, 0, 0, [None] * 200))
    assert scene.session.bandwidth.method == "receiver-reports", "it is about packets that were never sent"


async def test_remb_counts_where_only_that_is_offered() -> None:
    remb = bytes(RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=pack_remb_fci(250_000, [1])))
    for video, estimate in ((WIDE.replace("transport-cc", "goog-remb"), 250_000), (WIDE, None)):
        scene = Scene(video)
        scene.session.begin(lambda error: None)
        scene.publish(3)
        sent = numbers(scene.wire.take_plain()) if estimate is None else []
        if sent:
            scene.session.receive(write_feedback(sent[0], 0, 0, list(range(len(sent)))))
        scene.session.receive(remb)
        assert scene.session.bandwidth.estimate_bps == estimate


async def test_identifiers_beyond_14_are_sent_with_heads_of_two_bytes() -> None:
    """RFC 8285 §4.3. The number, the mid and the playout delay fit beside the payload with such heads, too."""
    scene = Scene(WIDE.replace(f"a=extmap:{WIDE_ID} ", "a=extmap:200 "))
    scene.session.begin(lambda error: None)
    scene.publish(3)
    sent = scene.wire.take_plain()
    assert {plain[12:14] for plain in sent} == {b"\x10\x00"}
    found = [int.from_bytes(extensions(plain)[200], "big") for plain in sent]
    assert [(number - found[0]) & 0xFFFF for number in found] == list(range(len(sent)))
    assert {extensions(plain)[MID_ID] for plain in sent} == {b"0"}
    assert {extensions(plain)[PLAYOUT_ID] for plain in sent} == {bytes(3)}
    assert max(len(plain) for plain in sent) <= 1232 - 16 - 2


@pytest.mark.parametrize(
    ("line", "max_bps"), [("b=TIAS:1000000", 1e6), ("b=AS:1000", 950e3), ("b=AS:9000", None), ("b=AS:0", None)]
)
async def test_no_more_is_sent_than_the_viewer_wants(line: str, max_bps: float | None) -> None:
    scene = Scene(WIDE.replace("c=IN IP4 0.0.0.0\n", f"c=IN IP4 0.0.0.0\n{line}\n"))
    scene.session.begin(lambda error: None)
    frame_bytes, sizes = 18_000, list[int]()
    for turn in range(100):
        scene.publish(3, size=frame_bytes)
        plain = scene.wire.take_plain()
        sizes.append(sum(map(len, plain)))
        if plain:
            scene.session.receive(write_feedback(numbers(plain)[0], turn * 25 // 16, turn, [0] * len(plain)))
    sent_bps = 8 * sum(sizes[20:]) / ((len(sizes) - 20) / 10)
    bandwidth = scene.session.bandwidth
    if max_bps is None:
        assert sent_bps > 8 * 30 * frame_bytes
        assert bandwidth.reason is None
    else:
        assert scene.session.estimate_bps == max_bps, "a rendition of so much is chosen"
        assert sent_bps < max_bps * 1.05
        assert f"{max_bps / 1000:.0f} kbit/s" in str(bandwidth.reason)
