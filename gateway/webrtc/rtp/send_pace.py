"""SendPace: how fast one viewer may be sent video.

Rules:

1. A token bucket sets the pace: that of all viewers, or the viewer's own if its network has been congested. A batch is
   sent while the bucket is above zero, and may take it below zero.
2. Under a limit (:mod:`gateway.webrtc.bandwidth.limit`) the limit is the pace.
3. At a low rate each packet is sent by itself, and to the end of a frame that was begun so.
4. A new viewer is sent no more than a keyframe before it has told how that arrives
   (:mod:`gateway.webrtc.rtp.first_flight`).
5. After its network has suddenly become narrow it is sent nothing for as long as its queue drains
   (:mod:`gateway.webrtc.rtp.drain`).
"""

from gateway.webrtc.rtp.drain import Drain
from gateway.webrtc.rtp.first_flight import FLIGHT_BYTES, FirstFlight
from gateway.webrtc.rtp.token_bucket import TokenBucket
from gateway.webrtc.rtp.transport_sequence import PacketLog

PACE_BYTES_PER_S = 50_000_000 // 8
"""Half of the nominal rate of a 100 Mbit/s Wi-Fi, about what it carries. A 4 Mbit/s GOP of 10 s takes 0.8 s."""

BUCKET_BYTES = FLIGHT_BYTES
"""A keyframe of 4 Mbit/s at 30 fps goes out at once: a 100 Mbit/s Wi-Fi has carried it after 7 ms, and it is some 70
packets to queue on the way. Of a larger one this is the first batch."""

LIMITED_BUCKET_S = 0.1
PACED_BUCKET_S = 0.02
"""Under a limit, or with a pace of its own, at most this many seconds of it are sent at once: narrow links have short
queues, and those of a few Mbit/s drop half of a keyframe that comes at once."""

SINGLE_PACKETS_BYTES_PER_S = 2_000_000 // 8
"""Below this rate a batch of 32 packets is a seventh of a second of it, and each packet is sent by itself."""


class SendPace:
    """Of one viewer; ``now`` is monotonic seconds. ``log`` is ``None`` without transport-wide feedback."""

    __slots__ = (
        "_drain",
        "_flight",
        "_log",
        "_own_bytes_per_s",
        "bucket",
        "bytes_per_s",
        "limit_bytes_per_s",
        "single",
    )

    def __init__(self, log: PacketLog | None) -> None:
        self.bucket = TokenBucket(BUCKET_BYTES)
        self.bytes_per_s = PACE_BYTES_PER_S
        """That of all viewers."""
        self.limit_bytes_per_s: int | None = None
        self.single = False
        """Whether packets are sent one by one (rule 3)."""
        self._own_bytes_per_s: int | None = None
        self._log = log
        self._flight = FirstFlight(log)
        self._drain: Drain | None = None

    @property
    def shared_bytes_per_s(self) -> int | None:
        """The rate that media and retransmissions share; ``None`` without a limit and a pace of its own."""
        return self._own_bytes_per_s if self.limit_bytes_per_s is None else self.limit_bytes_per_s

    @property
    def is_slow(self) -> bool:
        """Whether packets are sent by themselves; under a limit in any case, for what is begun is counted by packet."""
        shared = self.shared_bytes_per_s
        return self.limit_bytes_per_s is not None or (shared is not None and shared < SINGLE_PACKETS_BYTES_PER_S)

    def set_limit(self, bytes_per_s: int | None) -> None:
        """Rule 2; ``None`` for no limit."""
        self.limit_bytes_per_s = bytes_per_s
        if bytes_per_s is not None:
            self._flight.end()
        self._set_bucket()

    def set_own(self, bytes_per_s: int | None) -> None:
        """The viewer's own pace; ``None``: as fast as to anybody. It may change often."""
        if bytes_per_s != self._own_bytes_per_s:
            self._own_bytes_per_s = bytes_per_s
            self._flight.end()
            self._set_bucket()

    def restart(self) -> None:
        """Another stream begins. What the one before has used up is not held against it."""
        self.single = self.is_slow
        self.bucket.level_bytes = max(0.0, self.bucket.level_bytes)

    def frame_sent(self) -> None:
        """A frame was sent to its end."""
        self.single = self.is_slow

    def refill(self, now: float) -> None:
        """Add what has accrued since the last call."""
        own = self._own_bytes_per_s
        pace = self.bytes_per_s if own is None else min(own, self.bytes_per_s)
        self.bucket.refill(now, self.limit_bytes_per_s or pace)

    def may_send(self, now: float) -> bool:
        """Whether the next batch or packet may be sent."""
        return self.bucket.level_bytes > 0 and self._flight.may_send(now)

    def drain(self, now: float) -> bool:
        """Begin rule 5. Returns whether it has begun: not without feedback, and not again."""
        if self._log is None or self._drain is not None:
            return False
        self._drain = Drain(self._log, now)
        return True

    @property
    def is_draining(self) -> bool:
        """Whether nothing may be sent by rule 5. It ends with :meth:`end_drain`."""
        return self._drain is not None

    def end_drain(self, now: float) -> bool:
        """End rule 5 if the queue is empty. Returns whether it has just ended."""
        if self._drain is None or not self._drain.is_over(now):
            return False
        self._drain = None
        return True

    def _set_bucket(self) -> None:
        shared = self.shared_bytes_per_s
        seconds = PACED_BUCKET_S if self.limit_bytes_per_s is None else LIMITED_BUCKET_S
        self.bucket.capacity_bytes = BUCKET_BYTES if shared is None else min(BUCKET_BYTES, seconds * shared)
        self.single |= self.is_slow
