"""Cameras with a main and a sub stream, from a real RTSP server, and their WebRTC viewers."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.camera import Camera
from gateway.service import CaptureService
from gateway.settings import load_settings
from gateway.webrtc.rendition_request import RenditionRequest
from gateway.webrtc.viewer import Viewer
from tests.support.rtsp import RtspServer

Open = Callable[..., Camera]

QUICK = {"connection_retry_delay": 0.1, "connection_retry_attempts": 1000}
"""A camera that is back soon after it was lost."""


@pytest.fixture
async def opened(rtsp_server: RtspServer) -> AsyncIterator[Open]:
    """Opens a camera with a main stream of 640x480 and a sub stream of 320x240, which is not captured yet."""
    services: list[CaptureService] = []

    def open_camera(**table: Any) -> Camera:
        base = {"url": rtsp_server.url("/large"), "sub_url": rtsp_server.url("/gop1"), "start": "on-demand"}
        settings = load_settings().camera("door", {**base, "record": "never", "capture_linger": 0, **table})
        services.append(CaptureService({"door": settings}))
        services[-1].start()
        return services[-1].camera("door")

    yield open_camera
    for service in services:
        await service.close()


def gets(viewer: Viewer) -> str:
    """Which stream a viewer gets."""
    assert viewer.rendition is not None
    return viewer.rendition.current.name.value


def ask(viewer: Viewer, request: RenditionRequest) -> None:
    """Ask for another stream."""
    assert viewer.rendition is not None
    viewer.rendition.ask(request)
    viewer.update_rendition()
