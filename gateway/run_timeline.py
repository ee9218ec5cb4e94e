"""RunTimeline: the runs of a camera one after the other on one timeline, for viewers that see a restart as a pause.

The runs have only the capture time in common: the distance between two of them is that of their capture times.
"""

from gateway.media import Packet

GAP_MAX_90K = 1 << 30
"""3.3 h. A longer absence of the camera is shortened to this: a receiver takes a jump beyond 2^31 for the past."""


class RunTimeline:
    """90 kHz ticks, beginning with the presentation times of the first run."""

    def __init__(self) -> None:
        self.run: int | None = None
        """The run that has a place on the timeline; ``None`` before the first video packet."""
        self.base_90k = 0
        """Added to the ``pts_90k`` of the run's packets."""
        self._newest: tuple[int, int] | None = None
        """Place and capture time of the newest video packet."""

    def place(self, packet: Packet) -> int:
        """The time of the camera's next video packet."""
        if packet.run != self.run:
            self.run = packet.run
            self.base_90k = 0
            if self._newest is not None:
                newest_90k, captured_at_90k = self._newest
                gap = min(max(packet.captured_at_90k - captured_at_90k, 1), GAP_MAX_90K)
                self.base_90k = newest_90k + gap - packet.pts_90k
        placed = packet.pts_90k + self.base_90k
        if self._newest is None or placed > self._newest[0]:
            self._newest = placed, packet.captured_at_90k
        return placed

    def at(self, wall_90k: int) -> int | None:
        """The place of a moment of the wall clock; ``None`` before the first video packet."""
        return None if self._newest is None else self._newest[0] + wall_90k - self._newest[1]
