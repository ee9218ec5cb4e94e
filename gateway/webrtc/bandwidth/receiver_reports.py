"""ReportEstimator: how much video a viewer's network carries, from the viewer's RTCP receiver reports.

Theory of operation. A camera has one bitrate, and there is no smaller rendition to switch to. A network that is too
narrow can only be sent fewer frames. :class:`ReportEstimator` takes the receiver reports, about one a second, and
gives a limit in bytes a second, or none. Which frames are left out under a limit is the sender's decision.

              ┌── bad for OVERUSE_S ──▶         ┌── as bad with much less sent ──▶
    UNLIMITED                           LIMITED                                    RANDOM_LOSS
      ▲  └◀── everything arrives well ──┘                                               │
      └◀───────────────────────── good again, or RANDOM_LOSS_S later ───────────────────┘

Rules:

1. A report is bad if ``LOSS_BAD`` or more is lost, or if the round trip is ``DELAY_BAD_S`` longer than the shortest:
   packets are dropped, or wait in a queue. It is good if less than ``LOSS_GOOD`` is lost. Anything between changes
   nothing: retransmissions repair it. (The thresholds of draft-ietf-rmcat-gcc-02 §6.)
2. On overuse the limit is a little less than what arrived meanwhile: a full link delivers what it can.
3. Under a limit, bad reports lower it, and data that arrives well raises it after a while. If next to nothing was sent,
   that none of it was lost is no evidence.
4. If the loss stays the same with much less sent, it has another cause than congestion (radio, a bad cable). Leaving
   frames out does not help then, and is not done for ``RANDOM_LOSS_S``, or until the loss is another one.
5. What looked like a narrow link may have been an outage of two seconds. A first limit doubles with every report while
   there is nothing to send (the next keyframe of a long GOP is awaited), and is soon removed. If another limit is
   needed within ``RELAPSE_S``, the link is narrow, and reports without data no longer raise the limit.
6. ``now`` is monotonic seconds. Nothing here waits or sends.
"""

from dataclasses import dataclass
from enum import Enum

REPORT_S = 0.8
"""Shorter reports are added up to this: Chromium may send one with each NACK, and it covers three packets."""

LOSS_BAD = 0.10
LOSS_GOOD = 0.02

LOST_MIN = 3
"""Packets. Under a limit a report may cover only ten, and one lost of ten means little."""

DELAY_BAD_S = 0.5
"""Queues of good home routers are 0.1 to 0.3 s long. With more delay than this, video is no longer live."""

MIN_RTT_WINDOW_S = 30.0
"""How long the shortest round trip is remembered: this at least, twice this at most. Viewers move from Wi-Fi to 4G."""

OVERUSE_S = 1.5
"""Two reports at least: a single bad one may be short interference."""

OVERUSE_LOST_MIN = 12
"""Packets of these reports. A sub stream has 30 packets a second, of which 5 % random loss now and then takes 10 %."""

LOSS_SEVERE = 0.5
"""For a viewer whose reports have never been good: it has no frame yet and its player will not wait long, so the
limit is set without waiting for a second report."""

HEADROOM = 0.85
"""Share of what arrived: a full queue must drain, and audio and retransmissions need their share."""

DRAIN = 0.7
"""Multiplied with that where a queue delays packets: less must be sent than leaves the queue."""

LIMIT_MIN_BYTES_PER_S = 8_000
"""64 kbit/s, a keyframe of 80 KB in ten seconds. With less there is no video, and any network should carry this."""

CONFIRMING_SHARE = 0.2
"""A report that covers less than this share of the limit does not count as evidence."""

GROWTH_FIRST = 0.3
GROWTH_STEP = 0.05
GROWTH_MAX = 0.25
"""Growth for each second's worth of the limit that arrived well. The first limit is too low, since retransmissions took
their share of the link, or the link was down for a moment, so growth begins fast. After it has grown too far it begins
again with small steps: a link that has become five times as wide is full after 9 s, and a link that has not is exceeded
only slightly before the next report."""

GROWTH_DELAY_S = 3.0
GROWTH_DELAY_MAX_S = 40.0
"""Seconds' worth of the limit that must arrive well before it grows again. Doubled each time it grew too far, since
each time costs frames."""

RELAPSE_S = 30.0
"""See rule 5."""

UNLIMITED_AFTER_S = 4.0
UNLIMITED_SHARE = 0.8
"""The limit is removed after this share of the camera's rate has arrived for so long. A shorter time would not be
enough: a queue hides an overload for a while."""

LIMIT_MAX_SHARE = 2.0
"""Share of the camera's rate. Keyframes are bursts; a limit above this has no effect."""

EVALUATE_AFTER_S = 1.0
"""From a new limit to the first report that is evaluated, in addition to a round trip: packets sent before have arrived
by then, or are lost."""

EVALUATE_REPORTS = 3
"""Reports under a limit that are summed up before random loss is distinguished from congestion."""

REDUCED_SHARE = 0.7
"""Sending this share or less counts as much less."""

SAME_SHARE = 0.5
"""Losing this share or more counts as no better. What was seen before was a bad moment, so by chance it is too much."""

EXPERIMENT_SHARE = 0.6
LOSS_MILD = 0.3
"""Where less is lost, and nothing is late, the limit is at most that share of what was sent: its result is clear. A
network that loses so little because it is narrow carries more, and the limit soon rises."""

INHERENT_SHARE = 1.5
"""A limit grows while less than so many times the loss is lost that there was under it."""

RANDOM_LOSS_MAX = 0.5
"""Above this loss, sending everything does not help either."""

RANDOM_LOSS_S = 120.0


class BandwidthState(Enum):
    """The estimator's state."""

    UNLIMITED = "everything is sent"
    LIMITED = "frames are left out to stay below the limit"
    RANDOM_LOSS = "everything is sent: the loss does not depend on the rate"


@dataclass(slots=True)
class ReportTotals:
    """The sum of one or more reports."""

    reports: int = 0
    seconds: float = 0.0
    sent_bytes: float = 0.0
    arrived_bytes: float = 0.0
    packets: int = 0
    lost: int = 0

    def add(self, more: "ReportTotals") -> None:
        self.reports += more.reports
        self.seconds += more.seconds
        self.sent_bytes += more.sent_bytes
        self.arrived_bytes += more.arrived_bytes
        self.packets += more.packets
        self.lost += more.lost

    @property
    def loss(self) -> float:
        return self.lost / self.packets if self.packets else 0.0


@dataclass(slots=True, frozen=True)
class _ReportSnapshot:
    """Counters at the end of a report."""

    at_s: float
    highest_sequence: int
    packets_lost: int
    sent_bytes: int


class ReportEstimator:
    """The estimator of one viewer; see the module's rules."""

    def __init__(self) -> None:
        self.state = BandwidthState.UNLIMITED
        self.limit_bytes_per_s: int | None = None
        """``None``: no limit."""
        self.reason: str | None = None
        """Why frames are left out, or why video stutters although they are not; ``None`` while the network is
        good."""
        self.limits = 0
        """How often a limit was set."""
        self._snapshot: _ReportSnapshot | None = None
        self._min_rtt_s = [float("inf"), float("inf")]
        """The shortest round trips of this period of ``MIN_RTT_WINDOW_S`` and of the one before."""
        self._min_rtt_window_start_s = 0.0
        self._round_trip_s = 0.0
        self._overuse = ReportTotals()
        """Sum of the bad reports since the last one that was not."""
        self._was_good = False
        self._unconfirmed_clear_s = -RELAPSE_S
        """When a first limit was removed although nothing showed that the network carries more."""
        self._evaluated = ReportTotals()
        """Sum of up to ``EVALUATE_REPORTS`` reports under the present limit."""
        self._full_s = 0.0
        """How long everything the camera sends has arrived well under the limit."""
        self._random_loss_since_s = 0.0
        """When the state became ``RANDOM_LOSS``."""
        self._random_loss = 0.0
        """What is lost in that state."""
        self._evaluate_from_s = 0.0
        """From when on reports are about the present limit."""
        self._confirmed_s = 0.0
        """Seconds' worth of the limit that arrived well since the last bad report."""
        self._inherent_loss = 0.0
        """What was lost under the present limit."""
        self._growth_delay_s = 0.0
        """Seconds' worth that must arrive before growth; 0 until it grew too far for the first time."""

    def take(
        self,
        now: float,
        *,
        highest_sequence: int,
        packets_lost: int,
        round_trip_s: float | None,
        sent_bytes: int,
        camera_bytes_per_s: float,
    ) -> None:
        """Take a report block (RFC 3550 §6.4.1), with the bytes sent of its stream by then.

        Not retransmissions: they are another stream, come in bursts, and are lost in other proportions.
        """
        last = self._snapshot
        if last is not None and now - last.at_s < REPORT_S:
            return
        self._snapshot = _ReportSnapshot(now, highest_sequence, packets_lost, sent_bytes)
        delay_s = self._delay_s(now, round_trip_s)
        if last is None:
            return
        packets = (highest_sequence - last.highest_sequence) & 0xFFFFFFFF
        lost = min(max(0, packets_lost - last.packets_lost), packets)
        sent = sent_bytes - last.sent_bytes
        report = ReportTotals(1, now - last.at_s, sent, sent * (1 - lost / packets) if packets else sent, packets, lost)
        is_bad = delay_s >= DELAY_BAD_S or (report.loss >= LOSS_BAD and lost >= LOST_MIN)
        if self.state is BandwidthState.LIMITED:
            self._adapt(now, report, delay_s, camera_bytes_per_s, is_bad=is_bad)
        elif self.state is BandwidthState.RANDOM_LOSS:
            usual = self._random_loss
            is_other = report.loss < SAME_SHARE * usual or report.loss > usual / SAME_SHARE + LOSS_BAD
            if is_other or delay_s >= DELAY_BAD_S or now - self._random_loss_since_s >= RANDOM_LOSS_S:
                self._remove_limit()
        elif not is_bad:
            self._overuse = ReportTotals()
            self._was_good = True
        else:
            self._overuse.add(report)
            is_sure = self._overuse.reports > 1 and self._overuse.seconds >= OVERUSE_S
            is_sure = is_sure and (delay_s >= DELAY_BAD_S or self._overuse.lost >= OVERUSE_LOST_MIN)
            if is_sure or (report.loss >= LOSS_SEVERE and not self._was_good):
                self._limit(now, delay_s, camera_bytes_per_s)

    def _delay_s(self, now: float, round_trip_s: float | None) -> float:
        """How much longer than the shortest a round trip is."""
        if now - self._min_rtt_window_start_s >= MIN_RTT_WINDOW_S:
            self._min_rtt_s = [float("inf"), self._min_rtt_s[0]]
            self._min_rtt_window_start_s = now
        if round_trip_s is None:
            return 0.0
        self._round_trip_s = round_trip_s
        self._min_rtt_s[0] = min(self._min_rtt_s[0], round_trip_s)
        return round_trip_s - min(self._min_rtt_s)

    def _limit(self, now: float, delay_s: float, camera_bytes_per_s: float) -> None:
        arrived = self._overuse.arrived_bytes / self._overuse.seconds
        if camera_bytes_per_s:
            # Replays for PLI come on top of the camera's rate.
            arrived = min(arrived, camera_bytes_per_s * (1 - self._overuse.loss))
        self.state = BandwidthState.LIMITED
        self.limits += 1
        self._confirmed_s = self._full_s = 0.0
        self._growth_delay_s = GROWTH_DELAY_S if now - self._unconfirmed_clear_s < RELAPSE_S else 0.0
        self._evaluated = ReportTotals()
        self._inherent_loss = 0.0
        limit = (DRAIN if delay_s >= DELAY_BAD_S else 1) * HEADROOM * arrived
        if delay_s < DELAY_BAD_S and self._overuse.loss < LOSS_MILD:
            limit = min(limit, EXPERIMENT_SHARE * self._overuse.sent_bytes / self._overuse.seconds)
        self._lower_limit(now, limit)
        signs = [f"{self._overuse.loss:.0%} of the packets are lost"] if self._overuse.loss >= LOSS_BAD else []
        signs += [f"they are {delay_s:.1f} s late"] if delay_s >= DELAY_BAD_S else []
        self.reason = f"its network carries about {arrived * 8 / 1000:.0f} kbit/s ({', '.join(signs)})"

    def _adapt(
        self, now: float, report: ReportTotals, delay_s: float, camera_bytes_per_s: float, *, is_bad: bool
    ) -> None:
        limit = self.limit_bytes_per_s
        assert limit is not None
        if now < self._evaluate_from_s:
            return
        self._evaluated.add(report)
        if self._evaluated.reports == EVALUATE_REPORTS:
            evaluated, self._evaluated = self._evaluated, ReportTotals()
            if delay_s < DELAY_BAD_S and evaluated.lost >= LOST_MIN:
                self._inherent_loss = min(evaluated.loss, LOSS_BAD)
            if self._is_random_loss(evaluated):
                self.state, self.limit_bytes_per_s, self._random_loss_since_s = BandwidthState.RANDOM_LOSS, None, now
                self._random_loss = evaluated.loss
                self.reason = f"its network loses {evaluated.loss:.0%} of the packets, however few are sent"
                return
        is_confirming = report.sent_bytes >= CONFIRMING_SHARE * limit * report.seconds
        if is_bad:
            if self._confirmed_s > self._growth_delay_s or not self._growth_delay_s:
                self._growth_delay_s = min(max(GROWTH_DELAY_S, 2 * self._growth_delay_s), GROWTH_DELAY_MAX_S)
            self._confirmed_s = self._full_s = 0.0
            arrived = report.arrived_bytes / report.seconds
            is_used = report.sent_bytes >= 0.5 * limit * report.seconds
            lower = min(limit, arrived) if is_used else limit * (1 - report.loss)
            self._lower_limit(now, (DRAIN if delay_s >= DELAY_BAD_S else 1) * HEADROOM * lower)
            return
        if report.packets == 0 and not self._growth_delay_s:
            self.limit_bytes_per_s = 2 * limit
            if self.limit_bytes_per_s > camera_bytes_per_s:
                self._unconfirmed_clear_s = now
                self._remove_limit()
            return
        if report.loss >= max(LOSS_GOOD, INHERENT_SHARE * self._inherent_loss) or not is_confirming:
            return
        confirmed_s = min(report.seconds, report.sent_bytes / limit)
        self._confirmed_s += confirmed_s
        if self._confirmed_s > self._growth_delay_s:
            step = (
                min(GROWTH_MAX, GROWTH_STEP * (self._confirmed_s - self._growth_delay_s))
                if self._growth_delay_s
                else GROWTH_FIRST
            )
            most = LIMIT_MAX_SHARE * camera_bytes_per_s or limit
            self.limit_bytes_per_s = round(max(limit, min(most, limit * (1 + step) ** confirmed_s)))
        is_full = report.sent_bytes >= UNLIMITED_SHARE * camera_bytes_per_s * report.seconds
        self._full_s = self._full_s + report.seconds if is_full and camera_bytes_per_s else 0.0
        if self._full_s >= UNLIMITED_AFTER_S:
            self._remove_limit()

    def _lower_limit(self, now: float, bytes_per_s: float) -> None:
        """Set a new limit that is not above the last one."""
        self.limit_bytes_per_s = max(LIMIT_MIN_BYTES_PER_S, round(bytes_per_s))
        self._evaluate_from_s = now + EVALUATE_AFTER_S + self._round_trip_s

    def _is_random_loss(self, after: ReportTotals) -> bool:
        """Whether much less was sent and the same share of it was lost."""
        before = self._overuse
        less = after.sent_bytes / after.seconds <= REDUCED_SHARE * before.sent_bytes / before.seconds
        return (
            less
            and after.lost >= LOST_MIN
            and max(LOSS_GOOD, SAME_SHARE * before.loss) <= after.loss <= RANDOM_LOSS_MAX
        )

    def _remove_limit(self) -> None:
        self.state, self.limit_bytes_per_s, self.reason, self._overuse = (
            BandwidthState.UNLIMITED,
            None,
            None,
            ReportTotals(),
        )
