"""Fixtures of the WebRTC tests: a server, cameras that play test videos, and aiortc peers."""

from tests.support.two_streams import opened
from tests.support.webrtc import camera_with, join, page, server

__all__ = ["camera_with", "join", "opened", "page", "server"]
