"""ProbeController: when to send more than the camera does, to learn whether the network carries it.

Theory of operation. A viewer on a sub stream, or with pictures left out, sends too little to show that its network has
become better. A *probe* is ``PROBE_S`` in which packets that the viewer has already are sent again, so that together
with the media ``STEP`` times the estimate is sent (``STEP_NARROW`` times a low one). If it arrives at that rate, the
estimate is that rate, and the next probe follows; if not, the next one waits for ``FAILED_WAIT_S``.

The network may have become worse since the estimate was made, without a sign: a small stream arrives as well as before.
A whole probe would then stand in the queue for three or four times its length. So the first probe after a pause, unless
it is a short one, has a *pilot*: a few packets at the same rate. The whole probe follows only if they show that the
estimate still holds.

Rules:

1. A probe is sent only while the viewer could use more (``wanted_bps``, a higher rendition or the whole of the only
   one), and never for more than that.
2. None is sent while there is congestion, nor for ``CALM_S`` after it.
3. Its cost is bounded. What is sent for probes, the media not counted, is at most ``(STEP - 1) * PROBE_S`` seconds'
   worth of the estimate, or ``PACKETS_MIN`` packets, and ``PILOT_PACKETS``; once for each ``FAILED_WAIT_S`` while they
   fail. While they succeed each is twice the one before, up to ``wanted_bps``: together less than 0.2 s of that.
4. A pilot does not raise the estimate: it is too short. One that arrives too late lowers it.
5. ``now`` is monotonic seconds. Nothing here waits or sends.
"""

from dataclasses import dataclass

from gateway.webrtc.bandwidth.sent_packets import PacketGroup

PROBE_S = 0.1
"""Short enough that a queue of a tenth of a second is the worst that it leaves; long enough that the tokens of a
shaper's bucket and the bursts of Wi-Fi are not taken for the rate."""

STEP = 2.0
STEP_NARROW = 1.5
NARROW_BPS = 2_000_000
"""Below this estimate the smaller step is taken. Each picture is a large share of such a link's tenth of a second, and
the few KB that a shaper lets through at once look like twice its rate: the next probe would be a pause of 0.3 s."""

PACKET_BYTES = 1200
PACKETS_MIN = 6
"""libwebrtc's least is five; the time between two packets says little."""

BURST_BYTES = 4_000
"""A shaper lets so much through at once, so the rate counts from then on."""

PILOT_PACKETS = PACKETS_MIN
"""On 300 kbit/s a fifth of a second's worth."""

PILOT_LATE_S = 0.03
"""So much later the last packet of a pilot may be in any case: Wi-Fi collects packets."""

PROVEN_S = 1.0
"""For so long after a probe has arrived no pilot is needed."""

RECEIVED_SHARE = 0.8
"""Of a probe's packets must arrive."""

SUCCESS_SHARE = 0.85
"""Of the rate that was sent must arrive, so that the probe has succeeded."""

FAILED_WAIT_S = 2.0
CALM_S = 1.0
BETWEEN_S = 0.2

RESULT_S = 1.0
"""A probe's feedback is late after this, and so is its last packet: it has failed."""


@dataclass(slots=True)
class Probe:
    """A probe to be sent now."""

    bps: float
    """What is to be sent in all, with the media."""
    seconds: float
    bytes_min: int
    """To be sent at least, even if that takes longer."""
    estimate_bps: float
    """What the network was known to carry."""
    is_pilot: bool = False


class ProbeController:
    """See the module's rules."""

    def __init__(self) -> None:
        self.wanted_bps: float | None = None
        """How much the viewer could use; ``None``: not more than it gets. Set by its owner."""
        self.probes = 0
        self.succeeded = 0
        self._from_s = 0.0
        """From when on a probe may be sent."""
        self._proven_s = float("-inf")
        """When a probe last arrived."""
        self._probe: Probe | None = None
        self._began_s = 0.0
        self._ended_s: float | None = None
        """When the last packet of the probe was sent; ``None`` while it is being sent."""
        self._received = 0
        self._lost = 0
        self._bytes = 0.0
        self._counted: tuple[float, float, float] | None = None
        """From when on the rate counts: the sending, the arrival, and what had arrived by then."""
        self._last_arrival_s = 0.0
        self._is_complete = False

    def next(self, now: float, estimate_bps: float | None) -> Probe | None:
        """The probe to send now, if there is one to send. :meth:`sent` must be called when that is done."""
        wanted = self.wanted_bps
        if self._probe is not None:
            if now - (self._began_s if self._ended_s is None else self._ended_s) > RESULT_S:
                self._finish(now, FAILED_WAIT_S)
            return None
        if wanted is None or estimate_bps is None or estimate_bps >= wanted or now < self._from_s:
            return None
        step = STEP_NARROW if estimate_bps < NARROW_BPS else STEP
        bps = min(step * estimate_bps, 1.1 * wanted)
        if now - self._proven_s > PROVEN_S and bps * PROBE_S / 8 > PILOT_PACKETS * PACKET_BYTES:
            self._probe = Probe(bps, 0.0, PILOT_PACKETS * PACKET_BYTES, estimate_bps, is_pilot=True)
        else:
            self._probe = Probe(bps, PROBE_S, PACKETS_MIN * PACKET_BYTES, estimate_bps)
        self.probes += 1
        self._began_s, self._ended_s = now, None
        self._received = self._lost = 0
        self._bytes = self._last_arrival_s = 0.0
        self._counted = None
        self._is_complete = False
        return self._probe

    def sent(self, now: float) -> None:
        """All of the probe has been sent, or it cannot be."""
        if self._ended_s is None:
            self._ended_s = now

    def congested(self, now: float) -> None:
        """The network is congested, by the probe or not."""
        self._from_s = max(self._from_s, now + CALM_S)
        if self._probe is not None:
            self._finish(now, FAILED_WAIT_S)

    def arrived(self, group: PacketGroup) -> None:
        """Count packets that have arrived."""
        if self._probe is None or group.sent_s < self._began_s:
            return
        if self._ended_s is not None and group.sent_s > self._ended_s:
            self._is_complete = True
            return
        if self._counted is None:
            # The rate is that of what arrived after the first packet.
            self._counted = group.sent_s, group.first_arrival_s, group.received_bytes / group.received
        self._last_arrival_s = max(self._last_arrival_s, group.last_arrival_s)
        self._received += group.received
        self._bytes += group.received_bytes
        if self._bytes <= BURST_BYTES:
            self._counted = group.sent_s, self._last_arrival_s, self._bytes
        self._is_complete |= self._ended_s is not None and group.sent_s >= self._ended_s

    def lost(self, group: PacketGroup) -> None:
        """Count packets that were lost."""
        if self._probe is not None and self._began_s <= group.sent_s <= (self._ended_s or group.sent_s):
            self._lost += group.lost

    def result(self, now: float) -> float | None:
        """The rate that a probe has shown, in bits a second, once; ``None`` if there is none."""
        probe = self._probe
        if probe is None or not self._is_complete or self._counted is None:
            return None
        sent_at_s, arrived_at_s, uncounted_bytes = self._counted
        span_s = self._last_arrival_s - arrived_at_s
        sent_s = max((self._ended_s or now) - sent_at_s, 1e-3)
        bps = 8 * (self._bytes - uncounted_bytes) / max(span_s, sent_s)
        enough = self._received >= PACKETS_MIN - 1 and self._received >= RECEIVED_SHARE * (self._received + self._lost)
        if probe.is_pilot:
            holds = bps >= SUCCESS_SHARE * probe.estimate_bps or span_s - sent_s <= PILOT_LATE_S
            is_good, wait_s = enough and holds, 0.0
            found = min(bps, probe.estimate_bps) if enough and not holds else None
        else:
            is_good, wait_s = enough and bps >= SUCCESS_SHARE * probe.bps, BETWEEN_S
            found = bps if enough else None
        self.succeeded += is_good
        self._proven_s = now if is_good else float("-inf")
        self._finish(now, wait_s if is_good else FAILED_WAIT_S)
        return found

    def _finish(self, now: float, wait_s: float) -> None:
        self._probe = None
        self._from_s = max(self._from_s, now + wait_s)
