"""RtspControl: the RTCP that a run sends to the camera: receiver reports, and requests for a keyframe."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.capture.counters import CaptureCounters
from gateway.capture.engine import CaptureSource
from gateway.capture.keyframe_requests import KeyframeRequests
from gateway.capture.rtsp_media import RtspMedia
from gateway.capture.rtsp_udp import UdpPair
from gateway.rtsp import rtcp
from gateway.rtsp.formats import VideoFormat
from gateway.rtsp.track import Track


@dataclass(frozen=True, slots=True)
class SetUpTrack:
    """A track that the server plays; ``pair`` is that of its sockets over UDP."""

    track: Track
    pair: UdpPair | None


class RtspControl:
    """See the module. ``set_up`` are the tracks of the run's :class:`~gateway.capture.rtsp_media.RtspMedia`, in its
    order; ``write`` writes to the RTSP connection. ``now`` is monotonic time in seconds.
    """

    def __init__(
        self,
        source: CaptureSource,
        counters: CaptureCounters,
        set_up: Sequence[SetUpTrack],
        write: Callable[[bytes], None],
    ) -> None:
        self._source = source
        self._counters = counters
        self._set_up = set_up
        self._write = write
        self._reports_at = 0.0
        self._requests = KeyframeRequests()
        self._is_keyframe_wanted = False

    @property
    def keyframes_asked(self) -> int:
        """How often the camera was asked for a keyframe."""
        return self._requests.count

    def begin(self, now: float) -> None:
        """The camera plays."""
        self._reports_at = now + rtcp.REPORT_INTERVAL_S

    def send_reports(self, media: RtspMedia, now: float) -> None:
        """Send receiver reports if they are due."""
        if now < self._reports_at:
            return
        self._reports_at = now + rtcp.REPORT_INTERVAL_S
        for received, set_up in zip(media.tracks, self._set_up, strict=True):
            report = received.receiver_report(now)
            if report is not None:
                self._send(set_up, report)

    def ask_for_keyframe(self, media: RtspMedia, now: float) -> None:
        """If one is wanted, ask with Picture Loss Indication and Full Intra Request, and tell who can ask otherwise."""
        since = media.keyframe_wanted_since
        if self._requests.is_due(since, now):
            for received, set_up in zip(media.tracks, self._set_up, strict=True):
                if isinstance(set_up.track.format, VideoFormat):
                    request = received.keyframe_request(self._requests.count, now)
                    if request is not None:
                        self._counters.keyframes_requested += 1
                        self._send(set_up, request)
        tell = self._source.on_keyframe_wanted
        if tell is not None and (since is not None or self._is_keyframe_wanted):
            self._is_keyframe_wanted = since is not None
            tell(None if since is None else now - since)

    def _send(self, set_up: SetUpTrack, data: bytes) -> None:
        track = set_up.track
        if set_up.pair is not None:
            if track.server_ports is not None:
                set_up.pair.send_control(data, track.server_ports[1])
        elif track.channels is not None:
            header = b"$" + bytes((track.channels[1],)) + len(data).to_bytes(2, "big")
            self._write(header + data)
