"""VideoSender: what one viewer has been sent of a camera's video, and what it is sent next.

Theory of operation. A viewer has a cursor in the camera's :class:`~gateway.webrtc.rtp.packets.PacketHistory`: the
packet index to send next. A viewer at the live edge is sent each frame as it comes (:meth:`VideoSender.on_frame`). For
a viewer that is behind, the fan-out's pacer sends what is missing (:meth:`VideoSender.advance`). Joining, answering a
PLI and falling behind are the same operation: the cursor moves to a keyframe, and a new
:class:`~gateway.webrtc.rtp.sequence_mapping.SequenceMapping` begins.

Rules:

1. Sequence numbers are contiguous, whatever is skipped or repeated: a viewer would request a gap in vain.
2. Timestamps always increase. The frames of a replay are put close together, so that they end at the live edge: a
   receiver shows them at once, and plays the following ones on time.
3. Sending is paced (:mod:`gateway.webrtc.rtp.send_pace`), for a viewer whose network has been congested by a pace of
   its own, which retransmissions share.
4. A viewer that is more than ``LAG_MAX_90K`` behind (not counting a replay) is sent nothing until the next keyframe. A
   viewer that is still behind when a keyframe comes continues there. The frames left out are counted.
5. Under a limit (:mod:`gateway.webrtc.bandwidth`) the limit is the pace, so rule 4 leaves out what exceeds it: the rest
   of a GOP, or whole ones. A keyframe is sent to its end once it is begun, however long that takes: otherwise the
   viewer might never get a whole one. PLI and FIR are answered by the next keyframe.
6. A viewer whose network has suddenly become narrow is sent nothing until its queue is empty. It continues with the
   last keyframe.
7. A probe (:mod:`gateway.webrtc.bandwidth.probing`) sends packets again that the viewer has, as RTX: receivers drop
   them. Without RTX there are no probes.
"""

import secrets
from collections import deque
from collections.abc import Iterable

from gateway.clock import CLOCK_RATE
from gateway.webrtc.rtp.packet_sender import PacketSender
from gateway.webrtc.rtp.packets import Frame, PacketHistory
from gateway.webrtc.rtp.probe_sender import ProbeSender
from gateway.webrtc.rtp.retransmitter import Retransmitter
from gateway.webrtc.rtp.send_pace import SendPace
from gateway.webrtc.rtp.sequence_mapping import PacketFormat, SequenceMapping, replay
from gateway.webrtc.rtp.srtp import OutboundSrtp
from gateway.webrtc.rtp.transport_sequence import PacketLog
from gateway.webrtc.transport import Transport

LAG_MAX_90K = CLOCK_RATE
"""A picture a second behind the live edge is no longer live."""

CATCH_UP_90K = CLOCK_RATE // 2
"""A viewer that is less than this behind a new keyframe is sent what is missing, and does not skip."""

KEYFRAME_INTERVAL_S = 1.0
"""PLI and FIR are answered at most once a second. Chromium repeats a PLI every 200 ms until it gets a keyframe."""

_MAPPINGS_MAX = 16
"""Mappings kept for retransmissions: more than there can be within a second of history."""


class VideoSender:
    """One viewer's video; see the module's rules. ``now`` is monotonic seconds throughout."""

    def __init__(
        self,
        srtp: OutboundSrtp,
        packet_format: PacketFormat,
        ssrc: int,
        transport: Transport,
        *,
        rtx_ssrc: int = 0,
        first_sequence: int | None = None,
        log: PacketLog | None = None,
    ) -> None:
        log = log if packet_format.media.transport_fields is not None else None
        self._packets = PacketSender(srtp, transport, ssrc, rtx_ssrc, log)
        self.ssrc = ssrc
        self._format = packet_format
        # Below 2^15, so that losing the first packets cannot make the receiver miss the roll-over (RFC 3711 §3.3.1).
        self._next_sequence = secrets.randbelow(1 << 15) if first_sequence is None else first_sequence
        self._timestamp_offset = secrets.randbits(32)
        self._next_index = -1
        """-1: waiting for a keyframe."""
        self._mappings: deque[SequenceMapping] = deque(maxlen=_MAPPINGS_MAX)
        self._last_timestamp: int | None = None
        self._pace = SendPace(log)
        self.retransmitter = Retransmitter(self._packets, self._mappings, self._pace.bucket)
        self._keyframe_at = 0.0
        self._keyframe_cost_s = 0.0
        self._probe: ProbeSender | None = None
        self._pinned_keyframe: Frame | None = None
        """Under a limit: the keyframe being sent, or sent last. Sending it may take longer than the history keeps
        it."""

        self.packets_sent = 0
        self.payload_bytes_sent = 0
        self.frames_dropped = 0
        """Frames left out because the viewer was behind."""
        self.replays = 0
        """How often the current GOP was sent from its start: once for joining, then for PLI and FIR, and each time
        that the rendition changed."""
        self.probe_bytes = 0
        """Sent for probes, the media not counted."""

    @property
    def transport(self) -> Transport:
        """Where the packets are sent."""
        return self._packets.transport

    @transport.setter
    def transport(self, transport: Transport) -> None:
        self._packets.transport = transport

    @property
    def is_waiting_for_keyframe(self) -> bool:
        return self._next_index < 0

    @property
    def limit_bytes_per_s(self) -> int | None:
        """The limit that is set; ``None`` without one."""
        return self._pace.limit_bytes_per_s

    @property
    def pace_bytes_per_s(self) -> int:
        """The pace of all viewers."""
        return self._pace.bytes_per_s

    @pace_bytes_per_s.setter
    def pace_bytes_per_s(self, bytes_per_s: int) -> None:
        self._pace.bytes_per_s = bytes_per_s

    def set_limit(self, bytes_per_s: int | None, history: PacketHistory, *, has_lost: bool = True) -> bool:
        """Limit the rate from now on; ``None`` for no limit. Returns whether the viewer is behind because of it.

        ``has_lost``: most of what was sent since the GOP's keyframe is lost, so a new limit begins with that. What is
        only late arrives.
        """
        is_new = bytes_per_s is not None and self.limit_bytes_per_s is None and self._next_index >= 0
        if is_new and has_lost:
            keyframe = history.gop_start
            if keyframe is None:
                self._next_index = -1
            else:
                self._seek(keyframe, history)
        self._pace.set_limit(bytes_per_s)
        return is_new

    def continue_on(self, shift_90k: int, packet_format: PacketFormat | None = None) -> None:
        """Go on with another rendition, whose timeline is ``shift_90k`` behind the present one: :meth:`start` follows.

        ``packet_format`` is that of its codec, if it is another one. What was sent can still be sent again.
        """
        self._format = packet_format or self._format
        self._timestamp_offset += shift_90k
        self._next_index = -1
        self._pinned_keyframe = None
        self._pace.restart()
        self._probe = None

    def set_pace(self, bytes_per_s: int | None) -> None:
        """Send no faster than this from now on; ``None``: as fast as to anybody. It may change often."""
        self._pace.set_own(bytes_per_s)

    def drain(self, now: float) -> None:
        """Begin rule 6."""
        if self._next_index >= 0 and self._pace.drain(now):
            self._next_index = -1
            self._probe = None

    @property
    def can_probe(self) -> bool:
        """Whether the viewer has what probes need: RTX, and transport-wide sequence numbers."""
        return self._format.retransmission is not None and self._packets.log is not None

    def begin_probe(self, now: float, bytes_per_s: float, seconds: float, bytes_min: int) -> bool:
        """Begin to send this rate, the media included. Returns whether it can; then call :meth:`probe`."""
        log = self._packets.log
        if not self.can_probe or log is None or self._next_index < 0 or self._probe is not None:
            return False
        self._probe = ProbeSender(self._packets, log, now, bytes_per_s, seconds, bytes_min, self._next_index)
        return True

    def probe(self, history: PacketHistory, now: float) -> bool:
        """Send what is due of the probe. Returns whether all of it has been sent."""
        probe = self._probe
        if probe is None:
            return True
        self._packets.now = now
        before = probe.sent_bytes
        is_over = probe.send_due(self._mappings[-1], history, self._next_index, now)
        self.probe_bytes += probe.sent_bytes - before
        if is_over:
            self._probe = None
        return is_over

    def start(self, history: PacketHistory, now: float) -> bool:
        """Move to the current GOP's keyframe, or wait for the next one. Returns whether there is something to send."""
        self._refill(now)
        keyframe = history.gop_start
        if keyframe is None or self._pace.is_draining:
            self._next_index = -1
            return False
        self._seek(keyframe, history)
        self._note_replay(history, now)
        return True

    def request_keyframe(self, history: PacketHistory, now: float) -> bool:
        """Answer a PLI or FIR from the GOP. Returns whether it is answered.

        Not during a replay, and not again before the last one can have arrived.
        """
        if self._next_index < history.end_index or self.is_waiting_for_keyframe or self.limit_bytes_per_s is not None:
            return False
        keyframe = history.gop_start
        if keyframe is None or now - self._keyframe_at < max(KEYFRAME_INTERVAL_S, 2 * self._keyframe_cost_s):
            return False
        self._seek(keyframe, history)
        self._note_replay(history, now)
        return True

    def on_frame(self, frame: Frame, history: PacketHistory, now: float) -> bool:
        """The camera's next frame, already in the history. Returns whether the viewer is at the live edge now."""
        if self._pace.is_draining:
            if not self._pace.end_drain(now):
                self.frames_dropped += 1
                return True
            self.start(history, now)
        if self._next_index != frame.first_index:
            if not frame.is_keyframe:
                self.frames_dropped += self._next_index < 0 and self._last_timestamp is not None
                return self._next_index < 0
            if self._next_index >= 0:
                current = self._frame_of(self._next_index, history)
                if current is not None and (
                    frame.timestamp - current.timestamp <= CATCH_UP_90K or self._is_begun(current)
                ):
                    return False
                self.frames_dropped += frame.number - current.number if current is not None else 1
            self._seek(frame, history)
        if frame.is_keyframe:
            self._keyframe_at = now
        self._refill(now)
        return self._send(frame)

    def advance(self, history: PacketHistory, now: float) -> bool:
        """Send what the pace permits of what is missing. Returns whether the viewer is at the live edge, or waits."""
        self._refill(now)
        while 0 <= self._next_index < history.end_index:
            frame = self._frame_of(self._next_index, history)
            newest = history.newest
            assert newest is not None
            if frame is None or self._is_late(frame, newest):
                left_out = frame.number if frame is not None else newest.number
                if (
                    frame is None
                    and self._pinned_keyframe is not None
                    and self._pinned_keyframe.end_index == self._next_index
                ):
                    left_out = self._pinned_keyframe.number + 1
                self.frames_dropped += newest.number - left_out + 1
                self._next_index = -1
                return True
            if not self._send(frame):
                return False
        return True

    def retransmit(self, sequences: Iterable[int], now: float) -> None:
        """Answer a NACK; see :class:`~gateway.webrtc.rtp.retransmitter.Retransmitter`."""
        self._refill(now)
        if self._pace.is_draining:
            self.retransmitter.refused += len(list(sequences))
            return
        self.retransmitter.answer(
            sequences,
            now,
            next_sequence=self._next_sequence,
            shared_bytes_per_s=self._pace.shared_bytes_per_s,
            pinned=self._pinned_keyframe,
        )

    def timestamp(self, timeline_90k: int) -> int:
        """A time of the camera's timeline as this viewer's RTP timestamp."""
        return (timeline_90k + self._timestamp_offset) & 0xFFFFFFFF

    def _seek(self, keyframe: Frame, history: PacketHistory) -> None:
        mapping = replay(
            keyframe,
            history,
            packet_format=self._format,
            first_sequence=self._next_sequence,
            timestamp_offset=self._timestamp_offset,
            last_timestamp=self._last_timestamp,
        )
        self._next_index, self._timestamp_offset = keyframe.first_index, mapping.timestamp_offset
        self._mappings.append(mapping)

    def _note_replay(self, history: PacketHistory, now: float) -> None:
        self.replays += 1
        self._keyframe_at = now
        self._keyframe_cost_s = history.gop_bytes / self.pace_bytes_per_s

    def _refill(self, now: float) -> None:
        self._packets.now = now
        self._pace.refill(now)

    def _frame_of(self, index: int, history: PacketHistory) -> Frame | None:
        pinned = self._pinned_keyframe
        return (
            pinned if pinned is not None and pinned.first_index <= index < pinned.end_index else history.frame_of(index)
        )

    def _is_late(self, frame: Frame, newest: Frame) -> bool:
        if newest.timestamp - frame.timestamp <= LAG_MAX_90K:
            return False
        if self.limit_bytes_per_s is None:
            return frame.number >= self._mappings[-1].replay_until
        # Of a replay, only the keyframe is worth sending under a limit.
        return not frame.is_keyframe or (frame.number >= self._mappings[-1].replay_until and not self._is_begun(frame))

    def _is_begun(self, frame: Frame) -> bool:
        """Whether it is a keyframe that was begun under a limit and must be sent to its end."""
        return self.limit_bytes_per_s is not None and frame.is_keyframe and self._next_index > frame.first_index

    def _send(self, frame: Frame) -> bool:
        """Send the frame from the cursor on. Returns whether all of it was sent."""
        if self._pace.single:
            return self._send_single_packets(frame)
        mapping = self._mappings[-1]
        timestamp = mapping.timestamp(frame)
        done = self._next_index - frame.first_index
        template = self._format.media
        overhead = template.header_bytes + template.auth_tag_bytes
        packets = self._packets
        for batch in frame.gso_batches(template):
            if batch.first < done:
                continue
            if packets.transport.is_full or not self._pace.may_send(packets.now):
                return False
            if not packets.send_batch(batch, template, self._next_sequence, timestamp):
                return False
            size = len(batch.data)
            self._pace.bucket.level_bytes -= size
            self._next_index += batch.count
            self._next_sequence += batch.count
            self.packets_sent += batch.count
            self.payload_bytes_sent += size - batch.count * overhead
            self._last_timestamp = timestamp
        return True

    def _send_single_packets(self, frame: Frame) -> bool:
        """As :meth:`_send`, while the rate is low: a batch of 32 packets would be a second of a narrow network."""
        if frame.is_keyframe and self.limit_bytes_per_s is not None:
            self._pinned_keyframe = frame
        timestamp = self._mappings[-1].timestamp(frame)
        while self._next_index < frame.end_index:
            if self._packets.transport.is_full or not self._pace.may_send(self._packets.now):
                return False
            payload = frame.payloads[self._next_index - frame.first_index]
            marker = self._next_index == frame.end_index - 1
            size = self._packets.send(
                self._format.media, payload, self._next_sequence, timestamp & 0xFFFFFFFF, self.ssrc, marker=marker
            )
            if not size:
                return False
            self._pace.bucket.level_bytes -= size
            self._next_index += 1
            self._next_sequence += 1
            self.packets_sent += 1
            self.payload_bytes_sent += len(payload)
            self._last_timestamp = timestamp
        self._pace.frame_sent()
        if self.limit_bytes_per_s is None:
            self._pinned_keyframe = None
        return True
