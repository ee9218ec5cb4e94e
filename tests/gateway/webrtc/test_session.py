"""MediaSession: the header extensions of what it sends, by what the viewer offered."""

from typing import Any

import pytest
from aiortc.rtp import RtcpRtpfbPacket, RtpPacket, unpack_header_extensions
from pylibsrtp import Session

from gateway.hub import PacketHub
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.sdp.negotiation import PLAYOUT_DELAY, negotiate
from gateway.webrtc.sdp.offer import parse_offer
from gateway.webrtc.session import LocalSsrcs, MediaSession
from tests.gateway.webrtc.sdp.test_answer import HEAD, VIDEO
from tests.gateway.webrtc.wire import INFO, CapturingTransport, packet, srtp
from tests.support.manual_clock import ManualClock

PLAYOUT_ID, MID_ID = 5, 4


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
        outbound=srtp(),
        inbound=PlainSession(),
        auth_tag_bytes=16,
        transport=wire,
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
