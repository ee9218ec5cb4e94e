"""StreamMeter: frame rate, bitrate and keyframe interval of a stream."""

from collections import deque

from gateway.clock import CLOCK_RATE
from gateway.media import Packet

METER_WINDOW_S = 5
"""Frame rate and bitrate are means over this period. It has a keyframe of most cameras, and follows changes quickly."""


class StreamMeter:
    """Frame rate, bitrate and keyframe interval of the last seconds. A hub sink; costs one deque append a packet."""

    def __init__(self) -> None:
        self._packets: deque[tuple[int, int, bool]] = deque()
        self._bytes = 0
        self._frames = 0
        self._run: int | None = None
        self._now_90k: int | None = None
        self._keyframe_90k: int | None = None
        self.keyframe_interval_s: float | None = None

    def on_packet(self, packet: Packet) -> None:
        """Count one packet."""
        if packet.run != self._run:
            self.reset()
            self._run = packet.run
        if packet.is_video and packet.is_keyframe:
            if self._keyframe_90k is not None:
                self.keyframe_interval_s = (packet.dts_90k - self._keyframe_90k) / CLOCK_RATE
            self._keyframe_90k = packet.dts_90k
        if packet.is_video:
            self._now_90k = packet.dts_90k
        elif self._now_90k is None:
            return
        # Audio is counted at the time of the last frame: its own time may be seconds off on a camera with problems.
        self._packets.append((self._now_90k, len(packet.data), packet.is_video))
        self._bytes += len(packet.data)
        self._frames += packet.is_video
        oldest_kept = self._now_90k - METER_WINDOW_S * CLOCK_RATE
        while self._packets and self._packets[0][0] < oldest_kept:
            _, size, is_video = self._packets.popleft()
            self._bytes -= size
            self._frames -= is_video

    def reset(self) -> None:
        """Begin a new run."""
        self._packets.clear()
        self._bytes = self._frames = 0
        self._run = self._now_90k = self._keyframe_90k = self.keyframe_interval_s = None

    @property
    def fps(self) -> float | None:
        """Video frames a second."""
        span_s = self._span_s()
        return round((self._frames - 1) / span_s, 2) if span_s and self._frames > 1 else None

    @property
    def bitrate_bps(self) -> int | None:
        """Bits a second, all tracks."""
        span_s = self._span_s()
        return round(self._bytes * 8 / span_s) if span_s else None

    def _span_s(self) -> float:
        return (self._packets[-1][0] - self._packets[0][0]) / CLOCK_RATE if self._packets else 0.0
