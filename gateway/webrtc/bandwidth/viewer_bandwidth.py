"""ViewerBandwidth: all that is known of one viewer's network, and what follows for sending to it.

Theory of operation. What a viewer tells depends on what was negotiated, and on what it then really sends:

| method | what it tells | what comes of it |
|---|---|---|
| ``transport-cc`` | when each packet has arrived | an estimate, a pace, a limit, probes |
| ``remb`` | its own estimate | the estimate, a limit |
| ``receiver-reports`` | loss and round trip, about once a second | a limit |

The first method of this order whose messages have arrived counts. So a viewer that has negotiated transport-wide
feedback and sends none is judged by its receiver reports.

Rules:

1. The estimate is for choosing a rendition (:mod:`gateway.webrtc.bandwidth.rendition_choice`), and ``None`` while
   nothing is known against the viewer's network. By receiver reports it is the limit.
2. The limit leaves out pictures; it is in bytes a second of SRTP packets, ``None`` for none.
3. The pace is how fast keyframes may be sent, in the same unit; ``None``: as fast as to anybody.
   It is not below the stream's rate where the network may carry that: sending less would only make the sender late.
4. A viewer may say in its offer how much it wants to receive. The estimate is never more. The limit is that where the
   stream is more, as no smaller rendition is then left to choose.
5. ``now`` is monotonic seconds. Nothing here waits or sends.
"""

from collections.abc import Sequence
from enum import StrEnum

from gateway.webrtc.bandwidth.estimator import DECREASE, BandwidthEstimator
from gateway.webrtc.bandwidth.limit import LIMIT_MIN_BYTES_PER_S, LOSS_BAD, OVERHEAD, SendLimit
from gateway.webrtc.bandwidth.probing import Probe
from gateway.webrtc.bandwidth.receiver_reports import ReportEstimator
from gateway.webrtc.bandwidth.sent_packets import SentPackets

REMB_VALID_S = 5.0
"""Receivers repeat it about once a second. One that has stopped says nothing any more."""

SETTLE_S = 2.0
"""Late and lost packets of the stream before say nothing of a smaller one that was begun because of them. Its own are
late as long as the old ones stand in a queue, which it leaves to drain."""


class Method(StrEnum):
    """What a viewer's bandwidth is judged by."""

    TRANSPORT_CC = "transport-cc"
    REMB = "remb"
    RECEIVER_REPORTS = "receiver-reports"


class ViewerBandwidth:
    """See the module's rules. ``sent`` is ``None`` if transport-wide feedback was not negotiated.

    ``max_bps`` is what the viewer wants at most (rule 4).
    """

    def __init__(self, sent: SentPackets | None = None, *, max_bps: float | None = None) -> None:
        self._max_bps = max_bps
        self.method = Method.RECEIVER_REPORTS
        self.sent = sent
        self.estimator = BandwidthEstimator(sent) if sent is not None else None
        self.reports = ReportEstimator()
        self._limit = SendLimit()
        self._remb: tuple[float, float] | None = None
        """When it arrived, and its bits a second."""
        self._fraction_lost = 0.0
        self._stream_bytes_per_s = 0.0
        self._wanted_bps: float | None = None
        self._drops = 0
        """Of the estimator's, those that were taken."""
        self._limit_from_s = float("-inf")
        """A limit may begin because of packets that were sent since."""

    @property
    def estimate_bps(self) -> float | None:
        """What the network carries, or the viewer wants, in bits a second on the wire."""
        if self.method is Method.TRANSPORT_CC:
            assert self.estimator is not None
            return self.at_most(self.estimator.estimate_bps)
        if self.method is Method.REMB:
            return self.at_most(None if self._remb is None else self._remb[1])
        limit = self.reports.limit_bytes_per_s
        return self.at_most(None if limit is None else 8.0 * limit)

    def at_most(self, bits_per_s: float | None) -> float | None:
        """``bits_per_s``, and not more than the viewer wants. ``None`` is any number."""
        return min((each for each in (bits_per_s, self._max_bps) if each is not None), default=None)

    @property
    def limit_bytes_per_s(self) -> int | None:
        """See rule 2."""
        is_reported = self.method is Method.RECEIVER_REPORTS
        limit = self.reports.limit_bytes_per_s if is_reported else self._limit.bytes_per_s
        return min((each for each in (limit, self._wanted_bytes_per_s) if each is not None), default=None)

    @property
    def _wanted_bytes_per_s(self) -> int | None:
        """Rule 4; ``None`` while the stream is not more."""
        if self._max_bps is None or self._max_bps >= 8 * OVERHEAD * self._stream_bytes_per_s:
            return None
        return max(LIMIT_MIN_BYTES_PER_S, round(self._max_bps / 8 / OVERHEAD))

    @property
    def pace_bytes_per_s(self) -> int | None:
        """See rule 3."""
        if self.method is not Method.TRANSPORT_CC or self.estimator is None:
            return None
        pace_bps, estimate_bps = self.estimator.pace_bps, self.estimator.estimate_bps
        stream_bps = 8 * OVERHEAD * self._stream_bytes_per_s
        if pace_bps is not None and estimate_bps is not None and stream_bps <= estimate_bps / DECREASE:
            pace_bps = max(pace_bps, stream_bps)
        return None if pace_bps is None else round(pace_bps / 8)

    @property
    def has_lost(self) -> bool:
        """Whether packets are lost to congestion, and not only late."""
        if self.method is not Method.TRANSPORT_CC or self.estimator is None:
            return True
        return self.estimator.loss.congestive_loss >= LOSS_BAD

    @property
    def is_lossy(self) -> bool:
        """Whether the network loses packets at random, and carries more than it is sent."""
        estimator = self.estimator
        if self.method is not Method.TRANSPORT_CC or estimator is None or self._limit.bytes_per_s is not None:
            return False
        return estimator.loss.random_loss is not None and not estimator.is_queued

    @property
    def round_trip_s(self) -> float:
        """Of packets that have arrived a moment ago, with their time in queues; 0 if not known."""
        return 0.0 if self.estimator is None else self.estimator.least_round_trip_s

    def switched(self, now: float, *, is_smaller: bool) -> None:
        """The viewer is sent another stream from now on."""
        if is_smaller:
            self._limit_from_s = now + SETTLE_S
        self.probe_sent(now)

    @property
    def reason(self) -> str | None:
        """Why pictures are left out, or why video stutters although they are not; ``None`` in a good network."""
        if self._wanted_bytes_per_s is not None:
            return f"its offer allows no more than {(self._max_bps or 0) / 1000:.0f} kbit/s (b=TIAS or b=AS)"
        if self.method is Method.RECEIVER_REPORTS:
            return self.reports.reason
        random_loss = None if self.estimator is None else self.estimator.loss.random_loss
        if self._limit.reason is None and random_loss is not None and random_loss >= LOSS_BAD:
            return f"its network loses {random_loss:.0%} of the packets, however few are sent"
        return self._limit.reason

    @property
    def limits(self) -> int:
        """How often a limit was set."""
        return self.reports.limits + self._limit.limits

    def take_feedback(
        self, now: float, base_sequence: int, reference: int, arrivals: Sequence[int | None], stream_bytes_per_s: float
    ) -> bool:
        """Take transport-wide feedback. ``stream_bytes_per_s`` is what the viewer's stream has; 0: not known.

        Returns whether it says anything: not if it was not negotiated, or is about packets that were never sent.
        """
        if self.estimator is None:
            return False
        self.estimator.stream_bps = 8 * OVERHEAD * stream_bytes_per_s
        drops = self.estimator.drops
        self.estimator.take(now, base_sequence, reference, arrivals)
        if not self.estimator.has_feedback:
            return False
        self.method = Method.TRANSPORT_CC
        self._stream_bytes_per_s = stream_bytes_per_s
        loss = self.estimator.loss
        is_settled = now - self.estimator.round_trip_s >= self._limit_from_s
        self._limit.update(
            estimate_bps=self.estimator.estimate_bps,
            stream_bytes_per_s=stream_bytes_per_s,
            loss=loss.congestive_loss if is_settled else 0.0,
            queue_s=self.estimator.queue_s if is_settled else 0.0,
            has_dropped=self.estimator.drops != drops,
        )
        return True

    def take_drop(self) -> bool:
        """Whether the network has suddenly become narrow since the last call: its queue is full, and is to drain."""
        drops = 0 if self.estimator is None else self.estimator.drops
        has_dropped, self._drops = drops != self._drops, drops
        return has_dropped

    def take_remb(self, now: float, bits_per_s: int, stream_bytes_per_s: float) -> None:
        """Take the receiver's own estimate."""
        if self.method is Method.TRANSPORT_CC:
            return
        self._stream_bytes_per_s = stream_bytes_per_s
        self.method, self._remb = Method.REMB, (now, float(bits_per_s))
        self._limit.update(
            estimate_bps=float(bits_per_s),
            stream_bytes_per_s=stream_bytes_per_s,
            loss=self._fraction_lost,
            queue_s=0.0,
        )

    def take_report(
        self,
        now: float,
        *,
        highest_sequence: int,
        packets_lost: int,
        fraction_lost: float,
        round_trip_s: float | None,
        sent_bytes: int,
        stream_bytes_per_s: float,
    ) -> None:
        """Take a report block; see :meth:`~gateway.webrtc.bandwidth.receiver_reports.ReportEstimator.take`."""
        self._fraction_lost = fraction_lost
        if self.method is Method.TRANSPORT_CC:
            return
        self._stream_bytes_per_s = stream_bytes_per_s
        if self._remb is not None and now - self._remb[0] > REMB_VALID_S:
            self.method, self._remb = Method.RECEIVER_REPORTS, None
        self.reports.take(
            now,
            highest_sequence=highest_sequence,
            packets_lost=packets_lost,
            round_trip_s=round_trip_s,
            sent_bytes=sent_bytes,
            camera_bytes_per_s=stream_bytes_per_s,
        )

    def set_wanted(self, bits_per_s: float | None) -> None:
        """Probe up to this estimate: what a better rendition takes. ``None``: the viewer could not use more."""
        self._wanted_bps = bits_per_s

    def next_probe(self, now: float) -> Probe | None:
        """The probe to send now, if there is one to send. None while packets wait in a queue: it would be longer."""
        if self.method is not Method.TRANSPORT_CC or self.estimator is None or self.estimator.is_queued:
            return None
        wanted = [each for each in (self._wanted_bps, self._limit.wanted_bps(self._stream_bytes_per_s)) if each]
        self.estimator.probing.wanted_bps = self.at_most(max(wanted)) if wanted else None
        return self.estimator.probing.next(now, self.estimator.estimate_bps)

    def probe_sent(self, now: float) -> None:
        """All of the probe has been sent."""
        if self.estimator is not None:
            self.estimator.probing.sent(now)
