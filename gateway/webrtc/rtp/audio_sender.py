"""One viewer's audio: sent as it comes."""

import secrets

from gateway.webrtc.rtp.packets import Layout, plain_packet
from gateway.webrtc.rtp.srtp import OutboundSrtp
from gateway.webrtc.rtp.video_sender import Path


class AudioSender:
    """One viewer's audio: every packet as it comes, nothing kept, nothing repeated."""

    def __init__(self, srtp: OutboundSrtp, layout: Layout, ssrc: int, path: Path) -> None:
        self._srtp = srtp
        self._layout = layout
        self.ssrc = ssrc
        self.path = path
        self._sequence = secrets.randbelow(1 << 15)
        self._shift = secrets.randbits(32)
        self.packets_sent = 0
        self.payload_bytes_sent = 0
        self.packets_dropped = 0

    def send(self, payload: bytes, timestamp: int) -> None:
        """Send one packet; ``timestamp`` is in the codec's clock."""
        timestamp = self.timestamp(timestamp)
        marker = self.packets_sent == 0
        plain = plain_packet(self._layout, payload, self._sequence, timestamp, self.ssrc, marker=marker)
        self._sequence += 1
        data = self._srtp.protect_packet(plain)
        if not self.path.send(data, len(data)):
            self.packets_dropped += 1
            return
        self.packets_sent += 1
        self.payload_bytes_sent += len(payload)

    def timestamp(self, timestamp: int) -> int:
        """The camera's audio timestamp as this viewer's RTP timestamp."""
        return (timestamp + self._shift) & 0xFFFFFFFF
