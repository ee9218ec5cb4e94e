"""PublisherFeedback: the RTCP that goes to a publisher about its media. Sans-IO.

Theory of operation. Every packet is noted. :meth:`PublisherFeedback.due` is called every :data:`TICK_S`, and as soon as
a packet is missing; it returns compound packets (RFC 4585 §3.1): requests for packets and keyframes, the arrivals for
congestion control, and once a second receiver reports.
"""

from collections.abc import Callable

from gateway.capture.rtsp_media import RtspMedia
from gateway.rtsp import rtcp
from gateway.whip.keyframe_timer import KeyframeTimer
from gateway.whip.negotiation import NegotiatedPublisher
from gateway.whip.rate_estimate import RateEstimate, remb
from gateway.whip.reception import MissingPackets, nack
from gateway.whip.transport_feedback import INTERVAL_S as ARRIVALS_INTERVAL_S
from gateway.whip.transport_feedback import TransportArrivals

TICK_S = 0.05
"""In seconds: a packet is asked for again after as long."""

REPORT_INTERVAL_S = 1.0
"""Of receiver reports and REMB, in seconds: often enough for a sender's congestion control."""


class PublisherFeedback:
    """See the module. Times are monotonic seconds."""

    def __init__(self, negotiated: NegotiatedPublisher, ssrc: int, now: float) -> None:
        self.missing = MissingPackets()
        self.arrivals = TransportArrivals()
        self.keyframes = KeyframeTimer()
        self.packets = 0
        """Packets of video that came, those of retransmissions not counted."""
        self._ssrc = ssrc
        feedback = negotiated.video.feedback
        self._has_nack = "nack" in feedback
        self._has_remb = "goog-remb" in feedback
        self._rate = RateEstimate()
        self._counted = (0, 0)
        self._arrivals_at = self._report_at = now

    def note_video(self, sequence: int, size: int, now: float, *, is_repeated: bool) -> bool:
        """A packet of video has come. Whether packets are to be asked for at once."""
        missed = self.missing.missed
        self.missing.note(sequence, now)
        if not is_repeated:
            self.packets += 1
            self._rate.note(size)
        return self._has_nack and self.missing.missed > missed

    def due(self, media: RtspMedia | None, source_ssrc: int | None, now: float) -> list[bytes]:
        """The compound packets to send now. ``source_ssrc`` is the video's, once there is one."""
        if source_ssrc is None:
            return []
        parts: list[bytes] = []
        missing = self.missing.take_due(now)
        if missing and self._has_nack:
            parts.append(nack(self._ssrc, source_ssrc, missing))
            if media is not None:
                media.counters.rtp_packets_requested += len(missing)
        if media is not None and self.keyframes.is_due(media.keyframe_wanted_since, media.keyframe_at, now):
            parts.append(rtcp.picture_loss(self._ssrc, source_ssrc))
            media.counters.keyframes_requested += 1
        reports: list[bytes] = []
        if now - self._report_at >= REPORT_INTERVAL_S:
            reports = self._reports(media, now)
            if self._has_remb:
                parts.append(remb(self._ssrc, source_ssrc, self._estimate(now - self._report_at)))
            self._report_at = now
        arrivals: list[bytes] = []
        if now - self._arrivals_at >= ARRIVALS_INTERVAL_S:
            self._arrivals_at = now
            arrivals = self.arrivals.take(self._ssrc, source_ssrc)
        compounds = [b"".join((*(reports or [rtcp.empty_report(self._ssrc)]), *parts))] if parts or reports else []
        return compounds + [rtcp.empty_report(self._ssrc) + each for each in arrivals]

    def _reports(self, media: RtspMedia | None, now: float) -> list[bytes]:
        reports: list[Callable[[float], bytes | None]] = []
        if media is not None:
            reports = [track.receiver_report for track in media.tracks]
        return [found for report in reports if (found := report(now)) is not None]

    def _estimate(self, interval_s: float) -> float:
        packets, missed = self.packets - self._counted[0], self.missing.missed - self._counted[1]
        self._counted = self.packets, self.missing.missed
        return self._rate.update(interval_s, min(1.0, missed / max(1, packets + missed)))
