"""VoiceReception: the receiver reports that go to a talker (RFC 3550 §6.4.2).

A talker is a client of a session to talk, or a viewer with a microphone (:class:`VoiceInput`). Without these reports an
encoder has nothing to adapt to. Sans-IO; times are monotonic seconds.
"""

import secrets
from collections.abc import Callable

from gateway.rtsp import rtcp
from gateway.rtsp.rtp import RtpHeader, SequenceCounter, parse_header


class VoiceReception:
    """See the module. ``clock_rate`` is that of the voice's RTP timestamps, in Hz."""

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._own_ssrc = secrets.randbits(32)
        self._source: int | None = None
        self._counter = SequenceCounter(clock_rate)
        self._last: rtcp.SenderReport | None = None
        self._last_at = 0.0

    def take(self, header: RtpHeader, now: float) -> None:
        """A packet of the voice has come."""
        if header.ssrc != self._source:
            # A client that changed its microphone.
            self._source, self._counter, self._last = header.ssrc, SequenceCounter(self._clock_rate), None
        self._counter.count(header.sequence, header.timestamp, now)

    def take_control(self, compound: bytes, now: float) -> None:
        """An RTCP packet of the talker has come."""
        for each in rtcp.parse(compound):
            if isinstance(each, rtcp.SenderReport) and each.ssrc == self._source:
                self._last, self._last_at = each, now

    def report(self, now: float) -> bytes | None:
        """The report that is due; ``None`` before the first packet."""
        if self._source is None:
            return None
        return rtcp.receiver_report(self._own_ssrc, self._source, self._counter, self._last, now - self._last_at)


class VoiceInput:
    """The voice of a viewer: packets of one payload type, which come on the connection of its video."""

    def __init__(self, payload_type: int, clock_rate: int) -> None:
        self.take: Callable[[bytes, int, int], None] | None = None
        """Takes payload, sequence number and timestamp."""
        self.reception = VoiceReception(clock_rate)
        self._payload_type = payload_type

    def is_voice(self, data: bytes) -> bool:
        """Whether a datagram, encrypted still, is of it."""
        return len(data) >= 12 and data[1] & 0x7F == self._payload_type

    def receive(self, packet: bytes, now: float) -> None:
        """A packet of it, decrypted."""
        header = parse_header(packet)
        if header is not None:
            self.reception.take(header, now)
            if self.take is not None:
                self.take(packet[header.start : header.end], header.sequence, header.timestamp)
