"""A viewer behind a simulated link: what each way to judge its bandwidth makes of it. No clock, no network.

The camera has one or two renditions, with keyframes. The sender does what VideoSender does: a pace, a limit, whole
pictures, keyframes to their end, retransmissions, probes, a first flight. The link has a rate that changes with time, a
queue that drops what does not fit, a delay, and random loss. The receiver sends transport-wide feedback ten times a
second, NACKs, and a receiver report once a second.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.webrtc.bandwidth.estimator import BandwidthEstimator
from gateway.webrtc.bandwidth.limit import OVERHEAD, SendLimit
from gateway.webrtc.bandwidth.probing import Probe
from gateway.webrtc.bandwidth.receiver_reports import ReportEstimator
from gateway.webrtc.bandwidth.rendition_choice import Rendition, RenditionChooser
from gateway.webrtc.bandwidth.sent_packets import WIRE_BYTES, SentPackets
from gateway.webrtc.rtp.drain import Drain
from gateway.webrtc.rtp.first_flight import FirstFlight
from gateway.webrtc.rtp.transport_cc import REFERENCE_TICKS, TICKS_PER_S

STEP_S = 0.005
PAYLOAD_BYTES = 1180
PACKET_BYTES = PAYLOAD_BYTES + 12 + 16 + 16 + WIRE_BYTES
FEEDBACK_S = 0.1
PACE_BYTES_PER_S = 50_000_000 / 8
BUCKET_BYTES = 80 * 1024
LAG_S = 1.0
QUEUE_MIN_S = 0.1
"""Of a link's queue, whatever its bytes: fast links have longer ones."""


@dataclass(slots=True)
class Link:
    """What the network does. ``bits_per_s`` gives the rate at a time in seconds."""

    bits_per_s: Callable[[float], float]
    queue_bytes: float = 32_000
    delay_s: float = 0.02
    loss: float = 0.0
    jitter_s: float = 0.0
    burst_bytes: float = 0.0
    """What a shaper lets through at once after a pause."""
    free_at_s: float = 0.0
    last_s: float = 0.0
    dice: random.Random = field(default_factory=lambda: random.Random(7))

    def queue_s(self, now: float) -> float:
        return max(0.0, self.free_at_s - now)

    def send(self, now: float, size: int) -> float | None:
        """When a packet arrives; ``None`` if it is lost."""
        rate = self.bits_per_s(now) / 8
        if self.queue_s(now) * rate + size > max(self.queue_bytes, QUEUE_MIN_S * rate):
            return None
        self.free_at_s = max(now - self.burst_bytes / rate, self.free_at_s) + size / rate
        if self.dice.random() < self.loss:
            return None
        self.last_s = max(self.last_s, max(now, self.free_at_s) + self.delay_s + self.dice.uniform(0, self.jitter_s))
        return self.last_s


@dataclass(slots=True)
class Packet:
    """One packet of a picture."""

    picture: int
    is_keyframe: bool
    captured_s: float
    bytes: int
    is_first: bool
    is_last: bool


@dataclass(slots=True)
class Sample:
    """What was true at a time."""

    at_s: float
    capacity_bps: float
    estimate_bps: float | None
    limit_bps: float | None
    queue_s: float
    sent_bps: float
    rendition: str
    pictures: int


class Simulation:
    """One viewer. ``judge`` is ``transport-cc`` or ``receiver reports``."""

    def __init__(
        self,
        link: Link,
        *,
        judge: str = "transport-cc",
        main_bps: float = 4_000_000,
        sub_bps: float | None = None,
        fps: float = 15.0,
        gop_s: float = 2.0,
        keyframe_share: float = 0.25,
        round_trip_up_s: float | None = None,
    ) -> None:
        self.link = link
        self.now = 0.0
        self.samples: list[Sample] = []
        self.shown: list[tuple[float, str]] = []
        """When each picture arrived that could be decoded, and its rendition."""
        self.probe_bytes = self.media_bytes = 0
        self.sent = SentPackets(first_sequence=65_000)
        self.estimator = BandwidthEstimator(self.sent)
        self.limit = SendLimit()
        self.reports = ReportEstimator()
        self.chooser = RenditionChooser()
        self.rendition = "main"
        self._judge = judge
        self._up_s = link.delay_s if round_trip_up_s is None else round_trip_up_s
        self._rates = {"main": main_bps, **({} if sub_bps is None else {"sub": sub_bps})}
        self._fps, self._gop, self._keyframe_share = fps, round(fps * gop_s), keyframe_share
        self._picture = 0
        self._first_picture = 0
        """Of this rendition. What was sent before is not sent again."""
        self._pending: deque[Packet] = deque()
        self._waits = True
        self._begun: int | None = None
        self._bucket = float(BUCKET_BYTES)
        self._flight = FirstFlight(self.sent if judge == "transport-cc" else None)
        self._drain: Drain | None = None
        self._drops = 0
        self._resend_bucket = 256 * 1024.0
        self._resend: list[tuple[float, Packet]] = []
        self._probe: Probe | None = None
        self._probe_began_s = self._probe_base = 0.0
        self._arrivals: dict[int, float] = {}
        self._told = self.sent.next_sequence
        self._feedback: deque[tuple[float, int, int, list[int | None]]] = deque()
        self._feedback_at_s = FEEDBACK_S
        self._report_at_s = 1.0
        self._rtp_sent = self._rtp_lost = self._payload_sent = 0
        self._missing: dict[int, int] = {}
        self._pictures: dict[int, tuple[bool, str]] = {}
        self._done: list[tuple[float, int]] = []
        self._whole: dict[int, float] = {}
        self._chain = -2
        self._window: deque[tuple[float, int]] = deque()

    # The camera and the sender.

    def run(self, seconds: float) -> "Simulation":
        end = self.now + seconds
        while self.now < end:
            if self.now >= self._picture / self._fps:
                self._capture()
            self._send_pending()
            self._send_again()
            self._send_probe()
            self._receive()
            self.now += STEP_S
        return self

    @property
    def _limit_bytes(self) -> int | None:
        return self.limit.bytes_per_s if self._judge == "transport-cc" else self.reports.limit_bytes_per_s

    def _frame_bytes(self, is_keyframe: bool) -> int:
        gop = self._rates[self.rendition] / 8 * self._gop / self._fps
        share = self._keyframe_share if is_keyframe else (1 - self._keyframe_share) / (self._gop - 1)
        return max(100, round(gop * share))

    def _capture(self) -> None:
        number, self._picture = self._picture, self._picture + 1
        is_keyframe = number % self._gop == 0
        if self._judge == "transport-cc" and len(self._rates) > 1:
            chosen = self._choose()
            if chosen != self.rendition:
                # The gateway has the GOP in memory: it begins with that rendition's keyframe at once.
                self.rendition, is_keyframe = chosen, True
                self._pending.clear()
                self._first_picture = number
                self._bucket = max(0.0, self._bucket)
        if self._drain is not None:
            if not self._drain.is_over(self.now):
                return
            self._drain, is_keyframe = None, True
        if is_keyframe:
            head = self._pending[0] if self._pending else None
            if head is not None and self.now - head.captured_s > LAG_S / 2 and self._begun != head.picture:
                self._pending.clear()
            self._waits = False
        if self._waits:
            return
        size = self._frame_bytes(is_keyframe)
        count = -(-size // PAYLOAD_BYTES)
        self._missing[number], self._pictures[number] = count, (is_keyframe, self.rendition)
        for place in range(count):
            part = PAYLOAD_BYTES if place < count - 1 else size - (count - 1) * PAYLOAD_BYTES
            self._pending.append(Packet(number, is_keyframe, self.now, part, place == 0, place == count - 1))

    def _choose(self) -> str:
        renditions = [Rendition(name, bps * OVERHEAD, 100 * len(name)) for name, bps in self._rates.items()]
        estimate = self.estimator.estimate_bps
        choice = self.chooser.choose(self.now, renditions, estimate_bps=estimate)
        self.estimator.probing.wanted_bps = choice.wanted_bps
        return choice.rendition.name

    def _send_pending(self) -> None:
        limit = self._limit_bytes
        own = self.estimator.pace_bps if self._judge == "transport-cc" else None
        pace = PACE_BYTES_PER_S if own is None else min(PACE_BYTES_PER_S, own / 8)
        if own is not None:
            self._flight.end()
        capacity = BUCKET_BYTES if limit is None and own is None else 0.1 * (limit or pace)
        self._bucket = min(capacity, self._bucket + STEP_S * (limit or pace))
        while self._pending and self._bucket > 0:
            head = self._pending[0]
            if self.now - head.captured_s > LAG_S and not (head.is_keyframe and self._begun == head.picture):
                self._pending.clear()
                self._waits = True
                return
            if not self._flight.may_send(self.now):
                return
            self._pending.popleft()
            if head.is_first:
                self._begun = head.picture
            size = self._put(head, repeats=False)
            self._bucket -= size
            self.media_bytes += size

    def _put(self, packet: Packet, *, repeats: bool) -> int:
        size = PACKET_BYTES - PAYLOAD_BYTES + packet.bytes
        sequence = self.sent.add(self.now, 1, size - WIRE_BYTES)
        arrival = self.link.send(self.now, size)
        self._window.append((self.now, size))
        if not repeats:
            self._rtp_sent += 1
            self._payload_sent += packet.bytes
            self._rtp_lost += arrival is None
        if arrival is None:
            self._resend.append((self.now + 2 * self._up_s + 0.05 + self.link.queue_s(self.now), packet))
            return size
        self._arrivals[sequence] = arrival
        self._missing[packet.picture] -= 1
        if not self._missing[packet.picture]:
            self._done.append((arrival, packet.picture))
        return size

    def _send_again(self) -> None:
        rate = max(125_000.0, self._rates[self.rendition] / 8)
        own = self.estimator.pace_bps if self._judge == "transport-cc" else None
        rate = rate if own is None else min(rate, own / 8)
        self._resend_bucket = min(256 * 1024.0, self._resend_bucket + STEP_S * rate)
        due = [item for item in self._resend if item[0] <= self.now]
        self._resend = [item for item in self._resend if item[0] > self.now]
        limit = self._limit_bytes
        shared = limit if limit is not None or own is None else own / 8
        for at, packet in due:
            is_refused = packet.picture < self._first_picture or (shared is not None and self._bucket < -0.5 * shared)
            if self._resend_bucket < packet.bytes or is_refused or at - packet.captured_s > 1.0:
                continue
            size = self._put(packet, repeats=True)
            self._resend_bucket -= size
            if shared is not None:
                self._bucket -= size

    def _send_probe(self) -> None:
        if self._judge != "transport-cc":
            return
        if self._probe is None and not self.estimator.is_queued:
            self._probe = self.estimator.probing.next(self.now, self.estimator.estimate_bps)
            self._probe_began_s, self._probe_base = self.now, self.sent.bytes_sent
        probe = self._probe
        if probe is None:
            return
        elapsed_s = self.now - self._probe_began_s
        due = probe.bps / 8 * (elapsed_s + STEP_S) - (self.sent.bytes_sent - self._probe_base)
        while due > 0:
            sequence = self.sent.add(self.now, 1, PACKET_BYTES - WIRE_BYTES)
            arrival = self.link.send(self.now, PACKET_BYTES)
            self.probe_bytes += PACKET_BYTES
            self._window.append((self.now, PACKET_BYTES))
            if arrival is not None:
                self._arrivals[sequence] = arrival
            due -= PACKET_BYTES
        if elapsed_s >= probe.seconds and self.sent.bytes_sent - self._probe_base >= probe.bytes_min:
            self.estimator.probing.sent(self.now)
            self._probe = None

    # The receiver, and what the sender makes of it.

    def _receive(self) -> None:
        if self.now >= self._feedback_at_s:
            self._feedback_at_s += FEEDBACK_S
            self._write_feedback()
            self._sample()
        while self._feedback and self._feedback[0][0] <= self.now:
            _, base, reference, arrivals = self._feedback.popleft()
            self.estimator.stream_bps = OVERHEAD * self._rates[self.rendition]
            self.estimator.take(self.now, base & 0xFFFF, reference, arrivals)
            if self.estimator.drops != self._drops:
                self._drops = self.estimator.drops
                self._pending.clear()
                self._waits, self._first_picture = True, self._picture
                self._drain = Drain(self.sent, self.now)
            self.limit.update(
                estimate_bps=self.estimator.estimate_bps,
                stream_bytes_per_s=self._rates[self.rendition] / 8,
                loss=self.estimator.loss.congestive_loss,
                queue_s=self.estimator.queue_s,
            )
            if len(self._rates) == 1:
                self.estimator.probing.wanted_bps = self.limit.wanted_bps(self._rates["main"] / 8)
        if self.now >= self._report_at_s:
            self._report_at_s += 1.0
            self.reports.take(
                self.now,
                highest_sequence=self._rtp_sent & 0xFFFFFFFF,
                packets_lost=self._rtp_lost,
                round_trip_s=self.link.delay_s + self._up_s + self.link.queue_s(self.now),
                sent_bytes=self._payload_sent,
                camera_bytes_per_s=self._rates["main"] / 8,
            )

    def _write_feedback(self) -> None:
        came = [sequence for sequence, at in self._arrivals.items() if at <= self.now]
        if not came:
            return
        base, end = min(self._told, *came) if len(came) > 1 else min(self._told, came[0]), max(came) + 1
        first_s = min(self._arrivals[sequence] for sequence in came)
        reference = int(first_s * TICKS_PER_S) // REFERENCE_TICKS
        arrivals: list[int | None] = []
        for sequence in range(base, end):
            at = self._arrivals.pop(sequence, None) if sequence in came else None
            arrivals.append(None if at is None else round(at * TICKS_PER_S) - reference * REFERENCE_TICKS)
        self._told = end
        self._feedback.append((self.now + self._up_s, base, reference & 0xFFFFFF, arrivals))

    def _sample(self) -> None:
        self._whole |= {picture: at for at, picture in self._done if at <= self.now}
        keyframes = [picture for picture in self._whole if self._pictures[picture][0] and picture > self._chain]
        if keyframes and self._chain + 1 not in self._whole:
            self._show(max(keyframes))
        while self._chain + 1 in self._whole:
            self._show(self._chain + 1)
        self._done = [item for item in self._done if item[0] > self.now]
        while self._window and self._window[0][0] < self.now - 1:
            self._window.popleft()
        limit = self._limit_bytes
        self.samples.append(
            Sample(
                self.now,
                self.link.bits_per_s(self.now),
                self.estimator.estimate_bps if self._judge == "transport-cc" else None,
                None if limit is None else 8.0 * limit,
                self.link.queue_s(self.now),
                8.0 * sum(size for _, size in self._window),
                self.rendition,
                len(self.shown),
            )
        )

    def _show(self, picture: int) -> None:
        """Decode a picture. Those before it that are missing never come."""
        self._chain = picture
        self.shown.append((self._whole[picture], self._pictures[picture][1]))

    # What came of it.

    def pictures_per_s(self, begin_s: float, end_s: float) -> float:
        return sum(begin_s <= at < end_s for at, _ in self.shown) / (end_s - begin_s)

    def queue_s(self, begin_s: float, end_s: float, share: float = 0.95) -> float:
        """A percentile of the queue's length."""
        waits = sorted(sample.queue_s for sample in self.samples if begin_s <= sample.at_s < end_s)
        return waits[int(len(waits) * share)] if waits else 0.0

    def fewest_pictures(self, begin_s: float, end_s: float) -> int:
        """How many pictures the worst second had, of those that begin every tenth of a second."""
        begins = [begin_s + step / 10 for step in range(int((end_s - begin_s - 1) * 10) + 1)]
        return min(sum(begin <= at < begin + 1 for at, _ in self.shown) for begin in begins)

    def first(self, rendition: str, after_s: float = 0.0) -> float | None:
        """When the first picture of a rendition was shown after a time."""
        return next((at for at, name in self.shown if name == rendition and at >= after_s), None)


def steps(*rates: tuple[float, float]) -> Callable[[float], float]:
    """A rate that changes: pairs of the time from which on it holds, and bits a second."""
    ordered: Sequence[tuple[float, float]] = sorted(rates)
    return lambda now: next(rate for since_s, rate in reversed(ordered) if since_s <= now or since_s == ordered[0][0])
