"""The media of an RTSP session: everything that it drops is in the camera's counters."""

from gateway.capture.counters import CaptureCounters
from gateway.capture.rtsp_media import RtspMedia, TrackFormat
from gateway.media import Packet
from gateway.rtsp.depacketize.h264 import H264Depacketizer
from gateway.rtsp.formats import VideoFormat
from tests.support.manual_clock import ManualClock
from tests.support.rtp import Payload, rtp_packets

FORMAT = TrackFormat(VideoFormat("h264", 96, 90_000, (), H264Depacketizer))


def media(counters: CaptureCounters, *, is_reordered: bool = False) -> RtspMedia:
    packets: list[Packet] = []
    return RtspMedia([FORMAT], packets.append, ManualClock(), is_reordered=is_reordered, counters=counters)


def feed(into: RtspMedia, payloads: list[Payload], first: int = 0, ssrc: int = 7, payload_type: int = 96) -> None:
    for packet in rtp_packets(payloads, first, ssrc, payload_type):
        into.receive(0, memoryview(packet), 0.0)
    into.count()


def test_invalid_packets_are_counted() -> None:
    counters = CaptureCounters()
    into = media(counters)
    into.receive(0, memoryview(b"not RTP"), 0.0)
    feed(into, [Payload(b"\x65\x88", 0)], payload_type=35)
    feed(into, [Payload(b"\x65", 0), Payload(b"\x1f\xff", 0)])
    assert counters.rtp_packets_invalid == 4


def test_loss_is_counted_over_a_change_of_source() -> None:
    for is_reordered in (False, True):
        counters = CaptureCounters()
        into = media(counters, is_reordered=is_reordered)
        for ssrc in (7, 8):
            feed(into, [Payload(b"\x65\x88", 0), Payload(b"\x41\x88", 1)], ssrc=ssrc)
            feed(into, [Payload(b"\x41\x88", 2)], first=4, ssrc=ssrc)
            into.expire(1.0)
        into.count()
        assert counters.rtp_packets_lost == 4


def test_a_frame_with_a_hole_is_counted() -> None:
    counters = CaptureCounters()
    into = media(counters)
    feed(into, [Payload(b"\x7c\x85\x88", 0), Payload(b"\x7c\x05abc", 0)])
    feed(into, [Payload(b"\x7c\x45abc", 0, True), Payload(b"\x65\x88", 9)], first=3)
    assert counters.frames_damaged == 1
