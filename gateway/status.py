"""CaptureStatus: what is known of one camera at one moment; and the meter that measures its stream."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.clock import CLOCK_RATE
from gateway.media import Packet
from gateway.session import SessionState

METER_WINDOW_S = 5
"""Frame rate and bitrate are means over this: long enough to hold a keyframe of most cameras, short enough to react."""


@dataclass(frozen=True, slots=True)
class CaptureStatus:
    """One camera. Rates are measured, not declared; ``None`` is what is not known (yet).

    ``clients`` are those who asked for the capture by command, ``viewers`` those who watch, by transport.
    ``live_edge_90k`` is the capture time of the newest picture, in 90 kHz ticks since the Unix epoch.
    """

    camera_id: str
    state: SessionState
    is_active: bool
    rtsp_url: str
    error_message: str | None = None
    clients: int = 0
    viewers: Mapping[str, int] = field(default_factory=dict)
    codec: str | None = None
    width: int | None = None
    height: int | None = None
    audio_codec: str | None = None
    fps: float | None = None
    bitrate_bps: int | None = None
    keyframe_age_s: float | None = None
    keyframe_interval_s: float | None = None
    live_edge_90k: int | None = None
    reconnects: int = 0
    packets_dropped: int = 0


class StreamMeter:
    """Frame rate, bitrate and keyframe interval of the last seconds. A hub sink; costs a deque append a packet."""

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
        # Audio is counted at the picture that it came with: its own time may be seconds away on a struggling camera.
        self._packets.append((self._now_90k, len(packet.data), packet.is_video))
        self._bytes += len(packet.data)
        self._frames += packet.is_video
        oldest_kept = self._now_90k - METER_WINDOW_S * CLOCK_RATE
        while self._packets and self._packets[0][0] < oldest_kept:
            _, size, is_video = self._packets.popleft()
            self._bytes -= size
            self._frames -= is_video

    def reset(self) -> None:
        """Forget a run that has ended."""
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
