"""FrameDelays: how long each video frame of a camera takes to its viewers' sockets.

A frame is timed at three moments: when the capture thread hands it over to the event loop, when the camera's hub
publishes it, and when ``sendmsg`` of its last packet has returned for the last viewer. For a camera of
:mod:`bench.support.rtsp_cameras`, which says when it gave a frame to its socket, that is the first moment. Between the
first two are the wake-up of the event loop and whatever the loop does at that moment. After the second come all sinks
that are called before the WebRTC fan-out, and the fan-out. The CPU time of the event loop's thread between the second
and the third is the delay of a machine that does nothing else.
"""

import time
from dataclasses import dataclass
from typing import Any

from bench.support.rtsp_cameras import sent_at_s
from gateway.capture.runner import EngineRunner
from gateway.hub import PacketHub
from gateway.media import Packet
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.rtp.packets import Frame
from gateway.webrtc.rtp.video_sender import VideoSender
from gateway.webrtc.server import WebRtcServer


@dataclass
class _Times:
    """The moments of one frame: ``time.perf_counter``, and ``time.thread_time`` for those of the event loop."""

    captured_s: float
    published_s: float
    published_cpu_s: float
    is_keyframe: bool
    camera_id: str
    sent_s: float = 0.0
    sent_cpu_s: float = 0.0


class FrameDelays:
    """Times every frame from now on, by wrapping methods of the gateway's classes. Make one in a process."""

    server: WebRtcServer

    def __init__(self) -> None:
        self._captured_s: dict[int, float] = {}
        """Packets that the event loop has not taken yet, by their ``id``."""
        self._publishing: _Times | None = None
        self._frames: dict[int, _Times] = {}
        """By :attr:`Frame.captured_at_90k`, which two cameras hardly share."""
        self._behind: dict[str, int] = {}
        """By viewer: how often it was behind the live edge, at the last :meth:`take`."""
        offer, publish = EngineRunner._offer, PacketHub.publish
        on_packet, send = CameraFanout.on_packet, VideoSender._send

        def timed_offer(runner: EngineRunner, packet: Packet) -> None:
            self._captured_s[id(packet)] = time.perf_counter()
            offer(runner, packet)

        def timed_publish(hub: PacketHub, packet: Packet) -> None:
            now_s = time.perf_counter()
            captured_s = self._captured_s.pop(id(packet), None) or sent_at_s(packet.data) or now_s
            self._publishing = _Times(captured_s, now_s, time.thread_time(), packet.is_keyframe, hub.camera_id)
            publish(hub, packet)
            self._publishing = None

        def timed_on_packet(fanout: CameraFanout, packet: Packet) -> None:
            if self._publishing is not None:  # None for the GOP that a new sink gets
                self._frames[packet.captured_at_90k] = self._publishing
            on_packet(fanout, packet)

        def timed_send(sender: VideoSender, frame: Frame) -> bool:
            is_sent = send(sender, frame)
            times = self._frames.get(frame.captured_at_90k)
            if is_sent and times is not None:
                times.sent_s, times.sent_cpu_s = time.perf_counter(), time.thread_time()
            return is_sent

        EngineRunner._offer = timed_offer  # type: ignore[method-assign,assignment]
        PacketHub.publish = timed_publish  # type: ignore[method-assign,assignment]
        CameraFanout.on_packet = timed_on_packet  # type: ignore[method-assign,assignment]
        VideoSender._send = timed_send  # type: ignore[method-assign,assignment]

    def take(self) -> dict[str, Any]:
        """All frames since the last call but the newest, which may not be sent yet.

        ``frames`` are objects in milliseconds, ``behind`` is how often viewers were behind the live edge (replays and
        dropped frames).
        """
        stats = {viewer_id: viewer.stats() for viewer_id, viewer in self.server.viewers.items()}
        behind = {viewer_id: item.replays + item.frames_dropped for viewer_id, item in stats.items()}
        frames = [(key, times) for key, times in list(self._frames.items())[:-1] if times.sent_s]
        result = {
            "frames": [
                {
                    "from_capture_ms": (times.sent_s - times.captured_s) * 1000,
                    "from_publish_ms": (times.sent_s - times.published_s) * 1000,
                    "cpu_ms": (times.sent_cpu_s - times.published_cpu_s) * 1000,
                    "is_keyframe": times.is_keyframe,
                    "camera": times.camera_id,
                    "captured_at_90k": key,
                }
                for key, times in frames
            ],
            "behind": sum(count - self._behind.get(viewer_id, 0) for viewer_id, count in behind.items()),
        }
        self._captured_s.clear()
        self._frames.clear()
        self._behind = behind
        return result
