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
3. Sending is paced by a token bucket. A batch is sent while the bucket is above zero, and may take it below zero.
4. A viewer that is more than ``LAG_MAX_90K`` behind (not counting a replay) is sent nothing until the next keyframe. A
   viewer that is still behind when a keyframe comes continues there. The frames left out are counted.
5. A retransmission is identical to the original packet: same timestamp, same payload.
6. Under a limit (:mod:`gateway.webrtc.bandwidth`) the limit is the pace, so rule 4 leaves out what exceeds it: the rest
   of a GOP, or whole ones. A keyframe is sent to its end once it is begun, however long that takes: otherwise the
   viewer might never get a whole one. PLI and FIR are answered by the next keyframe.
7. A viewer whose network has been congested has a pace of its own, which retransmissions share.
8. A probe (:mod:`gateway.webrtc.bandwidth.probing`) sends packets again that the viewer has, as RTX: receivers drop
   them. Without RTX there are no probes.
"""

import secrets
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.clock import CLOCK_RATE
from gateway.webrtc.rtp.packets import Frame, PacketHistory, PacketTemplate, rtp_packet
from gateway.webrtc.rtp.sequence_mapping import PacketFormat, SequenceMapping
from gateway.webrtc.rtp.srtp import OutboundSrtp
from gateway.webrtc.rtp.token_bucket import TokenBucket
from gateway.webrtc.rtp.transport_sequence import PacketLog
from gateway.webrtc.transport import Transport

PACE_BYTES_PER_S = 50_000_000 // 8
"""Half of the nominal rate of a 100 Mbit/s Wi-Fi, about what it carries. A 4 Mbit/s GOP of 10 s takes 0.8 s."""

BUCKET_BYTES = 80 * 1024
"""A keyframe of 4 Mbit/s at 30 fps goes out at once: a 100 Mbit/s Wi-Fi has carried it after 7 ms, and it is some 70
packets to queue on the way. Of a larger one this is the first batch."""

LAG_MAX_90K = CLOCK_RATE
"""A picture a second behind the live edge is no longer live."""

CATCH_UP_90K = CLOCK_RATE // 2
"""A viewer that is less than this behind a new keyframe is sent what is missing, and does not skip."""

REPLAY_STEP_90K = 90
"""Replayed frames are 1 ms apart: distinct for a receiver with a millisecond clock, and 300 of them are 0.3 s."""

RETRANSMIT_BYTES_PER_S = 1_000_000 // 8
"""Or the camera's rate, if that is more. More would be harmful: on a full link, retransmissions are what fills it. The
camera's rate repairs a link that loses half of the packets."""

RTX_AHEAD_S = 0.5
"""Under a limit, retransmissions may use up to this many seconds of it before new packets."""

RETRANSMIT_BUCKET_BYTES = 256 * 1024
"""Enough for one lost keyframe."""

LIMITED_BUCKET_S = 0.1
"""Under a limit or with a pace of its own, at most this many seconds of it are sent at once: narrow links have short
queues."""

PROBE_PAYLOAD_MIN_BYTES = 200
"""Smaller packets cost as much to send, and say little about a rate."""

PROBE_STEPS_MAX = 64
"""The search for a large enough packet ends after this many."""

KEYFRAME_INTERVAL_S = 1.0
"""PLI and FIR are answered at most once a second. Chromium repeats a PLI every 200 ms until it gets a keyframe."""

_MAPPINGS_MAX = 16
"""Mappings kept for retransmissions: more than there can be within a second of history."""


@dataclass(slots=True)
class _Probe:
    """A probe that is being sent."""

    began_s: float
    base_bytes: int
    """What the log had before."""
    bytes_per_s: float
    seconds: float
    bytes_min: int
    next_index: int
    """The packet that is sent again next; they are taken backwards."""


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
        self._srtp = srtp
        self._log = log if packet_format.media.transport_fields is not None else None
        """Counts what is sent; ``None`` without transport-wide sequence numbers."""
        self.ssrc = ssrc
        self.transport = transport
        self.rtx_ssrc = rtx_ssrc
        self._format = packet_format
        # Below 2^15, so that losing the first packets cannot make the receiver miss the roll-over (RFC 3711 §3.3.1).
        self._next_sequence = secrets.randbelow(1 << 15) if first_sequence is None else first_sequence
        self._rtx_sequence = secrets.randbelow(1 << 15)
        self._timestamp_offset = secrets.randbits(32)
        self._next_index = -1
        """-1: waiting for a keyframe."""
        self._mappings: deque[SequenceMapping] = deque(maxlen=_MAPPINGS_MAX)
        self._last_timestamp: int | None = None
        self._bucket = TokenBucket(BUCKET_BYTES)
        self._retransmit_bucket = TokenBucket(RETRANSMIT_BUCKET_BYTES)
        self._keyframe_at = 0.0
        self._keyframe_cost_s = 0.0
        self.pace_bytes_per_s = PACE_BYTES_PER_S
        self._own_pace_bytes_per_s: int | None = None
        self._now = 0.0
        self._probe: _Probe | None = None
        self.retransmit_bytes_per_s = RETRANSMIT_BYTES_PER_S
        self._limit_bytes_per_s: int | None = None
        self._sends_single_packets = False
        """Under a limit, and then to the end of the frame: the cursor may stand within a batch."""
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
        self.retransmitted = 0
        self.retransmissions_refused = 0
        """Requested packets that are no longer in the history, or exceed the rate limit."""

    @property
    def is_waiting_for_keyframe(self) -> bool:
        return self._next_index < 0

    @property
    def limit_bytes_per_s(self) -> int | None:
        """The limit that is set; ``None`` without one."""
        return self._limit_bytes_per_s

    def set_limit(self, bytes_per_s: int | None, history: PacketHistory) -> bool:
        """Limit the rate from now on; ``None`` for no limit. Returns whether the viewer is behind because of it.

        A new limit begins with the GOP's keyframe: most of what was sent since is lost.
        """
        is_new = bytes_per_s is not None and self._limit_bytes_per_s is None and self._next_index >= 0
        if is_new:
            keyframe = history.gop_start
            if keyframe is None:
                self._next_index = -1
            else:
                self._seek(keyframe, history)
        self._limit_bytes_per_s = bytes_per_s
        self._sends_single_packets |= bytes_per_s is not None
        self._set_bucket()
        return is_new

    def continue_on(self, shift_90k: int, packet_format: PacketFormat | None = None) -> None:
        """Go on with another rendition, whose timeline is ``shift_90k`` behind the present one: :meth:`start` follows.

        ``packet_format`` is that of its codec, if it is another one. What was sent can still be sent again.
        """
        self._format = packet_format or self._format
        self._timestamp_offset += shift_90k
        self._next_index = -1
        self._pinned_keyframe = None
        self._sends_single_packets = self._limit_bytes_per_s is not None
        self._bucket.level_bytes = max(0.0, self._bucket.level_bytes)
        self._probe = None

    def set_pace(self, bytes_per_s: int | None) -> None:
        """Send no faster than this from now on; ``None``: as fast as to anybody. It may change often."""
        if bytes_per_s != self._own_pace_bytes_per_s:
            self._own_pace_bytes_per_s = bytes_per_s
            self._set_bucket()

    @property
    def can_probe(self) -> bool:
        """Whether the viewer has what probes need: RTX, and transport-wide sequence numbers."""
        return self._format.retransmission is not None and self._log is not None

    def begin_probe(self, now: float, bytes_per_s: float, seconds: float, bytes_min: int) -> bool:
        """Begin to send this rate, the media included. Returns whether it can; then call :meth:`probe`."""
        if not self.can_probe or self._log is None or self._next_index < 0 or self._probe is not None:
            return False
        base = self._log.bytes_sent
        self._probe = _Probe(now, base, bytes_per_s, seconds, bytes_min, self._next_index - 1)
        return True

    def probe(self, history: PacketHistory, now: float) -> bool:
        """Send what is due of the probe. Returns whether all of it has been sent."""
        probe, log = self._probe, self._log
        if probe is None or log is None:
            return True
        self._now = now
        due = probe.bytes_per_s * (now - probe.began_s)
        size = max(probe.bytes_min, probe.bytes_per_s * probe.seconds)
        while log.bytes_sent - probe.base_bytes <= due:
            if log.bytes_sent - probe.base_bytes >= size or not self._send_again(probe, history):
                self._probe = None
                break
        if log.bytes_sent - probe.base_bytes >= size:
            self._probe = None
        return self._probe is None

    def start(self, history: PacketHistory, now: float) -> bool:
        """Move to the current GOP's keyframe, or wait for the next one. Returns whether there is something to send."""
        self._refill(now)
        keyframe = history.gop_start
        if keyframe is None:
            self._next_index = -1
            return False
        self._seek(keyframe, history)
        self._note_replay(history, now)
        return True

    def request_keyframe(self, history: PacketHistory, now: float) -> bool:
        """Answer a PLI or FIR from the GOP. Returns whether it is answered.

        Not during a replay, and not again before the last one can have arrived.
        """
        if self._next_index < history.end_index or self.is_waiting_for_keyframe or self._limit_bytes_per_s is not None:
            return False
        keyframe = history.gop_start
        if keyframe is None or now - self._keyframe_at < max(KEYFRAME_INTERVAL_S, 2 * self._keyframe_cost_s):
            return False
        self._seek(keyframe, history)
        self._note_replay(history, now)
        return True

    def on_frame(self, frame: Frame, history: PacketHistory, now: float) -> bool:
        """The camera's next frame, already in the history. Returns whether the viewer is at the live edge now."""
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
        """Send these 16-bit sequence numbers again, as RTX (RFC 4588) if that was negotiated."""
        self._retransmit_bucket.refill(now, self.retransmit_bytes_per_s)
        self._refill(now)
        for sequence in sequences:
            if not self._retransmit(sequence):
                self.retransmissions_refused += 1

    def timestamp(self, timeline_90k: int) -> int:
        """A time of the camera's timeline as this viewer's RTP timestamp."""
        return (timeline_90k + self._timestamp_offset) & 0xFFFFFFFF

    def _seek(self, keyframe: Frame, history: PacketHistory) -> None:
        newest = history.newest
        assert newest is not None
        frames = newest.number - keyframe.number + 1
        edge = newest.timestamp + self._timestamp_offset
        step = REPLAY_STEP_90K
        if self._last_timestamp is not None:
            step = min(step, (edge - self._last_timestamp) // frames)
        start = edge - (frames - 1) * step
        if step < 1:
            # All of it was sent before. Time advances by one tick per frame, a few ms at most; sender reports include
            # this.
            assert self._last_timestamp is not None
            step, start = 1, self._last_timestamp + 1
            self._timestamp_offset += start + frames - 1 - edge
        self._next_index = keyframe.first_index
        self._mappings.append(
            SequenceMapping(
                history=history,
                format=self._format,
                first_sequence=self._next_sequence,
                first_index=keyframe.first_index,
                timestamp_offset=self._timestamp_offset,
                replay_from=keyframe.number,
                replay_until=newest.number + 1,
                replay_timestamp=start,
                replay_step=step,
            )
        )

    def _note_replay(self, history: PacketHistory, now: float) -> None:
        self.replays += 1
        self._keyframe_at = now
        self._keyframe_cost_s = history.gop_bytes / self.pace_bytes_per_s

    def _set_bucket(self) -> None:
        shared = self._shared_bytes_per_s
        self._bucket.capacity_bytes = BUCKET_BYTES if shared is None else min(BUCKET_BYTES, LIMITED_BUCKET_S * shared)

    @property
    def _shared_bytes_per_s(self) -> int | None:
        """The rate that media and retransmissions share; ``None`` without a limit and a pace of its own."""
        return self._own_pace_bytes_per_s if self._limit_bytes_per_s is None else self._limit_bytes_per_s

    def _refill(self, now: float) -> None:
        self._now = now
        own = self._own_pace_bytes_per_s
        pace = self.pace_bytes_per_s if own is None else min(own, self.pace_bytes_per_s)
        self._bucket.refill(now, self._limit_bytes_per_s or pace)

    def _frame_of(self, index: int, history: PacketHistory) -> Frame | None:
        pinned = self._pinned_keyframe
        return (
            pinned if pinned is not None and pinned.first_index <= index < pinned.end_index else history.frame_of(index)
        )

    def _is_late(self, frame: Frame, newest: Frame) -> bool:
        if newest.timestamp - frame.timestamp <= LAG_MAX_90K:
            return False
        if self._limit_bytes_per_s is None:
            return frame.number >= self._mappings[-1].replay_until
        # Of a replay, only the keyframe is worth sending under a limit.
        return not frame.is_keyframe or (frame.number >= self._mappings[-1].replay_until and not self._is_begun(frame))

    def _is_begun(self, frame: Frame) -> bool:
        """Whether it is a keyframe that was begun under a limit and must be sent to its end."""
        return self._limit_bytes_per_s is not None and frame.is_keyframe and self._next_index > frame.first_index

    def _send(self, frame: Frame) -> bool:
        """Send the frame from the cursor on. Returns whether all of it was sent."""
        if self._sends_single_packets:
            return self._send_single_packets(frame)
        mapping = self._mappings[-1]
        timestamp = mapping.timestamp(frame)
        done = self._next_index - frame.first_index
        template = self._format.media
        overhead = template.header_bytes + template.auth_tag_bytes
        log, fields, transport = self._log, template.transport_fields, None
        for batch in frame.gso_batches(template):
            if batch.first < done:
                continue
            if self._bucket.level_bytes <= 0 or self.transport.is_full:
                return False
            if log is not None and fields is not None:
                transport = fields, log.next_sequence
            data = self._srtp.protect_batch(batch, self._next_sequence, timestamp, self.ssrc, transport)
            if not self.transport.send(data, batch.segment_bytes):
                return False
            size = len(batch.data)
            if log is not None:
                log.add(self._now, batch.count, size)
            self._bucket.level_bytes -= size
            self._next_index += batch.count
            self._next_sequence += batch.count
            self.packets_sent += batch.count
            self.payload_bytes_sent += size - batch.count * overhead
            self._last_timestamp = timestamp
        return True

    def _send_single_packets(self, frame: Frame) -> bool:
        """As :meth:`_send`, under a limit: a batch of 32 packets would be a second of a narrow network."""
        if frame.is_keyframe:
            self._pinned_keyframe = frame
        timestamp = self._mappings[-1].timestamp(frame)
        while self._next_index < frame.end_index:
            if self._bucket.level_bytes <= 0 or self.transport.is_full:
                return False
            payload = frame.payloads[self._next_index - frame.first_index]
            marker = self._next_index == frame.end_index - 1
            size = self._send_one(
                self._format.media, payload, self._next_sequence, timestamp & 0xFFFFFFFF, self.ssrc, marker=marker
            )
            if not size:
                return False
            self._bucket.level_bytes -= size
            self._next_index += 1
            self._next_sequence += 1
            self.packets_sent += 1
            self.payload_bytes_sent += len(payload)
            self._last_timestamp = timestamp
        self._sends_single_packets = self._limit_bytes_per_s is not None
        if not self._sends_single_packets:
            self._pinned_keyframe = None
        return True

    def _retransmit(self, sequence: int) -> bool:
        full = self._next_sequence - 1 - ((self._next_sequence - 1 - sequence) & 0xFFFF)
        mapping = next((mapping for mapping in reversed(self._mappings) if mapping.first_sequence <= full), None)
        if mapping is None:
            return False
        shared, is_present = self._shared_bytes_per_s, mapping is self._mappings[-1]
        if shared is not None and (not is_present or self._bucket.level_bytes < -RTX_AHEAD_S * shared):
            # Skipped frames are no longer needed, and all packets share one rate.
            return False
        index = mapping.first_index + full - mapping.first_sequence
        history = mapping.history
        frame = self._frame_of(index, history) if is_present else history.frame_of(index)
        if frame is None or self._retransmit_bucket.level_bytes < len(frame.payloads[index - frame.first_index]):
            return False
        size = self._send_copy(frame, index, mapping)
        self._retransmit_bucket.level_bytes -= size
        if shared is not None:
            self._bucket.level_bytes -= size
        self.retransmitted += size > 0
        return size > 0

    def _send_again(self, probe: _Probe, history: PacketHistory) -> bool:
        """Send one packet of a probe. Returns whether there was one."""
        mapping = self._mappings[-1]
        for _ in range(PROBE_STEPS_MAX):
            index = probe.next_index
            probe.next_index -= 1
            if probe.next_index < max(mapping.first_index, history.start_index):
                probe.next_index = self._next_index - 1
            frame = history.frame_of(index) if index >= mapping.first_index else None
            if frame is None or len(frame.payloads[index - frame.first_index]) < PROBE_PAYLOAD_MIN_BYTES:
                continue
            size = self._send_copy(frame, index, mapping)
            self.probe_bytes += size
            return size > 0
        return False

    def _send_copy(self, frame: Frame, index: int, mapping: SequenceMapping) -> int:
        """Send a packet again. Returns its size on the wire; 0 if the transport did not take it."""
        payload, marker = frame.payloads[index - frame.first_index], index == frame.end_index - 1
        sequence, timestamp = mapping.sequence(index) & 0xFFFF, mapping.timestamp(frame) & 0xFFFFFFFF
        rtx_template = mapping.format.retransmission
        if rtx_template is None:
            return self._send_one(mapping.format.media, payload, sequence, timestamp, self.ssrc, marker=marker)
        body, rtx_sequence = sequence.to_bytes(2, "big") + payload, self._rtx_sequence
        self._rtx_sequence += 1
        return self._send_one(rtx_template, body, rtx_sequence, timestamp, self.rtx_ssrc, marker=marker)

    def _send_one(
        self, template: PacketTemplate, payload: bytes, sequence: int, timestamp: int, ssrc: int, *, marker: bool
    ) -> int:
        """Send a packet. Returns its size on the wire; 0 if the transport did not take it."""
        log = self._log
        number = 0 if log is None else log.next_sequence
        plain = rtp_packet(template, payload, sequence, timestamp, ssrc, marker=marker, transport_sequence=number)
        data = self._srtp.protect_packet(plain)
        if not self.transport.send(data, len(data)):
            return 0
        if log is not None:
            log.add(self._now, 1, len(data))
        return len(data)
