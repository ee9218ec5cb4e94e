"""How much of a camera's video a viewer's network carries, judged by what the viewer reports.

Theory of operation. A camera's bitrate is its own, and there is no smaller rendition to go down to: a network that is
too narrow can only be sent fewer pictures. :class:`Capacity` takes receiver reports, which come once a second or so,
and gives a limit in bytes a second, or none. What is left out under a limit is the sender's business.

          ┌──── bad for STRAIN_S ─────▶           ┌── as bad with much less ──▶
    CLEAR                               LIMITED                                 INDIFFERENT
      ▲ └◀── everything arrives well ───┘                                            │
      └◀───────────────────────────── good again, or INDIFFERENT_S later ────────────┘

Rules:

1. A report is bad with ``LOSS_BAD`` or more lost, or a round trip ``DELAY_BAD_S`` longer than the shortest: packets are
   dropped, or stand in somebody's queue. With less than ``LOSS_GOOD`` lost it is good. What is between says nothing:
   that is what retransmissions are for. (The thresholds of draft-ietf-rmcat-gcc-02 §6.)
2. Who is strained is limited to a little less than what arrived meanwhile: a full link delivers what it can.
3. Under a limit, bad reports take it down, and what arrived well takes it up after a while. That nothing was lost of
   next to nothing proves nothing.
4. Whose loss stays with much less sent loses it to something else (radio, an old cable): leaving pictures out does not
   help, and is not done for ``INDIFFERENT_S``.
5. What looked narrow may have been an outage of two seconds. A first limit doubles while there is nothing to send (a
   long GOP's next keyframe is waited for) and is soon gone; who needs another one within ``DOUBT_S`` is narrow, and
   silence proves nothing any more.
6. ``now`` is monotonic seconds. Nothing here waits or sends.
"""

from dataclasses import dataclass
from enum import Enum

REPORT_S = 0.8
"""Reports are added up to this: Chromium may put one beside each NACK, with three packets in it."""

LOSS_BAD = 0.10
LOSS_GOOD = 0.02

LOST_MIN = 3
"""Packets: under a limit a report may tell of ten, and one lost of ten is no news."""

DELAY_BAD_S = 0.5
"""Home routers' queues are 0.1 to 0.3 s long where they are well made; beyond, a picture is no live picture."""

SHORTEST_S = 30.0
"""How long the shortest round trip is remembered, at least; twice that at most. People walk from Wi-Fi to 4G."""

STRAIN_S = 1.5
"""Two reports at least: one may be somebody's microwave oven."""

LOSS_HOPELESS = 0.5
"""Of a viewer that has never told anything better: it has no picture yet and its player will not wait for long, so that
no second report is waited for."""

HEADROOM = 0.85
"""Of what arrived: a full queue has to become empty again, and sound and retransmissions want their part."""

DRAIN = 0.7
"""Of that, where a queue makes packets late: it has to become shorter by itself."""

LIMIT_MIN_BYTES_PER_S = 8_000
"""64 kbit/s, a keyframe of 80 KB in ten seconds: less is no picture, and any network should carry it."""

PROOF_MIN = 0.2
"""A report on less than this part of the limit tells nothing."""

GROWTH_FIRST = 0.3
GROWTH_STEP = 0.05
GROWTH_MAX = 0.25
"""For each second's worth of the limit that arrived well. At first the limit is low, since retransmissions had their
part of the link, or it was away for a moment. Once it grew too far it begins anew with small steps: a link that has
become five times as wide is full after 9 s, and one that has not is overrun by little before the report comes."""

HOLD_S = 3.0
HOLD_MAX_S = 40.0
"""Seconds' worth of the limit that arrive well before it grows again; twice as many each time that it grew too far,
since each such time costs pictures."""

DOUBT_S = 30.0

CLEAR_S = 4.0
CLEAR_SHARE = 0.8
"""Who was sent this part of the camera's rate for so long, and got it, needs no limit. Less would not do: a queue hides
what a short while is too much."""

LIMIT_MAX_SHARE = 2.0
"""Of the camera's rate: keyframes come in bursts, and beyond that a limit is none."""

JUDGE_AFTER_S = 1.0
"""From a limit (or a lower one) to reports that tell of it, beside a round trip: what was under way before has arrived
by then, or never will."""

JUDGE_REPORTS = 3

LESS = 0.7
"""Much less than before, and no better."""

IN_VAIN_MAX = 0.5
"""Who loses more is not helped by sending everything either."""

INDIFFERENT_S = 120.0


class State(Enum):
    """What is done about a viewer's network."""

    CLEAR = "nothing: it carries everything, or has not told yet"
    LIMITED = "pictures are left out"
    INDIFFERENT = "nothing: it loses whatever is sent"


@dataclass(slots=True)
class Tally:
    """One report, or several."""

    reports: int = 0
    seconds: float = 0.0
    sent_bytes: float = 0.0
    arrived_bytes: float = 0.0
    packets: int = 0
    lost: int = 0

    def add(self, more: "Tally") -> None:
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
class _Mark:
    """Counters at the end of a report."""

    at_s: float
    highest_sequence: int
    packets_lost: int
    sent_bytes: int


class Capacity:
    """One viewer's; see the module's rules."""

    def __init__(self) -> None:
        self.state = State.CLEAR
        self.limit_bytes_per_s: int | None = None
        """``None``: send everything."""
        self.reason: str | None = None
        """Why pictures are left out, or why it stutters all the same; ``None`` while all is well."""
        self.limits = 0
        """Times that a limit was put on."""
        self._mark: _Mark | None = None
        self._shortest_s = [float("inf"), float("inf")]
        """The shortest round trips of this period of ``SHORTEST_S`` and of the one before."""
        self._shortest_at_s = 0.0
        self._round_trip_s = 0.0
        self._strain = Tally()
        """The reports since which all are bad."""
        self._was_good = False
        self._doubted_s = -DOUBT_S
        """When a first limit was given up without proof."""
        self._judged = Tally()
        """The last that tell of the limit, up to ``JUDGE_REPORTS``."""
        self._full_s = 0.0
        """How long all that the camera gave has arrived well under the limit."""
        self._since_s = 0.0
        """When it was found to be indifferent."""
        self._trusted_s = 0.0
        """From when on reports tell of the present limit."""
        self._proof = 0.0
        """Seconds' worth of the limit that arrived well since the last bad report."""
        self._hold_s = 0.0
        """Seconds' worth that come before growth; 0 until it grew too far for the first time."""

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
        """Take a report block (RFC 3550 §6.4.1) and what had been sent by then of the stream that it is about.

        Retransmissions are another stream: they come in bursts, and are lost in other proportions.
        """
        mark = self._mark
        if mark is not None and now - mark.at_s < REPORT_S:
            return
        self._mark = _Mark(now, highest_sequence, packets_lost, sent_bytes)
        delay_s = self._delay_s(now, round_trip_s)
        if mark is None:
            return
        packets = (highest_sequence - mark.highest_sequence) & 0xFFFFFFFF
        lost = min(max(0, packets_lost - mark.packets_lost), packets)
        sent = sent_bytes - mark.sent_bytes
        report = Tally(1, now - mark.at_s, sent, sent * (1 - lost / packets) if packets else sent, packets, lost)
        is_bad = delay_s >= DELAY_BAD_S or (report.loss >= LOSS_BAD and lost >= LOST_MIN)
        if self.state is State.LIMITED:
            self._adapt(now, report, delay_s, camera_bytes_per_s, is_bad=is_bad)
        elif self.state is State.INDIFFERENT:
            if not is_bad or now - self._since_s >= INDIFFERENT_S:
                self._clear()
        elif not is_bad:
            self._strain = Tally()
            self._was_good = True
        else:
            self._strain.add(report)
            is_sure = self._strain.reports > 1 and self._strain.seconds >= STRAIN_S
            if is_sure or (report.loss >= LOSS_HOPELESS and not self._was_good):
                self._limit(now, delay_s, camera_bytes_per_s)

    def _delay_s(self, now: float, round_trip_s: float | None) -> float:
        """How much longer than the shortest a round trip is."""
        if now - self._shortest_at_s >= SHORTEST_S:
            self._shortest_s = [float("inf"), self._shortest_s[0]]
            self._shortest_at_s = now
        if round_trip_s is None:
            return 0.0
        self._round_trip_s = round_trip_s
        self._shortest_s[0] = min(self._shortest_s[0], round_trip_s)
        return round_trip_s - min(self._shortest_s)

    def _limit(self, now: float, delay_s: float, camera_bytes_per_s: float) -> None:
        arrived = self._strain.arrived_bytes / self._strain.seconds
        if camera_bytes_per_s:
            # Replays for PLI are sent beside.
            arrived = min(arrived, camera_bytes_per_s * (1 - self._strain.loss))
        self.state = State.LIMITED
        self.limits += 1
        self._proof = self._full_s = 0.0
        self._hold_s = HOLD_S if now - self._doubted_s < DOUBT_S else 0.0
        self._judged = Tally()
        self._set(now, (DRAIN if delay_s >= DELAY_BAD_S else 1) * HEADROOM * arrived)
        signs = [f"{self._strain.loss:.0%} of the packets are lost"] if self._strain.loss >= LOSS_BAD else []
        signs += [f"they come {delay_s:.1f} s late"] if delay_s >= DELAY_BAD_S else []
        self.reason = f"its network carries about {arrived * 8 / 1000:.0f} kbit/s ({', '.join(signs)})"

    def _adapt(self, now: float, report: Tally, delay_s: float, camera_bytes_per_s: float, *, is_bad: bool) -> None:
        limit = self.limit_bytes_per_s
        assert limit is not None
        if now < self._trusted_s:
            return
        self._judged.add(report)
        if self._judged.reports == JUDGE_REPORTS:
            judged, self._judged = self._judged, Tally()
            if self._is_in_vain(judged):
                self.state, self.limit_bytes_per_s, self._since_s = State.INDIFFERENT, None, now
                self.reason = f"its network loses {judged.loss:.0%} of the packets, however few are sent"
                return
        is_proof = report.sent_bytes >= PROOF_MIN * limit * report.seconds
        if is_bad:
            if self._proof > self._hold_s or not self._hold_s:
                self._hold_s = min(max(HOLD_S, 2 * self._hold_s), HOLD_MAX_S)
            self._proof = self._full_s = 0.0
            arrived = report.arrived_bytes / report.seconds
            is_used = report.sent_bytes >= 0.5 * limit * report.seconds
            lower = min(limit, arrived) if is_used else limit * (1 - report.loss)
            self._set(now, (DRAIN if delay_s >= DELAY_BAD_S else 1) * HEADROOM * lower)
            return
        if report.packets == 0 and not self._hold_s:
            self.limit_bytes_per_s = 2 * limit
            if self.limit_bytes_per_s > camera_bytes_per_s:
                self._doubted_s = now
                self._clear()
            return
        if report.loss >= LOSS_GOOD or not is_proof:
            return
        proof = min(report.seconds, report.sent_bytes / limit)
        self._proof += proof
        if self._proof > self._hold_s:
            step = min(GROWTH_MAX, GROWTH_STEP * (self._proof - self._hold_s)) if self._hold_s else GROWTH_FIRST
            most = LIMIT_MAX_SHARE * camera_bytes_per_s or limit
            self.limit_bytes_per_s = round(max(limit, min(most, limit * (1 + step) ** proof)))
        is_full = report.sent_bytes >= CLEAR_SHARE * camera_bytes_per_s * report.seconds
        self._full_s = self._full_s + report.seconds if is_full and camera_bytes_per_s else 0.0
        if self._full_s >= CLEAR_S:
            self._clear()

    def _set(self, now: float, bytes_per_s: float) -> None:
        """A lower limit."""
        self.limit_bytes_per_s = max(LIMIT_MIN_BYTES_PER_S, round(bytes_per_s))
        self._trusted_s = now + JUDGE_AFTER_S + self._round_trip_s

    def _is_in_vain(self, after: Tally) -> bool:
        """Whether much less is sent, and the same part of it lost."""
        before = self._strain
        less = after.sent_bytes / after.seconds <= LESS * before.sent_bytes / before.seconds
        return less and after.lost >= LOST_MIN and max(LOSS_BAD, LESS * before.loss) <= after.loss <= IN_VAIN_MAX

    def _clear(self) -> None:
        self.state, self.limit_bytes_per_s, self.reason, self._strain = State.CLEAR, None, None, Tally()
