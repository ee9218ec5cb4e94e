"""The main job: from a camera to a browser, to HLS and to disk, with the gateway in its own process."""

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import Page

from tests.support.browser import assert_moving_picture, look
from tests.support.eventually import eventually_sync
from tests.support.ffprobe import decode, ffprobe
from tests.support.gateway_process import GatewayProcess
from tests.support.rtsp import AWKWARD, VIEWER, RtspServer

Gateways = Callable[..., GatewayProcess]


def files(gateway: GatewayProcess, pattern: str = "*.mp4") -> list[Path]:
    return sorted((gateway.folder / "data").rglob(pattern))


async def test_without_a_camera_the_demo_is_shown(gateways: Gateways, page: Page) -> None:
    gateway = gateways()
    assert gateway.json("/health") == {"status": "ok"}
    await page.goto(gateway.url)
    assert_moving_picture(await look(page))
    await page.wait_for_selector('article[data-camera="demo"][data-state="live"]')
    video = next(s for s in ffprobe(f"{gateway.url}/hls/demo/index.m3u8")["streams"] if s["codec_type"] == "video")
    assert (video["codec_name"], video["width"], video["height"]) == ("h264", 1280, 720)


@pytest.mark.parametrize("mount", ["cam", "high", "aac", "sdponly"])
async def test_a_real_camera_reaches_browser_hls_and_disk(
    gateways: Gateways, page: Page, rtsp_server: RtspServer, mount: str
) -> None:
    gateway = gateways(RTSP_URL=rtsp_server.url(mount), ARCHIVE_SEGMENT_SECONDS=4)
    camera = await asyncio.to_thread(gateway.wait_for_state, "live")
    await page.goto(gateway.url)
    seen = await look(page)
    assert_moving_picture(seen)
    assert (seen[-1]["width"], seen[-1]["height"]) == (camera["width"], camera["height"])

    playlist = gateway.fetch("/hls/default/index.m3u8")[2].decode()
    codecs = re.search(r'CODECS="(avc1\.[0-9a-f]{6})', playlist)
    assert codecs, playlist
    assert f"RESOLUTION={camera['width']}x{camera['height']}" in playlist
    complaints = await asyncio.to_thread(decode, f"{gateway.url}/hls/default/index.m3u8", "-t", "3")
    assert not complaints

    def closed_segments() -> list[dict[str, object]]:
        listed = gateway.json("/api/cameras/default/segments")["segments"]
        return [segment for segment in listed if segment["state"] == "closed"]

    segment = (await asyncio.to_thread(eventually_sync, closed_segments, "a segment is closed"))[0]
    status, headers, body = gateway.fetch(f"/archive/default/{segment['id']}.mp4")
    assert status == 200
    assert int(headers["Content-Length"]) == len(body) == segment["size"]
    copy = gateway.folder / "download.mp4"
    copy.write_bytes(body)
    assert not decode(copy)
    status, headers, part = gateway.fetch(f"/archive/default/{segment['id']}.mp4", headers={"Range": "bytes=100-199"})
    assert (status, part) == (206, body[100:200])


@pytest.mark.parametrize("mount", ["hevc", "bframes"])
async def test_a_camera_that_chromium_does_not_decode_over_webrtc_is_transcoded(
    gateways: Gateways, page: Page, rtsp_server: RtspServer, mount: str
) -> None:
    gateway = gateways(RTSP_URL=rtsp_server.url(mount))
    await asyncio.to_thread(gateway.wait_for_state, "live")
    await page.goto(gateway.url)
    assert_moving_picture(await look(page))
    assert await page.evaluate('document.querySelector("live-edge-player").state.transport') == "webrtc"
    transcode = gateway.camera()["transcode"]
    assert (transcode["state"], transcode["viewers"]) == ("running", {"webrtc": 1})
    (viewer,) = gateway.camera()["webrtc"]["renditions"]
    assert "transcoded" in viewer["reason"]


async def test_hevc_that_may_not_be_transcoded_is_refused_by_webrtc_and_served_by_the_rest(
    gateways: Gateways, page: Page, rtsp_server: RtspServer
) -> None:
    gateway = gateways(RTSP_URL=rtsp_server.url("hevc"), TRANSCODE="never")
    await asyncio.to_thread(gateway.wait_for_state, "live")
    await page.goto(gateway.url)
    await page.wait_for_function(
        """() => { const player = document.querySelector("live-edge-player");
                   return ["jpeg", "mjpeg"].includes(player.state.transport) && player.surface?.width > 0; }"""
    )
    video = next(s for s in ffprobe(f"{gateway.url}/hls/default/index.m3u8")["streams"] if s["codec_type"] == "video")
    assert video["codec_name"] == "hevc"


@pytest.mark.parametrize(("user", "password"), [VIEWER, AWKWARD])
def test_awkward_passwords_open_the_camera_and_are_shown_nowhere(
    gateways: Gateways, rtsp_server: RtspServer, user: str, password: str
) -> None:
    gateway = gateways(RTSP_URL=rtsp_server.guarded_url("/cam", user, password), DEBUG="true")
    gateway.wait_for_state("live")
    shown = gateway.log() + str(gateway.json("/api/status")) + str(gateway.camera())
    for secret in (password, quote(password, safe=""), quote(password)):
        assert secret not in shown


async def test_a_camera_that_dies_and_comes_back_keeps_its_viewer(
    gateways: Gateways, page: Page, own_rtsp_server: RtspServer
) -> None:
    gateway = gateways(RTSP_URL=own_rtsp_server.url("cam"), CONNECTION_RETRY_DELAY="0.2", CAPTURE_TIMEOUT="1000")
    await asyncio.to_thread(gateway.wait_for_state, "live")
    await page.goto(gateway.url)
    assert_moving_picture(await look(page))
    await page.evaluate("""
        () => { const peer = RTCPeerConnection.prototype; window.closed = 0;
                const close = peer.close; peer.close = function () { window.closed++; return close.call(this); }; }
    """)
    own_rtsp_server.kill()
    await asyncio.to_thread(
        eventually_sync,
        lambda: gateway.camera()["state"] in ("retrying", "failed"),
        "the loss of the camera is noticed",
    )
    assert gateway.json("/health") == {"status": "ok"}
    own_rtsp_server.start()
    await asyncio.to_thread(gateway.wait_for_state, "live")
    assert_moving_picture(await look(page))
    assert await page.evaluate("window.closed") == 0
    playlist = await asyncio.to_thread(media_playlist, gateway)
    assert "#EXT-X-DISCONTINUITY" in playlist


def media_playlist(gateway: GatewayProcess) -> str:
    """The media playlist behind the multivariant one."""
    lines = gateway.fetch("/hls/default/index.m3u8")[2].decode().splitlines()
    name = next(line for line in lines if line and not line.startswith("#"))
    return gateway.fetch(f"/hls/default/{name}")[2].decode()


def test_a_recording_survives_kill_9_and_the_next_start_heals_it(gateways: Gateways, rtsp_server: RtspServer) -> None:
    gateway = gateways(RTSP_URL=rtsp_server.url("cam"))
    gateway.wait_for_state("live")
    eventually_sync(lambda: files(gateway) and files(gateway)[0].stat().st_size > 20_000, "the recording grows")
    time.sleep(2)  # let it record something worth losing
    gateway.kill()
    (torn,) = files(gateway)
    before = len(ffprobe(torn, "-show_packets")["packets"])
    assert before > 30
    gateway.start()
    segments = eventually_sync(lambda: gateway.json("/api/cameras/default/segments")["segments"], "a segment is listed")
    truncated = next(segment for segment in segments if segment["id"] == torn.stem)
    assert truncated["state"] == "truncated"
    assert not decode(torn)
    gateway.wait_for_state("live")


def test_sigterm_finishes_files_and_ends_with_0(gateways: Gateways, rtsp_server: RtspServer) -> None:
    gateway = gateways(RTSP_URL=rtsp_server.url("cam"))
    gateway.wait_for_state("live")
    eventually_sync(lambda: files(gateway) and files(gateway)[0].stat().st_size > 50_000, "the recording grows")
    took = gateway.stop()
    assert gateway.process is not None
    assert gateway.process.returncode == 0, gateway.log()
    assert took < 5, "the contract's bound, not a measure of speed"
    assert "Traceback" not in gateway.log(), gateway.log()
    assert "Task was destroyed" not in gateway.log()
    (finished,) = files(gateway)
    assert not decode(finished)
    assert float(ffprobe(finished)["format"]["duration"]) > 0.5


def test_commands_for_people_with_curl(gateways: Gateways, rtsp_server: RtspServer) -> None:
    gateway = gateways(RTSP_URL=rtsp_server.url("cam"), START="on-demand")
    assert gateway.camera()["state"] == "stopped"
    started = gateway.json("/api/cameras/default/capture/start", "POST", {"client_id": "curl"})
    assert started["is_active"]
    live = gateway.wait_for_state("live")
    assert live["clients"] == 1
    stopped = gateway.json("/api/cameras/default/capture/stop", "POST", {"client_id": "curl"})
    assert (stopped["state"], stopped["is_active"]) == ("stopped", False)
    assert gateway.fetch("/api/cameras/nosuch")[0] == 404
    assert gateway.fetch("/api/cameras/default/capture/start", "POST", b"{")[0] == 400
    assert gateway.json("/api/cameras/nosuch")["error"] == "not_found"


def test_cameras_are_added_and_removed_at_run_time(gateways: Gateways, rtsp_server: RtspServer) -> None:
    gateway = gateways()
    added = gateway.json("/api/cameras", "POST", {"camera_id": "door", "url": rtsp_server.url("cam")})
    assert added["camera_id"] == "door", added
    gateway.wait_for_state("live", "door")
    assert gateway.fetch("/hls/door/index.m3u8")[0] == 200
    assert (
        gateway.json("/api/cameras", "POST", {"camera_id": "door", "url": "rtsp://127.0.0.1/"})["error"] == "conflict"
    )
    assert (
        gateway.json("/api/cameras", "POST", {"camera_id": "x", "url": "file:///etc/passwd"})["error"] == "bad_request"
    )
    assert gateway.fetch("/api/cameras/door", "DELETE")[0] == 204
    assert gateway.fetch("/api/cameras/door")[0] == 404
