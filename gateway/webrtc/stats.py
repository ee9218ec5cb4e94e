"""Statistics of WebRTC viewers: of one viewer now, and totals of all."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Literal, Self

from pydantic import BaseModel, Field


class ViewerState(StrEnum):
    """The state of a viewer."""

    NEW = "new"
    CONNECTED = "connected"
    CLOSED = "closed"


@dataclass(slots=True, frozen=True)
class ViewerStats:
    """One viewer at one moment."""

    viewer_id: str
    camera_id: str
    state: ViewerState
    client_address: str
    transport: str | None
    packets_sent: int
    bytes_sent: int
    frames_dropped: int
    replays: int
    retransmitted: int
    retransmissions_refused: int
    fraction_lost: float
    packets_lost: int
    jitter_s: float
    round_trip_s: float | None
    limits: int
    audio_packets_dropped: int
    """Audio packets that its transport did not take."""
    srtp_rejected: int
    """SRTP and SRTCP datagrams from it that were not authentic."""
    dtls_dropped: int
    """DTLS datagrams from it that did not fit in the queue."""
    limit_bps: int | None
    """The limit that its network imposes, in bits a second; ``None`` without one."""
    estimate_bps: int | None
    """What its network carries, in bits a second; ``None`` while nothing is known against it."""
    bandwidth_method: str | None
    """What this is known from: see :class:`~gateway.webrtc.bandwidth.viewer_bandwidth.Method`; ``None``: no media."""
    probe_bytes: int
    """Sent to find out whether its network carries more."""
    sends_forgotten: int
    """Sends whose feedback came too late, or not at all."""
    degraded: str | None
    """Why it gets fewer frames than the camera sends, or broken ones; ``None`` while its network is good."""
    rendition: str | None = None
    codec: str | None = None
    transcoded: bool = False
    """Whether it gets what is made of that rendition."""
    pinned: bool = False
    """Whether it asked for this rendition and no other."""
    rendition_reason: str | None = None
    """Why it gets this rendition, as a clause."""
    rendition_switches: int = 0
    """How often its rendition has changed."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counters over viewers; see :class:`ViewerStats` for each."""

    viewers: int = 0
    packets_sent: int = 0
    bytes_sent: int = 0
    frames_dropped: int = 0
    replays: int = 0
    retransmitted: int = 0
    retransmissions_refused: int = 0
    packets_lost: int = 0
    limits: int = 0
    audio_packets_dropped: int = 0
    srtp_rejected: int = 0
    dtls_dropped: int = 0
    rendition_switches: int = 0
    probe_bytes: int = 0
    sends_forgotten: int = 0
    audio_faults: int = 0
    """Audio packets of the camera that could not be transcoded. Counted once, not for each viewer."""

    def plus(self, stats: ViewerStats) -> "Totals":
        """The totals with one more viewer."""
        return Totals(
            self.viewers + 1,
            self.packets_sent + stats.packets_sent,
            self.bytes_sent + stats.bytes_sent,
            self.frames_dropped + stats.frames_dropped,
            self.replays + stats.replays,
            self.retransmitted + stats.retransmitted,
            self.retransmissions_refused + stats.retransmissions_refused,
            self.packets_lost + stats.packets_lost,
            self.limits + stats.limits,
            self.audio_packets_dropped + stats.audio_packets_dropped,
            self.srtp_rejected + stats.srtp_rejected,
            self.dtls_dropped + stats.dtls_dropped,
            self.rendition_switches + stats.rendition_switches,
            self.probe_bytes + stats.probe_bytes,
            self.sends_forgotten + stats.sends_forgotten,
            self.audio_faults,
        )


DEGRADED_MAX = 16
"""The most sentences about viewers in one answer. Their number is not limited."""


LISTED_MAX = 256
"""The most viewers that one answer lists: the limit of a camera."""


class ViewerRendition(BaseModel):
    """What one viewer of a camera gets, and why. It has no id: that would allow to end the viewer."""

    rendition: Literal["main", "sub"]
    transcoded: bool = Field(description="whether it gets H.264 that is made of that rendition")
    codec: str
    pinned: bool = Field(description="whether the viewer asked for this rendition and no other")
    limit_bps: int | None = Field(description="what its network carries, if that is less than the rendition")
    estimate_bps: int | None = Field(description="bits a second that its network carries; null: enough, or not known")
    bandwidth_method: str | None = Field(description="transport-cc, remb or receiver-reports")
    reason: str = Field(description="why it gets this rendition, as a clause")


class WebRtcStats(BaseModel):
    """All WebRTC viewers of a camera: sums, and means over the viewers that have sent reports."""

    viewers: int
    packets_sent: int
    bytes_sent: int
    frames_dropped: int
    packets_lost: int
    packets_retransmitted: int
    bandwidth_limited: int = Field(description="viewers that get fewer frames because of their networks")
    renditions: list[ViewerRendition] = Field(description="what each viewer gets, and why")
    degraded_reasons: list[str] = Field(description="why viewers see fewer or broken frames, one sentence each")
    fraction_lost: float | None
    jitter_s: float | None
    round_trip_s: float | None

    @classmethod
    def of(cls, viewers: Sequence[ViewerStats]) -> Self:
        """The sums and means of ``viewers``."""
        round_trips = [viewer.round_trip_s for viewer in viewers if viewer.round_trip_s is not None]
        return cls(
            viewers=len(viewers),
            packets_sent=sum(viewer.packets_sent for viewer in viewers),
            bytes_sent=sum(viewer.bytes_sent for viewer in viewers),
            frames_dropped=sum(viewer.frames_dropped for viewer in viewers),
            packets_lost=sum(viewer.packets_lost for viewer in viewers),
            packets_retransmitted=sum(viewer.retransmitted for viewer in viewers),
            bandwidth_limited=sum(viewer.limit_bps is not None for viewer in viewers),
            renditions=[
                ViewerRendition(
                    rendition="main" if viewer.rendition == "main" else "sub",
                    transcoded=viewer.transcoded,
                    codec=viewer.codec or "",
                    pinned=viewer.pinned,
                    limit_bps=viewer.limit_bps,
                    estimate_bps=viewer.estimate_bps,
                    bandwidth_method=viewer.bandwidth_method,
                    reason=viewer.rendition_reason or "",
                )
                for viewer in viewers
                if viewer.rendition is not None
            ][:LISTED_MAX],
            degraded_reasons=[viewer.degraded for viewer in viewers if viewer.degraded is not None][:DEGRADED_MAX],
            fraction_lost=round(fmean(viewer.fraction_lost for viewer in viewers), 4) if viewers else None,
            jitter_s=round(fmean(viewer.jitter_s for viewer in viewers), 5) if viewers else None,
            round_trip_s=round(fmean(round_trips), 5) if round_trips else None,
        )
