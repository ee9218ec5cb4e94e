"""Main and sub stream of one camera, with a real RTSP server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.camera import Camera
from gateway.camera_settings import RecordSubMode, RenditionName
from gateway.errors import NotFoundError, SettingsError, UnavailableError
from gateway.service import CaptureService
from gateway.session import SessionState
from gateway.settings import load_settings
from tests.support.eventually import eventually
from tests.support.rtsp import RtspServer

real = pytest.mark.integration

Open = Callable[..., Camera]


@pytest.fixture
async def opened(rtsp_server: RtspServer) -> AsyncIterator[Open]:
    """Opens a camera with a main stream of 640x480, a sub stream of 320x240, and no viewer."""
    services: list[CaptureService] = []

    def open_camera(**table: Any) -> Camera:
        base = {
            "url": rtsp_server.url("/large"),
            "sub_url": rtsp_server.url("/video"),
            "start": "on-demand",
            "record": "never",
        }
        settings = load_settings().camera("door", {**base, "capture_linger": 0, **table})
        services.append(CaptureService({"door": settings}))
        services[-1].start()
        return services[-1].camera("door")

    yield open_camera
    for service in services:
        await service.close()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith(("capture-", "close-sub-"))]


@real
async def test_a_sub_stream_is_captured_only_while_it_has_a_viewer_and_has_a_state_of_its_own(opened: Open) -> None:
    camera = opened(start="always")
    assert camera.sub is not None
    await camera.wait_for_keyframe(10)
    assert camera.sub.session.state is SessionState.STOPPED
    assert camera.sub.hub.info is None
    hold = camera.rendition(RenditionName.SUB).hold("webrtc")
    await camera.sub.wait_for_keyframe(10)
    status = camera.status()
    assert status.sub is not None
    assert (status.width, status.height, status.sub.width, status.sub.height) == (640, 480, 320, 240)
    assert (dict(status.viewers), dict(status.sub.viewers)) == ({"webrtc": 1}, {"webrtc": 1})
    assert status.rtsp_url.endswith("/large")
    assert status.sub.rtsp_url.endswith("/video")
    hold.release()
    await eventually(lambda: camera.sub and camera.sub.session.state is SessionState.STOPPED, "the sub stream stopped")
    assert camera.session.state is SessionState.LIVE
    assert camera.viewers == {}


@real
async def test_a_recorded_sub_stream_is_captured_without_a_viewer_as_long_as_it_records(opened: Open) -> None:
    camera = opened(record_sub="always", capture_linger=0)
    assert camera.sub is not None
    await camera.sub.wait_for_keyframe(10)
    assert camera.session.state is SessionState.STOPPED
    never = camera.settings.model_copy(update={"record_sub": RecordSubMode.NEVER})
    camera.reconfigure(never, camera.main._engine_factory)
    await eventually(lambda: camera.sub and camera.sub.session.state is SessionState.STOPPED, "the sub stream stopped")


@real
async def test_a_sub_stream_alone_does_not_capture_the_main_stream(opened: Open) -> None:
    camera = opened()
    assert camera.sub is not None
    hold = camera.sub.hold("webrtc")
    await camera.sub.wait_for_keyframe(10)
    assert camera.session.state is SessionState.STOPPED
    edge = camera.status().live_edge
    assert edge is not None
    hold.release()


@real
async def test_a_failed_sub_stream_does_not_affect_the_main_stream(opened: Open, rtsp_server: RtspServer) -> None:
    camera = opened(start="always", sub_url=rtsp_server.url("/none"), connection_retry_attempts=0)
    assert camera.sub is not None
    camera.sub.hold("webrtc")
    await camera.wait_for_keyframe(10)
    await eventually(lambda: camera.sub and camera.sub.session.state is SessionState.FAILED, "the sub stream failed")
    status = camera.status()
    assert status.state is SessionState.LIVE
    assert status.error_message is None
    assert status.sub is not None
    assert "404" in (status.sub.error_message or "")


@real
async def test_a_corrected_url_ends_the_failure_of_a_sub_stream_that_nobody_watches(
    opened: Open, rtsp_server: RtspServer
) -> None:
    camera = opened(sub_url=rtsp_server.url("/none"), connection_retry_attempts=0, capture_linger=30)
    sub = camera.rendition(RenditionName.SUB)
    sub.hold("webrtc").release()
    await eventually(lambda: sub.session.state is SessionState.FAILED, "the sub stream failed")
    await eventually(lambda: not sub._capture.is_running, "it is not tried any more")
    changed = camera.settings.model_copy(update={"sub_url": SecretStr(rtsp_server.url("/video"))})
    camera.reconfigure(changed, camera.main._engine_factory)
    status = camera.status().sub
    assert status is not None
    assert (status.state, status.error_message, status.down_since) == (SessionState.STOPPED, None, None)
    hold = sub.hold("webrtc")
    await sub.wait_for_keyframe(10)
    hold.release()


@real
async def test_an_on_demand_camera_that_failed_comes_back_for_the_viewer_that_stayed(opened: Open) -> None:
    with RtspServer() as source:
        camera = opened(url=source.url("/video"), sub_url=None, connection_retry_attempts=0, connection_retry_delay=0.1)
        hold = camera.main.hold("webrtc")
        await camera.wait_for_keyframe(10)
        source.stop()
        await eventually(lambda: camera.session.state is SessionState.FAILED, "the camera failed")
        source.start()
        await eventually(lambda: camera.session.state is SessionState.LIVE, "the camera is live again")
        source.stop()
        await eventually(lambda: camera.session.state is SessionState.FAILED, "the camera failed again")
        hold.release()
        await eventually(lambda: camera.session.state is SessionState.STOPPED, "nobody watches")


@real
async def test_a_paused_camera_is_captured_for_nobody_and_resumed_for_those_who_stayed(opened: Open) -> None:
    camera = opened(start="always", capture_linger=30)
    hold = camera.hold("webrtc")
    await camera.wait_for_keyframe(10)

    def set_paused(is_paused: bool) -> None:
        changed = camera.settings.model_copy(update={"paused": is_paused})
        camera.reconfigure(changed, camera.main._engine_factory)

    set_paused(True)
    await eventually(lambda: camera.session.state is SessionState.STOPPED, "the camera is paused")
    camera.add_client("ems")
    camera.rendition(RenditionName.SUB).hold("mjpeg")
    for rendition in camera.renditions.values():
        with pytest.raises(UnavailableError, match="paused: resume"):
            await rendition.wait_for_keyframe(3600)
    status = camera.status()
    assert (status.state, status.down_since, status.viewers) == ("stopped", None, {"mjpeg": 1, "webrtc": 1})
    set_paused(False)
    for rendition in camera.renditions.values():
        await rendition.wait_for_keyframe(10)
    hold.release()


@real
async def test_a_sub_stream_is_added_changed_and_removed_while_main_goes_on(
    opened: Open, rtsp_server: RtspServer
) -> None:
    camera = opened(start="always", sub_url=None)
    with pytest.raises(NotFoundError, match="sub_url"):
        camera.rendition(RenditionName.SUB)
    await camera.wait_for_keyframe(10)
    run = camera.hub.gop[0].run

    def change(sub_url: str | None) -> None:
        table = {"url": rtsp_server.url("/large"), "sub_url": sub_url, "start": "always", "record": "never"}
        camera.reconfigure(load_settings().camera("door", table), camera.main._engine_factory)

    change(rtsp_server.url("/video"))
    sub = camera.rendition(RenditionName.SUB)
    sub.hold("webrtc")
    await sub.wait_for_keyframe(10)
    change(rtsp_server.url("/gop1"))
    assert camera.sub is sub
    await eventually(lambda: sub.hub.gop and sub.hub.gop[0].run == 2, "the other sub stream is captured")
    change(None)
    assert camera.sub is None
    assert camera.status().sub is None
    await eventually(lambda: sub.session.state is SessionState.STOPPED, "the removed sub stream has ended")
    assert camera.hub.newest is not None
    assert camera.hub.newest.run == run


def test_a_sub_url_that_no_engine_opens_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError, match="sub_url does not start with") as raised:
        load_settings().camera("door", {"url": "rtsp://192.0.2.7/", "sub_url": "u:s3cret@192.0.2.7/2"})
    assert "s3cret" not in str(raised.value)
