"""PacketSender: encrypts the RTP packets of one viewer's video, gives them to its transport, and notes their sizes."""

import secrets

from gateway.webrtc.rtp.packets import Frame, GsoBatch, PacketTemplate, rtp_packet
from gateway.webrtc.rtp.sequence_mapping import PacketFormat, SequenceMapping
from gateway.webrtc.rtp.srtp import OutboundSrtp
from gateway.webrtc.rtp.transport_sequence import PacketLog
from gateway.webrtc.transport import Transport


class PacketSender:
    """``ssrc`` is that of the video, ``rtx_ssrc`` that of its retransmissions (RFC 4588)."""

    __slots__ = ("_rtx_sequence", "_srtp", "log", "now", "rtx_ssrc", "ssrc", "transport")

    def __init__(
        self, srtp: OutboundSrtp, transport: Transport, ssrc: int, rtx_ssrc: int, log: PacketLog | None
    ) -> None:
        self._srtp = srtp
        self._rtx_sequence = secrets.randbelow(1 << 15)
        self.transport = transport
        self.ssrc = ssrc
        self.rtx_ssrc = rtx_ssrc
        self.log = log
        """Counts what is sent; ``None`` without transport-wide sequence numbers."""
        self.now = 0.0
        """When what is sent now is sent: monotonic seconds, set by the caller."""

    def send_batch(self, batch: GsoBatch, template: PacketTemplate, sequence: int, timestamp: int) -> bool:
        """Send packets that follow one another, in one system call. Returns whether the transport took them."""
        log, fields = self.log, template.transport_fields
        numbers = None if log is None or fields is None else (fields, log.next_sequence)
        data = self._srtp.protect_batch(batch, sequence, timestamp, self.ssrc, numbers)
        if not self.transport.send(data, batch.segment_bytes):
            return False
        if log is not None:
            log.add(self.now, batch.count, len(batch.data))
        return True

    def send(
        self, template: PacketTemplate, payload: bytes, sequence: int, timestamp: int, ssrc: int, *, marker: bool
    ) -> int:
        """Send a packet. Returns its size on the wire; 0 if the transport did not take it."""
        log = self.log
        number = 0 if log is None else log.next_sequence
        plain = rtp_packet(template, payload, sequence, timestamp, ssrc, marker=marker, transport_sequence=number)
        data = self._srtp.protect_packet(plain)
        if not self.transport.send(data, len(data)):
            return 0
        if log is not None:
            log.add(self.now, 1, len(data))
        return len(data)

    def send_again(self, frame: Frame, index: int, mapping: SequenceMapping) -> int:
        """Send a packet that was sent before, as RTX if that was negotiated. Returns as :meth:`send` does."""
        payload, marker = frame.payloads[index - frame.first_index], index == frame.end_index - 1
        sequence, timestamp = mapping.sequence(index) & 0xFFFF, mapping.timestamp(frame) & 0xFFFFFFFF
        sent_as: PacketFormat = mapping.format
        if sent_as.retransmission is None:
            return self.send(sent_as.media, payload, sequence, timestamp, self.ssrc, marker=marker)
        body, rtx_sequence = sequence.to_bytes(2, "big") + payload, self._rtx_sequence
        self._rtx_sequence += 1
        return self.send(sent_as.retransmission, body, rtx_sequence, timestamp, self.rtx_ssrc, marker=marker)
