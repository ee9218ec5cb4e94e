"""What is counted of WebRTC viewers: one at one moment, and all that there were."""

from dataclasses import dataclass
from enum import StrEnum


class ViewerState(StrEnum):
    """Where a viewer is in its life."""

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
    limit_bps: int | None
    """Bits a second that it is sent at most, since its network carries no more."""
    degraded: str | None
    """Why it sees fewer pictures than there are, or broken ones, in words; ``None`` while its network is well."""


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

    def plus(self, stats: ViewerStats) -> "Totals":
        """With one more viewer."""
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
        )
