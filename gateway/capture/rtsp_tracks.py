"""The tracks of one RTSP session while it plays: RTP packets in, frames out, and the reports about them.

Theory of operation. A :class:`ReceivedTrack` belongs to one media section that was set up. It checks the RTP header,
counts for receiver reports, puts UDP packets into order, makes timestamps that do not wrap, and hands payloads to the
depacketizer. Nothing here does I/O; times are monotonic seconds.
"""

import secrets
from collections.abc import Callable

from gateway.rtsp import rtcp
from gateway.rtsp.depacketize import Depacketizer, Frame
from gateway.rtsp.rtp import (
    TIMESTAMP_MODULUS,
    RecentPackets,
    ReorderBuffer,
    SequenceCounter,
    TimestampUnwrapper,
    parse_header,
)

SSRC_CHANGES_MAX = 16
"""Sources of one track, one after the other, before other sources' packets are dropped: an encoder that restarts has a
new one, a sender that mixes two of them would begin anew with each packet."""

RTP_INFO_MAX_S = 10
"""A first packet this long after the time of RTP-Info, in seconds, has nothing to do with it: many cameras write any
number there."""


class ReceivedTrack:
    """See the module."""

    def __init__(
        self,
        depacketizer: Depacketizer,
        payload_type: int,
        clock_rate: int,
        on_frame: Callable[[Frame, float], None],
        *,
        first_timestamp: Callable[[], int | None] = lambda: None,
        is_reordered: bool,
    ) -> None:
        """``on_frame`` gets each frame and the time of its last packet. ``is_reordered`` for UDP.

        ``first_timestamp`` gives the RTP time of the moment at which the session plays (RTP-Info), once that is known.
        Frames count their time from there, so that tracks share a beginning; and from the first packet where it is
        missing or implausible.
        """
        self.depacketizer = depacketizer
        self.lost = 0
        """Packets that did not come, or too late."""
        self._refused = 0
        self.last_report: rtcp.SenderReport | None = None
        self.last_report_at = 0.0
        self.has_ended = False
        """The source has said goodbye (RFC 3550 §6.6)."""
        self._payload_type = payload_type
        self._clock_rate = clock_rate
        self._on_frame = on_frame
        self._own_ssrc = secrets.randbits(32)
        self._ssrc: int | None = None
        self._ssrc_changes = 0
        self._sequence = SequenceCounter(clock_rate)
        self._unwrapper = TimestampUnwrapper()
        self._first_timestamp = first_timestamp
        self._base: int | None = None
        self._reorder = ReorderBuffer() if is_reordered else None
        self._recent = RecentPackets()

    @property
    def invalid(self) -> int:
        """Packets that are no RTP, or of another payload type or source, and payloads that their format forbids."""
        return self._refused + self.depacketizer.malformed

    def receive(self, packet: memoryview, now: float) -> None:
        """Take an RTP packet; the view is valid during the call only."""
        header = parse_header(packet)
        if header is None or header.payload_type != self._payload_type:
            self._refused += 1
            return
        if header.ssrc != self._ssrc and not self._change_source(header.ssrc):
            self._refused += 1
            return
        highest = self._sequence.extended_highest
        missing = self._sequence.count(header.sequence, header.timestamp, now)
        if self._reorder is None:
            if not self._recent.is_new(packet, header, is_ahead=self._sequence.extended_highest > highest):
                return
            self.lost += missing
            self._depacketize(packet, header.start, header.end, header.timestamp, missing, now, marker=header.marker)
            return
        for raw, lost in self._reorder.push(header.sequence, bytes(packet), now):
            self._take_ordered(raw, lost, now)

    def expire(self, now: float) -> None:
        """Give up on packets that do not come (UDP)."""
        if self._reorder is not None:
            for raw, lost in self._reorder.expire(now):
                self._take_ordered(raw, lost, now)

    def receive_control(self, packet: memoryview, now: float) -> None:
        """Take an RTCP packet."""
        for report in rtcp.parse(packet):
            if isinstance(report, rtcp.Goodbye):
                self.has_ended |= report.ssrc == self._ssrc
            else:
                self.last_report, self.last_report_at = report, now

    def receiver_report(self, now: float) -> bytes | None:
        """The report that is due, or ``None`` before the first packet."""
        if self._ssrc is None:
            return None
        return rtcp.receiver_report(
            self._own_ssrc, self._ssrc, self._sequence, self.last_report, now - self.last_report_at
        )

    def _change_source(self, ssrc: int) -> bool:
        if self._ssrc is not None:
            if self._ssrc_changes >= SSRC_CHANGES_MAX:
                return False
            self._ssrc_changes += 1
            self._sequence = SequenceCounter(self._clock_rate)
            if self._reorder is not None:
                self._reorder = ReorderBuffer()
        self._ssrc = ssrc
        return True

    def _take_ordered(self, raw: bytes, lost: int, now: float) -> None:
        assert self._reorder is not None
        header = parse_header(raw)
        assert header is not None
        self.lost += lost
        self._depacketize(memoryview(raw), header.start, header.end, header.timestamp, lost, now, marker=header.marker)

    def _depacketize(
        self, packet: memoryview, start: int, end: int, timestamp: int, lost: int, now: float, *, marker: bool
    ) -> None:
        time = self._unwrapper.unwrap(timestamp)
        if self._base is None:
            self._base = self._first_time(timestamp)
        for frame in self.depacketizer.push(packet[start:end], time - self._base, marker=marker, lost=lost):
            self._on_frame(frame, now)

    def _first_time(self, timestamp: int) -> int:
        """Where the track's time begins, before or at its first timestamp."""
        playing_from = self._first_timestamp()
        if playing_from is not None:
            since = (timestamp - playing_from) % TIMESTAMP_MODULUS
            if since < RTP_INFO_MAX_S * self._clock_rate:
                return timestamp - since
        return timestamp
