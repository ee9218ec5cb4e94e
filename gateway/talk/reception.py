"""VoiceReception: the receiver reports that go to a talker (RFC 3550 §6.4.2).

Sans-IO; times are monotonic seconds. Without these reports an encoder has nothing to adapt to.
"""

import secrets

from gateway.rtsp import rtcp
from gateway.rtsp.rtp import RtpHeader, SequenceCounter


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
