"""AudioSender: sends one viewer's audio."""

import secrets

from gateway.webrtc.rtp.packets import PacketTemplate, rtp_packet
from gateway.webrtc.rtp.srtp import OutboundSrtp
from gateway.webrtc.rtp.transport_sequence import PacketLog
from gateway.webrtc.transport import Transport


class AudioSender:
    """Sends each packet as it comes. Nothing is buffered or retransmitted."""

    def __init__(
        self,
        srtp: OutboundSrtp,
        template: PacketTemplate,
        ssrc: int,
        transport: Transport,
        log: PacketLog | None = None,
    ) -> None:
        self._srtp = srtp
        self._template = template
        self.ssrc = ssrc
        self.transport = transport
        self._log = log if template.transport_fields is not None else None
        self._sequence = secrets.randbelow(1 << 15)
        self._timestamp_offset = secrets.randbits(32)
        self._newest: int | None = None
        """The newest timestamp, not reduced to 32 bits."""
        self._skip_until: int | None = None
        """After a change of the rendition: what is not newer was heard already."""
        self.packets_sent = 0
        self.payload_bytes_sent = 0
        self.packets_dropped = 0
        """Packets that the transport did not take."""

    def send(self, payload: bytes, timestamp: int, now: float) -> None:
        """Send one packet; ``timestamp`` is in the codec's clock, ``now`` monotonic seconds."""
        newest = timestamp + self._timestamp_offset
        if self._skip_until is not None and newest <= self._skip_until:
            return
        self._newest, self._skip_until = newest, None
        timestamp = self.timestamp(timestamp)
        marker = self.packets_sent == 0
        plain = rtp_packet(
            self._template,
            payload,
            self._sequence,
            timestamp,
            self.ssrc,
            marker=marker,
            transport_sequence=self._log.next_sequence if self._log is not None else 0,
        )
        self._sequence += 1
        data = self._srtp.protect_packet(plain)
        if not self.transport.send(data, len(data)):
            self.packets_dropped += 1
            return
        if self._log is not None:
            self._log.add(now, 1, len(data))
        self.packets_sent += 1
        self.payload_bytes_sent += len(payload)

    def continue_on(self, shift: int) -> None:
        """Go on with another rendition, whose timeline is ``shift`` behind the present one, in the codec's clock."""
        self._timestamp_offset += shift
        self._skip_until = self._newest

    def timestamp(self, timestamp: int) -> int:
        """The camera's audio timestamp as this viewer's RTP timestamp."""
        return (timestamp + self._timestamp_offset) & 0xFFFFFFFF
