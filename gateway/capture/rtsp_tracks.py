"""The tracks of one RTSP session while it plays: RTP packets in, frames out, and the reports about them.

Theory of operation. A :class:`ReceivedTrack` belongs to one media section that was set up. It checks the RTP header,
counts for receiver reports, puts UDP packets into order, makes timestamps that do not wrap, and hands payloads to the
depacketizer. Nothing here does I/O; times are monotonic seconds.

A track may have several formats, by payload type: a camera announces some and sends one. The first packet decides;
later, :data:`SWITCH_PACKETS` packets of another one in a row do. Packets of types that are not known (comfort noise,
telephone events, RFC 3389, RFC 4733) are counted and left out. Where a camera sends a type that it does not announce,
and none of those that it does, it is taken for the format that is expected: that of video at once, of sound after
:data:`UNKNOWN_FIRST_PACKETS`, and after other packets, or where the type is static, :data:`UNKNOWN_PACKETS` later.

A camera that sets the padding bit without padding would lose the ends of its packets: once a packet has none, the bit
of its source means nothing.

Over TCP, a gap in the sequence numbers is a loss only where :mod:`gateway.rtsp.sequence_trust` says so.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.rtsp import rtcp
from gateway.rtsp.depacketize import Depacketizer, Frame
from gateway.rtsp.depacketize.codec_finder import CodecFinder
from gateway.rtsp.depacketize.nal import NalDepacketizer
from gateway.rtsp.rtp import (
    HEADER,
    HEADER_BYTES,
    PLAIN,
    TIMESTAMP_MODULUS,
    RecentPackets,
    ReorderBuffer,
    RtpHeader,
    SequenceCounter,
    TimestampUnwrapper,
    parse_header,
)
from gateway.rtsp.sequence_trust import SequenceTrust

SOURCE_SILENT_S = 2.0
"""A source that returns so soon after another one has followed it has not ended, in seconds: the camera sends two at
once. Then the other one is refused for as long as this one is not silent for this time."""

RTP_INFO_MAX_S = 10
"""A first packet this long after the time of RTP-Info, in seconds, has nothing to do with it: many cameras write any
number there."""


QUIET_S = 0.5
"""After so long without a packet, in seconds, the camera has sent the whole picture."""

SWITCH_PACKETS = 4
UNKNOWN_PACKETS, UNKNOWN_FIRST_PACKETS = 32, 8
"""See the module."""

DYNAMIC_TYPE = 96
"""The first payload type that has no meaning of its own (RFC 3551 §6)."""


@dataclass(frozen=True, slots=True)
class PayloadFormat:
    """What becomes of one payload type. ``on_frame`` gets each frame and the time of its last packet."""

    payload_type: int
    clock_rate: int
    depacketizer: Depacketizer
    on_frame: Callable[[Frame, float], None]


class ReceivedTrack:
    """See the module."""

    def __init__(
        self,
        *formats: PayloadFormat,
        first_timestamp: Callable[[], int | None] = lambda: None,
        first_sequence: Callable[[], int | None] = lambda: None,
        is_reordered: bool,
    ) -> None:
        """The first of the ``formats`` is the one that is expected. ``is_reordered`` for UDP.

        ``first_timestamp`` gives the RTP time of the moment at which the session plays (RTP-Info), once that is known.
        Frames count their time from there, so that tracks share a beginning; and from the first packet where it is
        missing or implausible.
        ``first_sequence`` gives the sequence number of RTP-Info.
        """
        self.lost = 0
        """Packets that did not come, or too late."""
        self._refused = 0
        self._is_padding_real = True
        """Whether no packet had the padding bit and no padding."""
        self._skipped = 0
        """Packets since the last one of a type that is known, lost or not."""
        self.last_report: rtcp.SenderReport | None = None
        self.last_report_at = 0.0
        self.has_ended = False
        """The source has said goodbye (RFC 3550 §6.6)."""
        self.formats = formats
        self._format = formats[0]
        self._is_decided = False
        self._other_packets = 0
        self._own_ssrc = secrets.randbits(32)
        self._ssrc: int | None = None
        self.heard_at = 0.0
        """When the newest packet came, in monotonic seconds."""
        self._former: tuple[int, float] | None = None
        """The source before this one, and when it was left."""
        self._has_several = False
        self._sequence = SequenceCounter(formats[0].clock_rate)
        self._unwrapper = TimestampUnwrapper()
        self._first_timestamp = first_timestamp
        self._base: int | None = None
        self._timestamp: int | None = None
        """That of the newest packet, and the time that it stands for."""
        self._time = 0
        self._reorder: ReorderBuffer | None = None
        self._first_sequence = first_sequence
        self._is_reordered = is_reordered
        self._recent = RecentPackets()
        self._trust = SequenceTrust()
        self.received_elsewhere: Callable[[], int] = lambda: 0
        """How many packets the other tracks of the session have received."""

    @property
    def invalid(self) -> int:
        """Packets that are no RTP, or of another payload type or source, and payloads that their format forbids."""
        return self._refused + sum(each.depacketizer.malformed for each in self.formats)

    def replace_depacketizer(self, former: Depacketizer, depacketizer: Depacketizer) -> None:
        """Let the format that had ``former`` have another one from the next packet on."""
        for each in self.formats:
            if each.depacketizer is former:
                changed = replace(each, depacketizer=depacketizer)
                self.formats = tuple(changed if other is each else other for other in self.formats)
        if self._format.depacketizer is former:
            # It may have been adopted for another payload type.
            self._format = replace(self._format, depacketizer=depacketizer)

    @property
    def received(self) -> int:
        """Packets of the present source that came."""
        return self._sequence.received

    def receive(self, packet: memoryview, now: float) -> None:
        """Take an RTP packet; the view is valid during the call only."""
        if self._is_reordered or len(packet) <= HEADER_BYTES:
            self._receive_any(packet, now)
            return
        first, second, sequence, timestamp, ssrc = HEADER.unpack_from(packet)
        format = self._format
        if (
            sequence != self._sequence.next
            or first != PLAIN
            or second & 0x7F != format.payload_type
            or ssrc != self._ssrc
        ):
            self._receive_any(packet, now)
            return
        # Nearly every packet: the next one of a source that is known. It costs a third here.
        self.heard_at = now
        self._other_packets = 0
        self._sequence.follow(timestamp, now)
        self._recent.note(packet)
        self._push(packet[HEADER_BYTES:], timestamp, second > 0x7F, 0, now)

    def _receive_any(self, packet: memoryview, now: float) -> None:
        """Take a packet of any kind."""
        header = parse_header(packet)
        if header is None or not (self._choose_format(header.payload_type) or self._is_interspersed(header)):
            self._refused += 1
            return
        if header.ssrc != self._ssrc and not self._change_source(header.ssrc, now):
            self._refused += 1
            return
        self.heard_at = now
        missing = self._sequence.count(header.sequence, header.timestamp, now)
        if self._is_reordered and self._reorder is None:
            self._reorder = ReorderBuffer(self._first_sequence())
        if self._reorder is None:
            if not self._recent.is_new(packet, is_ahead=self._sequence.is_ahead):
                return
            if missing or not self._sequence.is_ahead:
                missing *= self._trust.are_right(
                    missing, self._sequence.total, self.received_elsewhere(), is_ahead=self._sequence.is_ahead
                )
            self.lost += missing
            self._depacketize(packet, header, missing, now)
            return
        for raw, lost in self._reorder.push(header.sequence, bytes(packet), now):
            self._take_ordered(raw, lost, now)

    def expire(self, now: float) -> None:
        """Give up on packets that do not come (UDP), and pass on a picture that nothing has followed for
        :data:`QUIET_S`: it came then."""
        if self._reorder is not None:
            for raw, lost in self._reorder.expire(now):
                self._take_ordered(raw, lost, now)
        if now - self.heard_at < QUIET_S:
            return
        depacketizer = self._format.depacketizer
        if isinstance(depacketizer, CodecFinder):
            depacketizer = depacketizer.inner
        if isinstance(depacketizer, NalDepacketizer):
            for frame in depacketizer.pictures.release_marked():
                self._format.on_frame(frame, self.heard_at)

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

    def keyframe_request(self, number: int, now: float) -> bytes | None:
        """A request for a keyframe (RFC 4585, RFC 5104) after a report, or ``None`` before the first packet."""
        report = self.receiver_report(now)
        if report is None or self._ssrc is None:
            return None
        return report + rtcp.keyframe_request(self._own_ssrc, self._ssrc, number)

    def _change_source(self, ssrc: int, now: float) -> bool:
        """Whether to go on with another source: an encoder that restarts has a new one (RFC 3550 §8.2)."""
        if self._ssrc is not None:
            is_silent = now - self.heard_at >= SOURCE_SILENT_S
            if self._has_several and not is_silent:
                return False
            self._has_several = (
                self._former is not None and self._former[0] == ssrc and now - self._former[1] < SOURCE_SILENT_S
            )
            self._former = (self._ssrc, now)
            self._sequence = SequenceCounter(self._format.clock_rate, self._sequence.total)
            if self._reorder is not None:
                self._reorder = ReorderBuffer()
        self._ssrc = ssrc
        return True

    def _take_ordered(self, raw: bytes, lost: int, now: float) -> None:
        assert self._reorder is not None
        header = parse_header(raw)
        assert header is not None
        self.lost += lost
        self._depacketize(memoryview(raw), header, lost, now)

    def _choose_format(self, payload_type: int) -> bool:
        """Whether packets of this type are wanted; see the module."""
        if payload_type == self._format.payload_type:
            self._is_decided, self._other_packets = True, 0
            return True
        found = next((each for each in self.formats if each.payload_type == payload_type), None)
        self._other_packets += 1
        if found is None:
            return self._adopt(payload_type)
        if self._is_decided and self._other_packets < SWITCH_PACKETS:
            return False
        if found.clock_rate != self._format.clock_rate:
            self._unwrapper, self._base, self._timestamp = TimestampUnwrapper(), None, None
        self._format, self._is_decided, self._other_packets = found, True, 0
        return True

    def _adopt(self, payload_type: int) -> bool:
        """Take a type that was not announced for the format that is expected; see the module."""
        enough = UNKNOWN_PACKETS if self._is_decided else 1 if len(self.formats) == 1 else UNKNOWN_FIRST_PACKETS
        if payload_type < DYNAMIC_TYPE:
            # Of sound, it may be one of those that have a meaning (RFC 3551 §6).
            enough = UNKNOWN_PACKETS
            if len(self.formats) > 1 or self._is_decided:
                return False
        if self._other_packets < enough:
            return False
        self._format, self._other_packets = replace(self._format, payload_type=payload_type), 0
        return True

    def _is_interspersed(self, header: RtpHeader) -> bool:
        """Whether a packet of another type has a sequence number of this track."""
        return header.ssrc == self._ssrc

    def _depacketize(self, packet: memoryview, header: RtpHeader, lost: int, now: float) -> None:
        if header.payload_type != self._format.payload_type:
            self._refused += 1
            # Nothing of video is missing there.
            self._skipped += lost + (len(self.formats) > 1)
            return
        if header.is_padded:
            self._is_padding_real &= header.end < len(packet)
        end = header.end if self._is_padding_real else len(packet)
        self._push(packet[header.start : end], header.timestamp, header.marker, lost, now)

    def _push(self, payload: memoryview, timestamp: int, marker: bool, lost: int, now: float) -> None:
        if self._skipped:
            lost, self._skipped = lost + self._skipped, 0
        if timestamp != self._timestamp:
            self._timestamp = timestamp
            time = self._unwrapper.unwrap(timestamp)
            if self._base is None:
                self._base = self._first_time(timestamp)
            self._time = time - self._base
        format = self._format
        for frame in format.depacketizer.push(payload, self._time, marker=marker, lost=lost):
            format.on_frame(frame, now)

    def _first_time(self, timestamp: int) -> int:
        """Where the track's time begins, before or at its first timestamp."""
        playing_from = self._first_timestamp()
        if playing_from is not None:
            since = (timestamp - playing_from) % TIMESTAMP_MODULUS
            if since < RTP_INFO_MAX_S * self._format.clock_rate:
                return timestamp - since
        return timestamp
