"""The server with real peers of a second kind (aiortc): joining, leaving, silence, and what stays behind."""

import asyncio
import gc
import socket
import threading
from unittest.mock import patch

import psutil
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from gateway.errors import NotFoundError, SettingsError, UnavailableError
from gateway.webrtc.media_transport import CONNECT_TIMEOUT_S, CONSENT_TIMEOUT_S
from gateway.webrtc.server import WebRtcServer
from gateway.webrtc.stats import Totals, ViewerState
from gateway.webrtc.viewer import Viewer
from tests.support.eventually import eventually
from tests.support.manual_clock import OffsetClock
from tests.support.sources.encoded_loop import EncodedLoopEngine, encode_loop
from tests.support.webrtc import Cameras, Join, offer


async def test_an_aiortc_client_decodes_the_picture(camera_with: Cameras, join: Join) -> None:
    peer, viewer = await join(camera_with(encode_loop()))
    track = peer.getReceivers()[0].track
    async with asyncio.timeout(60):
        frames = [await track.recv() for _ in range(5)]
    assert {(frame.width, frame.height) for frame in frames} == {(320, 180)}  # type: ignore[union-attr]
    assert frames[-1].to_ndarray(format="gray").mean() > 60  # type: ignore[union-attr]
    assert viewer.state is ViewerState.CONNECTED


async def test_a_client_with_a_transport_per_section_answers_the_gateways_checks(
    server: WebRtcServer, camera_with: Cameras
) -> None:
    """Without a max-bundle policy each section may have its own. Bundled, those of the first section count."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for kind in ("audio", "video"):
        peer.addTransceiver(kind, direction="recvonly")
    with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
        await peer.setLocalDescription(await peer.createOffer())
    audio, video = peer.localDescription.sdp.split("m=video")
    for name in ("a=ice-ufrag:", "a=ice-pwd:"):
        video = video.replace(name, f"{name}other")
    sdp = f"{audio}m=video{video}"
    viewer = await server.join(camera_with(encode_loop()), sdp, client_address="127.0.0.1")
    await peer.setRemoteDescription(RTCSessionDescription(viewer.answer_sdp, "answer"))
    async with asyncio.timeout(60):
        await viewer.connected.wait()
    (path,) = viewer.agent.paths.values()
    await eventually(lambda: path.unanswered == 0, "the check is answered")
    await eventually(lambda: peer.connectionState == "connected", "the peer is connected")
    await peer.close()


async def test_the_camera_is_held_while_a_viewer_lives(camera_with: Cameras, join: Join) -> None:
    camera = camera_with(encode_loop())
    peer, viewer = await join(camera)
    assert camera.viewers == {"webrtc": 1}
    await peer.close()
    async with asyncio.timeout(60):
        await viewer.closed.wait()
    assert camera.viewers == {}
    assert not camera.is_wanted


async def test_closing_a_viewer_closes_its_peer(server: WebRtcServer, camera_with: Cameras, join: Join) -> None:
    peer, viewer = await join(camera_with(encode_loop()))
    await viewer.close("by order")
    await viewer.close("again")
    assert viewer.reason == "by order"
    with pytest.raises(NotFoundError):
        server.viewer(viewer.id)
    await eventually(lambda: peer.connectionState == "closed", "the peer connection is closed")


async def test_a_viewer_is_found_under_its_camera_only(server: WebRtcServer, camera_with: Cameras, join: Join) -> None:
    _, viewer = await join(camera_with(encode_loop()))
    assert server.viewer(viewer.id, "loop") is viewer
    with pytest.raises(NotFoundError):
        server.viewer(viewer.id, "other")


async def test_totals_include_closed_viewers(server: WebRtcServer, camera_with: Cameras, join: Join) -> None:
    camera = camera_with(encode_loop())
    assert server.totals("loop") == Totals()
    _, first = await join(camera)
    await join(camera)
    await eventually(
        lambda: all(viewer.stats().packets_sent for viewer in server.viewers.values()), "every viewer gets packets"
    )
    await first.close()
    gone = first.stats()
    totals = server.totals("loop")
    assert totals.viewers == 2
    assert totals.replays == 2
    assert totals.packets_sent > gone.packets_sent > 0
    assert server.totals("other") == Totals()


async def test_silence_ends_a_viewer_but_not_a_network_that_is_away_for_10_s(
    server: WebRtcServer, camera_with: Cameras, join: Join
) -> None:
    _, viewer = await join(camera_with(encode_loop()))
    heard = viewer.agent.last_consent_s
    viewer.tick(heard + 10.0 + 4.0, 0)
    assert viewer.state is ViewerState.CONNECTED
    viewer.tick(heard + CONSENT_TIMEOUT_S + 0.1, 0)
    async with asyncio.timeout(60):
        await viewer.closed.wait()
    assert viewer.reason == "silent for 15 s"


async def test_a_process_that_was_stopped_loses_no_viewer(
    server: WebRtcServer, camera_with: Cameras, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = OffsetClock()
    monkeypatch.setattr(server, "_clock", clock)
    _, viewer = await join(camera_with(encode_loop()))
    resumed = asyncio.Event()

    def resume(stalled_s: float) -> None:
        Viewer.resume(viewer, stalled_s)
        resumed.set()

    monkeypatch.setattr(viewer, "resume", resume)
    clock.ahead_s = 3 * CONSENT_TIMEOUT_S
    async with asyncio.timeout(60):
        await resumed.wait()
    sent = viewer.stats().packets_sent
    await eventually(lambda: viewer.stats().packets_sent > sent + 5, "the viewer gets packets again")
    assert viewer.state is ViewerState.CONNECTED


async def test_a_viewer_that_never_connects_is_removed(server: WebRtcServer, camera_with: Cameras) -> None:
    camera = camera_with(encode_loop())
    viewer = await server.join(camera, await offer(), client_address="192.0.2.9")
    viewer.tick(viewer._created_s + CONNECT_TIMEOUT_S + 0.1, 0)
    await viewer.closed.wait()
    assert viewer.reason is not None
    assert "nothing came from it" in viewer.reason
    assert len(server.registry) == 0
    assert camera.viewers == {}


async def test_a_camera_that_does_not_start_is_unavailable_and_released(
    server: WebRtcServer, camera_with: Cameras, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.webrtc.first_rendition.KEYFRAME_WAIT_S", 0.2)
    camera = camera_with(encode_loop())
    EncodedLoopEngine.showing.clear()
    with pytest.raises(UnavailableError):
        await server.join(camera, await offer(), client_address="192.0.2.1")
    assert camera.viewers == {}


async def test_a_viewer_stays_while_its_camera_is_disconnected(camera_with: Cameras, join: Join) -> None:
    camera = camera_with(encode_loop(), connection_retry_attempts=1000)
    _, viewer = await join(camera)
    showing = EncodedLoopEngine.showing.pop("loop")
    await eventually(lambda: camera.session.state != "live", "the session is not live any more")
    sent = viewer.stats().packets_sent
    EncodedLoopEngine.showing["loop"] = showing
    await eventually(lambda: viewer.stats().packets_sent != sent, "the viewer gets packets again")
    assert viewer.state is ViewerState.CONNECTED


async def test_ice_restarts_with_new_credentials(server: WebRtcServer, camera_with: Cameras, join: Join) -> None:
    _, viewer = await join(camera_with(encode_loop()))
    before = viewer.etag
    assert viewer.patch("a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n") is None
    assert viewer.etag == before
    fragment = viewer.patch("a=ice-ufrag:newone\r\na=ice-pwd:" + "x" * 24 + "\r\n")
    assert fragment is not None
    assert viewer.etag != before
    assert f"a=ice-ufrag:{viewer.agent.username}" in fragment
    assert f" {server.udp_port} typ host" in fragment


async def test_over_ipv6(camera_with: Cameras, join: Join) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        with pytest.raises(SettingsError):
            await WebRtcServer(udp_port=0, listen=("::1",)).start()
        return
    server = WebRtcServer(udp_port=0, listen=("::1",))
    await server.start()
    _, viewer = await join(camera_with(encode_loop()), server, "::1")
    assert viewer.agent.transport is not None
    assert viewer.agent.transport.remote[0] == "::1"
    await server.close()


async def test_on_a_wildcard_an_answer_comes_from_the_address_that_was_asked(camera_with: Cameras, join: Join) -> None:
    server = WebRtcServer(udp_port=0, listen=("0.0.0.0",), hosts=["127.0.0.77"])
    await server.start()
    server.listener.local_addresses = list  # type: ignore[method-assign]
    _, viewer = await join(camera_with(encode_loop()), server)
    assert " 127.0.0.77 " in viewer.answer_sdp
    assert viewer.state is ViewerState.CONNECTED
    await server.close()


async def test_names_are_resolved_and_unresolvable_ones_left_out() -> None:
    server = WebRtcServer(udp_port=0, listen=("127.0.0.1",), hosts=["localhost", "no.such.host.invalid", "192.0.2.4"])
    await server.start()
    lines = server.listener.candidates()
    assert any(" 192.0.2.4 " in line and line.endswith("typ host") for line in lines)
    assert any(" 192.0.2.4 " in line and line.endswith("tcptype passive") for line in lines)
    assert not any("invalid" in line for line in lines)
    assert sum(" 127.0.0.1 " in line for line in lines) == 2
    await server.close()


async def test_a_port_in_use_is_a_settings_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        server = WebRtcServer(udp_port=other.getsockname()[1], listen=("127.0.0.1",))
        with pytest.raises(SettingsError, match="WEBRTC_UDP_PORT"):
            await server.start()


@pytest.mark.integration
async def test_a_hundred_joins_and_leaves_leave_nothing_behind(camera_with: Cameras) -> None:
    server = WebRtcServer(udp_port=0, listen=("127.0.0.1",))
    await server.start()
    camera = camera_with(encode_loop())
    hold = camera.hold("test")
    process = psutil.Process()

    async def come_and_go(times: int) -> None:
        for _ in range(times):
            peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            peer.addTransceiver("video", direction="recvonly")
            with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
                await peer.setLocalDescription(await peer.createOffer())
            viewer = await server.join(camera, peer.localDescription.sdp, client_address="127.0.0.1")
            await peer.setRemoteDescription(RTCSessionDescription(viewer.answer_sdp, "answer"))
            await viewer.connected.wait()
            await viewer.close()
            await peer.close()
        await asyncio.sleep(0.1)
        gc.collect()

    def held() -> tuple[int, int, int, int]:
        viewers = sum(isinstance(item, Viewer) for item in gc.get_objects())
        return threading.active_count(), len(asyncio.all_tasks()), process.num_fds(), viewers

    await come_and_go(10)
    (*before, few), memory = held(), process.memory_info().rss
    await come_and_go(100)
    *after, viewers = held()
    assert after == before
    assert viewers <= few + 3, "the last ones may still be in a frame that has just ended"
    assert process.memory_info().rss - memory < 12 * 1024 * 1024
    assert len(server.registry) == server.registry.addresses == 0
    hold.release()
    await server.close()
