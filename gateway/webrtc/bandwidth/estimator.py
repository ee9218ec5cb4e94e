"""BandwidthEstimator: how many bits a second a viewer's network carries, from transport-wide feedback.

Theory of operation. In the manner of Google Congestion Control (draft-ietf-rmcat-gcc-02): a delay-based and a
loss-based part look at the same feedback, and one estimate rises and falls with what they see.

              sent ──▶ SentPackets ◀── feedback
                           │ groups of packets
              ┌────────────┼─────────────┬─────────┐
        DelayDetector  LossDetector  ArrivalRate  Backlog
              └────────────┼─────────────┴─────────┘
                           ▼
                       estimate ◀── ProbeController (climbs where the camera alone sends too little)

A camera's rate is what it is, so most of the time much less is sent than the network carries. The rules follow:

1. Before there was any sign of congestion there is no estimate (``None``), and nothing limits the viewer. A new viewer
   gets a whole GOP at once, so the sign comes with it.
2. A growing queue lowers the estimate to ``DECREASE`` of what arrives (§5.5): a full link delivers what it can. So does
   a long queue (``LONG_QUEUE_S``) that stays, once for each ``DRAIN_INTERVAL_S``. The first GOP of a new viewer tells
   earlier (:mod:`gateway.webrtc.bandwidth.first_arrivals`), and so does a link that is suddenly much narrower than the
   stream (:mod:`gateway.webrtc.bandwidth.backlog`). What arrives is measured over the busiest tenth of a
   second: the rest of the time the camera may have sent less than the link carries.
3. Congestive loss lowers it by half of the loss (§6), but never below ``DECREASE`` of what arrives; ``LOSS_SEVERE`` to
   that at once.
4. Without either it rises by ``INCREASE`` a second, and near the rate of the last congestion by ``NEAR_PACKETS``
   packets a second; at most to ``ARRIVED_SHARE`` of what arrives (§5.5), since more is not known.
5. What has arrived is evidence: the estimate is not below the rate of the last second, unless there is congestion.
6. Probing (:mod:`gateway.webrtc.bandwidth.probing`) raises it beyond that.
7. Loss that does not depend on the rate takes back what it had lowered.
8. ``now`` is monotonic seconds. Nothing here waits or sends.
"""

from collections import deque
from collections.abc import Sequence

from gateway.webrtc.bandwidth.backlog import Backlog
from gateway.webrtc.bandwidth.delay import STANDING_MIN_S, DelayDetector, Usage
from gateway.webrtc.bandwidth.first_arrivals import FirstArrivals
from gateway.webrtc.bandwidth.loss import LOSS_GOOD, LOSS_SEVERE, LossDetector, Verdict
from gateway.webrtc.bandwidth.probing import ProbeController
from gateway.webrtc.bandwidth.sent_packets import ENTRIES_MAX, PacketGroup, SentPackets

ESTIMATE_MIN_BPS = 64_000
"""With less there is no video, and any network should carry this."""

DECREASE = 0.85
LONG_QUEUE_S = 0.5
"""All packets for so long are so late. Queues of good home routers are 0.1 to 0.3 s long. With more delay than this,
video is no longer live."""

FIRST_S = 3.0
"""A link that has carried video for so long is judged by ``LONG_QUEUE_S``: pauses of Wi-Fi look like a narrow link, but
the packets after one are on time."""

DRAIN_INTERVAL_S = 1.0
INCREASE = 1.08
NEAR_PACKETS = 4
NEAR_SHARE = 0.1
"""Within this share of the rate at which congestion began, the increase is a slow one."""

PACKET_BITS = 8 * 1200
ARRIVED_SHARE = 1.5

BACK_OFF_S = 0.3
"""From one decrease to the next, in addition to a round trip: what was sent before must have arrived."""

PACE_SHARE = 2.5
"""Of the estimate: the pace of a viewer whose network has been congested. libwebrtc's."""

PACE_QUEUE_S = 0.1
"""With a longer queue, the pace is the estimate, which is less than the network carries: the queue drains."""

ROUND_TRIP_WINDOW_S = 0.5
ROUND_TRIPS_MAX = 64
"""Receivers send 4 to 20 messages a second."""

RATE_WINDOW_S = 0.5
RATE_MIN_S = 0.1
BUSY_S = 0.1
"""Longer than the bursts in which Wi-Fi delivers what it has collected."""


class ArrivalRate:
    """The rate at which packets arrive, by the receiver's clock. That may stand still: the newest entries are kept."""

    def __init__(self) -> None:
        self._arrivals: deque[tuple[float, float]] = deque()
        """Times and bytes of the last ``RATE_WINDOW_S``, at most ``ENTRIES_MAX``."""
        self._bytes = 0.0
        self._busy: deque[tuple[float, float]] = deque()
        """The same of the last ``BUSY_S``."""
        self._busy_bytes = 0.0
        self._peaks: deque[tuple[float, float]] = deque(maxlen=ENTRIES_MAX)
        """Times and rates of busy spans, those that no later one exceeds."""

    def add(self, group: PacketGroup) -> None:
        """Count a group."""
        at_s = group.last_arrival_s
        self._arrivals.append((at_s, group.received_bytes))
        self._bytes += group.received_bytes
        while self._arrivals[0][0] < at_s - RATE_WINDOW_S or len(self._arrivals) > ENTRIES_MAX:
            self._bytes -= self._arrivals.popleft()[1]
        self._busy.append((at_s, group.received_bytes))
        self._busy_bytes += group.received_bytes
        while self._busy[0][0] < at_s - BUSY_S or len(self._busy) > ENTRIES_MAX:
            self._busy_bytes -= self._busy.popleft()[1]
        rate = self._busy_bps(group)
        while self._peaks and self._peaks[-1][1] <= rate:
            self._peaks.pop()
        self._peaks.append((at_s, rate))
        while self._peaks[0][0] < at_s - RATE_WINDOW_S:
            self._peaks.popleft()

    def _busy_bps(self, group: PacketGroup) -> float:
        """The rate of the last ``BUSY_S``: of what arrived after the first packet; 0 if that is too little to know."""
        began_s, first_bytes = self._busy[0]
        span_s, size = group.last_arrival_s - began_s, self._busy_bytes - first_bytes
        own_s = group.last_arrival_s - group.first_arrival_s
        if own_s > span_s:
            span_s, size = own_s, group.received_bytes * (1 - 1 / group.received)
        return 8 * size / span_s if span_s >= BUSY_S / 2 else 0.0

    @property
    def bps(self) -> float | None:
        """Bits a second over ``RATE_WINDOW_S``; ``None`` if too little has arrived to know."""
        if not self._arrivals:
            return None
        began_s, first_bytes = self._arrivals[0]
        span_s = self._arrivals[-1][0] - began_s
        return 8 * (self._bytes - first_bytes) / span_s if span_s >= RATE_MIN_S else None

    @property
    def peak_bps(self) -> float:
        """The highest rate over ``BUSY_S`` in this time: what a link carries that was full only during a keyframe."""
        return self._peaks[0][1] if self._peaks else 0.0


class BandwidthEstimator:
    """The estimator of one viewer; see the module's rules."""

    def __init__(self, sent: SentPackets, probing: ProbeController | None = None) -> None:
        self.estimate_bps: float | None = None
        """On the wire, all streams together. ``None``: no limit is known."""
        self.arrived_bps: float | None = None
        """What arrives at present."""
        self.carried_bps = 0.0
        """The same, in the busiest tenth of a second."""
        self.stream_bps = 0.0
        """What is to be sent, in bits a second; 0: not known. Set by its owner."""
        self.drops = 0
        """How often the network has suddenly become much narrower than the stream."""
        self.probing = probing or ProbeController()
        self.delay = DelayDetector()
        self.loss = LossDetector()
        self._sent = sent
        self._rate = ArrivalRate()
        self._backlog = Backlog()
        self._feedback_s: float | None = None
        self._first_feedback_s = 0.0
        self._first: FirstArrivals | None = FirstArrivals()
        """For ``FIRST_S``, and until there is an estimate and no queue."""
        self._round_trip_s = 0.1
        self._newest_round_trip_s = 0.0
        self._round_trips: deque[tuple[float, float]] = deque()
        """When each of ``ROUND_TRIP_WINDOW_S`` was known, and how long it was, oldest first."""
        self._lowered_s = -1e9
        self._congested_bps: float | None = None
        """What arrived when the estimate was last lowered for a queue or loss."""
        self._before_loss_bps: float | None = None
        """The estimate before loss lowered it; 0 for none at all; ``None``: loss has not lowered it."""

    @property
    def queue_s(self) -> float:
        """How long packets wait in the network's queue, at least."""
        return self.delay.standing_s

    @property
    def pace_bps(self) -> float | None:
        """How fast a keyframe may be sent, on the wire; ``None``: as fast as to anybody."""
        first = self._first
        if self.estimate_bps is None:
            return None if first is None else first.rate_bps
        return self.estimate_bps * (1.0 if self.is_queued else PACE_SHARE)

    @property
    def is_queued(self) -> bool:
        """Whether packets wait in a queue, which is to drain."""
        return self.queue_s >= PACE_QUEUE_S or (self._first is not None and self._first.is_late)

    @property
    def round_trip_s(self) -> float:
        """From the sending of the newest packet that has arrived to the feedback about it; 0 before there was any."""
        return self._newest_round_trip_s

    @property
    def least_round_trip_s(self) -> float:
        """The shortest of the last ``ROUND_TRIP_WINDOW_S``; 0 before there was any.

        Receivers collect up to 0.1 s of arrivals in a message, which the others have in them.
        """
        return min((each for _, each in self._round_trips), default=0.0)

    @property
    def has_feedback(self) -> bool:
        """Whether the viewer has sent any."""
        return self._feedback_s is not None

    def take(self, now: float, base_sequence: int, reference: int, arrivals: Sequence[int | None]) -> None:
        """Take a feedback message (see :class:`~gateway.webrtc.rtp.transport_cc.TransportFeedback`)."""
        groups = self._sent.take(base_sequence, reference, arrivals)
        if not groups:
            return
        if self._feedback_s is None:
            self._first_feedback_s = now
        elapsed_s = 0.0 if self._feedback_s is None else min(now - self._feedback_s, 1.0)
        self._feedback_s = now
        received = lost = 0
        usage = Usage.NORMAL
        for group in groups:
            received += group.received
            lost += group.lost
            if group.received:
                self.delay.add(group.sent_s, group.first_arrival_s)
                self._rate.add(group)
                self.probing.arrived(group)
                if self.delay.usage is Usage.OVERUSE or usage is Usage.NORMAL:
                    usage = self.delay.usage
            self.probing.lost(group)
        self._backlog.add(groups, self.delay.least_s)
        if self._first is not None:
            self._first.add(groups)
            if now - self._first_feedback_s >= FIRST_S:
                self._first = None
        if received:
            self._newest_round_trip_s = now - groups[-1].sent_s
            self._note_round_trip(now)
            self._round_trip_s += 0.1 * (self._newest_round_trip_s - self._round_trip_s)
        self.arrived_bps = self._rate.bps
        self.carried_bps = max(self._rate.peak_bps, self.arrived_bps or 0.0)
        self._adapt(now, elapsed_s, usage, self._verdict(now, received, lost))

    def _note_round_trip(self, now: float) -> None:
        trips = self._round_trips
        while trips and (trips[0][0] < now - ROUND_TRIP_WINDOW_S or len(trips) >= ROUND_TRIPS_MAX):
            trips.popleft()
        trips.append((now, self._newest_round_trip_s))

    def _verdict(self, now: float, received: int, lost: int) -> Verdict:
        arrived = self.arrived_bps or 0.0
        share = received / (received + lost) if received and lost > 0 else 1.0
        return self.loss.add(now, received, lost, arrived / share, is_queued=self.delay.standing_s >= STANDING_MIN_S)

    def _adapt(self, now: float, elapsed_s: float, usage: Usage, verdict: Verdict) -> None:
        arrived = self.arrived_bps
        if arrived is None:
            return
        since_s = now - self._lowered_s
        may_lower = since_s >= BACK_OFF_S + self._round_trip_s
        is_long = since_s >= DRAIN_INTERVAL_S and self.delay.standing(LONG_QUEUE_S) >= LONG_QUEUE_S
        first = self._first
        if self.estimate_bps is None and first is not None and first.is_late:
            is_long = True
            if first.rate_bps is not None:
                self.carried_bps = min(self.carried_bps, first.rate_bps)
        if verdict is Verdict.RANDOM and self._before_loss_bps is not None:
            self.estimate_bps = self._before_loss_bps or None
            self._before_loss_bps = None
        expected = self.stream_bps if self.estimate_bps is None else min(self.stream_bps, self.estimate_bps)
        narrow = self._backlog.narrow_bps(expected) if first is None else None
        if narrow is not None:
            self.drops += 1
            self.carried_bps = narrow
            self._lower(now, DECREASE * narrow)
            self._before_loss_bps = None
        elif verdict is Verdict.BAD and may_lower:
            self._lower_for_loss(now, arrived)
        elif (usage is Usage.OVERUSE and may_lower) or is_long:
            self._lower(now, DECREASE * self.carried_bps)
            self._before_loss_bps = None
        elif verdict is not Verdict.BAD and usage is Usage.NORMAL and may_lower:
            self._raise(elapsed_s, arrived)
        self._take_probe(now, usage)

    def _lower_for_loss(self, now: float, arrived: float) -> None:
        loss, estimate = self.loss.loss, self.estimate_bps
        if self._before_loss_bps is None:
            self._before_loss_bps = estimate or 0.0
        sent = arrived / max(0.05, 1 - loss)
        if loss >= LOSS_SEVERE:
            self._lower(now, DECREASE * self.carried_bps)
            return
        most = sent if estimate is None else min(estimate, sent)
        self._lower(now, max(most * (1 - 0.5 * loss), DECREASE * self.carried_bps))

    def _lower(self, now: float, bps: float) -> None:
        """Lower the estimate to this, if it is above."""
        self._lowered_s = now
        self._congested_bps = self.carried_bps
        self.estimate_bps = max(ESTIMATE_MIN_BPS, bps if self.estimate_bps is None else min(self.estimate_bps, bps))
        self.probing.congested(now)

    def _raise(self, elapsed_s: float, arrived: float) -> None:
        estimate = self.estimate_bps
        if estimate is None:
            return
        if self.loss.loss < LOSS_GOOD or self.loss.random_loss is not None:
            near = self._congested_bps
            if near is not None and abs(estimate - near) <= NEAR_SHARE * near:
                higher = estimate + NEAR_PACKETS * PACKET_BITS * elapsed_s
            else:
                higher = estimate * INCREASE**elapsed_s
            estimate = max(estimate, min(higher, ARRIVED_SHARE * arrived + PACKET_BITS))
        self.estimate_bps = max(estimate, min(arrived, estimate * 1.5))

    def _take_probe(self, now: float, usage: Usage) -> None:
        found = self.probing.result(now)
        estimate = self.estimate_bps
        if found is None or estimate is None or usage is Usage.OVERUSE:
            return
        if found > estimate:
            self.estimate_bps, self._congested_bps = found, None
        elif self.arrived_bps is not None:
            # More was sent than the estimate, and less has arrived.
            self.estimate_bps, self._congested_bps = max(found, min(estimate, self.arrived_bps)), found
