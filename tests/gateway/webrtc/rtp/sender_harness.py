"""A sender of video to one viewer, and what it sends."""

from gateway.webrtc.bandwidth.sent_packets import SentPackets
from gateway.webrtc.rtp.packets import header_extensions, packet_template
from gateway.webrtc.rtp.sequence_mapping import PacketFormat
from gateway.webrtc.rtp.video_sender import VideoSender
from tests.gateway.webrtc.wire import (
    RTX,
    VIDEO,
    CapturingTransport,
    FrameSource,
    srtp,
)

SSRC, RTX_SSRC = 0x1111, 0x2222


class SenderHarness:
    """A sender, its transport, and a time that the test advances."""

    def __init__(
        self,
        source: FrameSource,
        *,
        rtx: bool = False,
        first_sequence: int | None = None,
        log: SentPackets | None = None,
    ) -> None:
        self.source = source
        self.wire = CapturingTransport()
        self.now = 100.0
        video = (
            VIDEO
            if log is None
            else packet_template(96, header_extensions({3: bytes(2)}), 16, has_transport_sequence=True)
        )
        self.sender = VideoSender(
            srtp(),
            PacketFormat(video, RTX if rtx else None),
            SSRC,
            self.wire,
            rtx_ssrc=RTX_SSRC,
            first_sequence=first_sequence,
            log=log,
        )

    def start(self) -> bool:
        return self.sender.start(self.source.history, self.now)

    def live(self, *, key: bool = False, size: int = 3000) -> bool:
        self.now += 1 / 30
        return self.sender.on_frame(self.source.add(key=key, size=size), self.source.history, self.now)

    def catch_up(self, ticks: int = 10_000) -> int:
        """Tick until it is at the live edge; returns the number of ticks."""
        for tick in range(ticks):
            if self.sender.advance(self.source.history, self.now):
                return tick
            self.now += 0.005
        return ticks
