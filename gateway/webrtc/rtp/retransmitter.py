"""Retransmitter: answers a viewer's NACKs (RFC 4585 §6.2.1) from the packets that it was sent.

Rules:

1. A retransmission is identical to the original packet: same timestamp, same payload. It is sent as RTX (RFC 4588), if
   that was negotiated.
2. A packet is not sent again before the last copy can have arrived, a round trip later. Receivers repeat a NACK ten
   times a second, and a narrow network's queue may be a second long: the copies would fill all of it.
3. On a network that loses packets at random, each goes twice: where one is lost again, its picture waits for a tenth of
   a second or more, until the receiver asks again.
4. They have a rate of their own, so that a full link is not filled with them. Where the media has one (a limit, or a
   pace), both share that, and packets that the viewer no longer needs are not sent again.
"""

from collections import deque
from collections.abc import Iterable

from gateway.webrtc.rtp.packet_sender import PacketSender
from gateway.webrtc.rtp.packets import Frame
from gateway.webrtc.rtp.sequence_mapping import SequenceMapping
from gateway.webrtc.rtp.token_bucket import TokenBucket

RETRANSMIT_BYTES_PER_S = 1_000_000 // 8
"""Or the camera's rate, if that is more. More would be harmful: on a full link, retransmissions are what fills it. The
camera's rate repairs a link that loses half of the packets."""

RETRANSMIT_BUCKET_BYTES = 256 * 1024
"""Enough for one lost keyframe."""

AHEAD_S = 0.5
"""Where media and retransmissions share a rate, these may use up to so many seconds of it before new packets."""

ROUND_TRIP_MAX_S = 2.0
"""After a second no receiver waits for a lost packet. A measured round trip may be of a queue that is gone."""

RECENT_MAX = 1024
"""Packets whose last retransmission is remembered; the oldest are forgotten first. At 10 Mbit/s that is a second."""


class Retransmitter:
    """Of one viewer. ``mappings`` and ``bucket`` are those of its media; ``now`` is monotonic seconds."""

    def __init__(self, packets: PacketSender, mappings: deque[SequenceMapping], bucket: TokenBucket) -> None:
        self._packets = packets
        self._mappings = mappings
        self._shared = bucket
        self._own = TokenBucket(RETRANSMIT_BUCKET_BYTES)
        self._recent: dict[int, float] = {}
        """When each packet was last sent again, by its sequence number, oldest first."""
        self.bytes_per_s = RETRANSMIT_BYTES_PER_S
        self.round_trip_s = 0.0
        """As far as known; see rule 2."""
        self.copies = 1
        """See rule 3."""
        self.sent = 0
        self.refused = 0
        """Requested packets that are no longer in the history, were sent again a moment ago, or exceed the rate."""

    def answer(
        self,
        sequences: Iterable[int],
        now: float,
        *,
        next_sequence: int,
        shared_bytes_per_s: int | None,
        pinned: Frame | None,
    ) -> None:
        """Send these 16-bit sequence numbers again.

        ``next_sequence`` is the media's next one, and ``shared_bytes_per_s`` the rate of rule 4. ``pinned`` is a frame
        of the present mapping that is kept beyond its history.
        """
        self._own.refill(now, self.bytes_per_s)
        for sequence in sequences:
            full = next_sequence - 1 - ((next_sequence - 1 - sequence) & 0xFFFF)
            if self._is_recent(full, now) or not self._send(full, shared_bytes_per_s, pinned):
                self.refused += 1
                continue
            self.sent += 1
            self._recent.pop(full, None)
            self._recent[full] = now
            if len(self._recent) > RECENT_MAX:
                del self._recent[next(iter(self._recent))]

    def _is_recent(self, full: int, now: float) -> bool:
        return now - self._recent.get(full, float("-inf")) < min(self.round_trip_s, ROUND_TRIP_MAX_S)

    def _send(self, full: int, shared_bytes_per_s: int | None, pinned: Frame | None) -> bool:
        mapping = next((mapping for mapping in reversed(self._mappings) if mapping.first_sequence <= full), None)
        if mapping is None:
            return False
        is_present = mapping is self._mappings[-1]
        if shared_bytes_per_s is not None and (
            not is_present or self._shared.level_bytes < -AHEAD_S * shared_bytes_per_s
        ):
            # Skipped frames are no longer needed, and all packets share one rate.
            return False
        index = mapping.first_index + full - mapping.first_sequence
        is_pinned = is_present and pinned is not None and pinned.first_index <= index < pinned.end_index
        frame = pinned if is_pinned else mapping.history.frame_of(index)
        if frame is None or self._own.level_bytes < len(frame.payloads[index - frame.first_index]):
            return False
        size = sum(self._packets.send_again(frame, index, mapping) for _ in range(self.copies))
        self._own.level_bytes -= size
        if shared_bytes_per_s is not None:
            self._shared.level_bytes -= size
        return size > 0
