"""The library of liveedge: cameras in, packets out. It has no HTTP, no Socket.IO and no disk.

These names are its public API. Everything else may change.
"""

from gateway.camera import Camera
from gateway.camera_settings import CameraSettings
from gateway.errors import CaptureError, LiveedgeError
from gateway.hold import Hold
from gateway.hub import PacketHub, Subscription
from gateway.jpeg.frame_bytes import FrameBytes
from gateway.jpeg.reader import JpegFrame
from gateway.media import AudioInfo, MediaKind, Packet, StreamInfo, VideoInfo
from gateway.rendition import Rendition
from gateway.service import CaptureService
from gateway.session import CaptureSession, SessionState
from gateway.settings import GatewaySettings, load_settings
from gateway.status import CaptureStatus

__all__ = [
    "AudioInfo",
    "Camera",
    "CameraSettings",
    "CaptureError",
    "CaptureService",
    "CaptureSession",
    "CaptureStatus",
    "FrameBytes",
    "GatewaySettings",
    "Hold",
    "JpegFrame",
    "LiveedgeError",
    "MediaKind",
    "Packet",
    "PacketHub",
    "Rendition",
    "SessionState",
    "StreamInfo",
    "Subscription",
    "VideoInfo",
    "load_settings",
]
