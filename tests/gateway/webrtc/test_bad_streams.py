"""Cameras one of whose streams is bad: what viewers get meanwhile, how soon, and with which reason."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from gateway.camera_settings import RenditionName
from gateway.session import SessionState
from gateway.webrtc.rendition_request import RenditionRequest
from gateway.webrtc.server import WebRtcServer
from tests.support.eventually import eventually
from tests.support.rtsp import RtspServer
from tests.support.two_streams import QUICK, Open, ask, gets
from tests.support.webrtc import Join, offer

pytestmark = pytest.mark.integration

GIVES_UP = {"connection_retry_attempts": 0, "connection_retry_delay": 0.1}
"""An on-demand camera that fails at once, and is then tried only for somebody who waits for it."""


@pytest.fixture
def silent_url() -> Iterator[str]:
    """A camera that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/silent"


async def test_a_viewer_of_the_transcode_waits_for_the_stream_that_failed(
    opened: Open, join: Join, own_rtsp_server: RtspServer, rtsp_server: RtspServer
) -> None:
    camera = opened(url=rtsp_server.url("/bframes"), sub_url=own_rtsp_server.url("/gop1"), **GIVES_UP)
    _, viewer = await join(camera)
    switch = viewer.rendition
    assert switch is not None
    assert switch.current is camera.sub
    await asyncio.to_thread(own_rtsp_server.kill)
    await eventually(lambda: switch.current is camera.transcode, "the viewer gets the transcode")
    stats = viewer.stats()
    assert (stats.rendition, stats.transcoded, stats.codec) == ("main", True, "h264")
    reason = "the main stream has B-frames; the sub stream is lost; so the main stream is transcoded"
    assert stats.rendition_reason == reason
    await eventually(lambda: camera.sub and camera.sub.session.state is SessionState.FAILED, "it has failed")
    await asyncio.to_thread(own_rtsp_server.restart)
    await eventually(lambda: switch.current is camera.sub, "the viewer gets the sub stream again")
    assert switch.reason == "the main stream has B-frames"
    await eventually(lambda: camera.transcode.pid is None, "nothing is transcoded any more")


async def test_a_stream_that_refuses_credentials_is_not_asked_again_for_who_has_another_one(
    opened: Open, join: Join, rtsp_server: RtspServer
) -> None:
    camera = opened(sub_url=rtsp_server.guarded_url(password="wrong"))
    sub = camera.rendition(RenditionName.SUB)
    viewers = []
    for _ in range(2):
        viewers.append((await join(camera))[1])
        ask(viewers[-1], RenditionRequest(tile=(160, 90)))
        await eventually(lambda: sub.session.state is SessionState.FAILED, "it has failed")
    for _ in range(3):
        for viewer in viewers:
            ask(viewer, RenditionRequest(RenditionName.MAIN))
            ask(viewer, RenditionRequest(tile=(160, 90)))
        await asyncio.sleep(0.1)
    assert [gets(viewer) for viewer in viewers] == ["main", "main"]
    assert sub.runs._run == 1, "a camera locks an account after some attempts"


@pytest.mark.parametrize("bad", ["url", "sub_url"])
async def test_a_viewer_does_not_wait_for_the_stream_that_is_bad(
    opened: Open, join: Join, silent_url: str, bad: str
) -> None:
    camera = opened(**{bad: silent_url}, capture_timeout=8000)
    tile = (160, 90) if bad == "sub_url" else (1280, 720)
    _, viewer = await join(camera, request=RenditionRequest(tile=tile))
    name, other = ("sub", "main") if bad == "sub_url" else ("main", "sub")
    assert gets(viewer) == other
    assert camera.rendition(RenditionName(name)).session.state is SessionState.CONNECTING, "it has not failed yet"
    assert viewer.stats().rendition_reason == f"the {name} stream is not there yet"


async def test_a_pinned_stream_that_is_bad_leaves_the_viewer_with_the_other_one(
    opened: Open, join: Join, rtsp_server: RtspServer
) -> None:
    camera = opened(sub_url=rtsp_server.url("/none"), **GIVES_UP)
    _, viewer = await join(camera, request=RenditionRequest(RenditionName.SUB))
    assert gets(viewer) == "main"
    stats = viewer.stats()
    assert (stats.rendition_reason, stats.pinned) == ("the sub stream is lost", False)


async def test_nothing_is_transcoded_where_the_viewer_gets_the_main_stream(
    opened: Open, join: Join, rtsp_server: RtspServer
) -> None:
    camera = opened(sub_url=rtsp_server.url("/hevc"))
    _, viewer = await join(camera, request=RenditionRequest(RenditionName.SUB))
    assert viewer.rendition is not None
    assert viewer.rendition.current is camera.main
    assert camera.transcode.counters.starts == 0
    assert viewer.stats().rendition_reason == "the sub stream has hevc, which the viewer does not decode"


async def test_a_viewer_leaves_a_stream_that_stalls_and_returns_when_that_is_steady(
    opened: Open, join: Join, own_rtsp_server: RtspServer
) -> None:
    camera = opened(url=own_rtsp_server.url("/large"), capture_timeout=60_000, **QUICK)
    _, viewer = await join(camera)
    assert gets(viewer) == "main"
    sent = viewer.stats().packets_sent
    await eventually(lambda: viewer.stats().packets_sent > sent + 100, "its usual interval is known")
    own_rtsp_server.freeze()
    try:
        await eventually(lambda: gets(viewer) == "sub", "the viewer gets the sub stream")
        assert camera.main.session.state is SessionState.LIVE
        assert viewer.stats().rendition_reason == "the main stream sends no pictures at present"
        assert camera.main.stalls == 1
        sent = viewer.stats().packets_sent
        await eventually(lambda: viewer.stats().packets_sent > sent + 10, "it is sent video")
    finally:
        own_rtsp_server.thaw()
    await eventually(lambda: camera.main.has_pictures, "the main stream is back")
    await eventually(lambda: gets(viewer) == "main", "the viewer gets the main stream again")
    assert viewer.stats().rendition_switches == 2
    assert viewer.stats().rendition_reason == "it is the best there is"


async def test_who_pins_a_stream_that_is_slow_to_start_sees_the_one_that_is_there(
    opened: Open, server: WebRtcServer, silent_url: str
) -> None:
    camera = opened(sub_url=silent_url, start="always", capture_timeout=60_000)
    await camera.main.wait_for_keyframe(20)
    request = RenditionRequest(RenditionName.SUB)
    async with asyncio.timeout(60):
        viewer = await server.join(camera, await offer(), client_address="127.0.0.1", request=request, wait_s=600)
    sub = camera.rendition(RenditionName.SUB)
    assert (gets(viewer), sub.session.state) == ("main", SessionState.CONNECTING)
    assert viewer.rendition is not None
    viewer.update_rendition()
    assert viewer.rendition.pending is sub
    assert "the sub stream is not there yet" in viewer.rendition.reason
