"""The server with real peers of a second kind (aiortc): joining, leaving, limits, silence, and what stays behind."""

import asyncio
import gc
import os
import random
import socket
import threading
from dataclasses import replace
from unittest.mock import patch

import psutil
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import VideoFrame

from gateway.errors import NegotiationError, NotFoundError, SettingsError, UnavailableError
from gateway.status import TranscodeState
from gateway.webrtc.media_transport import CONNECT_TIMEOUT_S, CONSENT_TIMEOUT_S
from gateway.webrtc.server import WebRtcServer
from gateway.webrtc.stats import Totals, ViewerState
from gateway.webrtc.viewer import Viewer
from tests.gateway.webrtc.ice.test_agent import check
from tests.support.eventually import eventually
from tests.support.manual_clock import OffsetClock
from tests.support.sources.encoded_loop import EncodedLoopEngine, encode_loop
from tests.support.webrtc import Cameras, Join


async def offer() -> str:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
        await peer.setLocalDescription(await peer.createOffer())
    sdp = peer.localDescription.sdp
    await peer.close()
    return sdp


async def test_an_aiortc_client_decodes_the_picture(camera_with: Cameras, join: Join) -> None:
    peer, viewer = await join(camera_with(encode_loop()))
    track = peer.getReceivers()[0].track
    async with asyncio.timeout(10):
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
    async with asyncio.timeout(10):
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
    async with asyncio.timeout(5):
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


async def test_silence_ends_a_viewer(server: WebRtcServer, camera_with: Cameras, join: Join) -> None:
    _, viewer = await join(camera_with(encode_loop()))
    heard = viewer.agent.last_consent_s
    viewer.tick(heard + CONSENT_TIMEOUT_S - 0.1, 0)
    assert viewer.state is ViewerState.CONNECTED
    viewer.tick(heard + CONSENT_TIMEOUT_S + 0.1, 0)
    async with asyncio.timeout(5):
        await viewer.closed.wait()
    assert viewer.reason == "silent for 10 s"


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
    async with asyncio.timeout(10):
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


async def test_a_peer_with_another_certificate_is_refused(server: WebRtcServer, camera_with: Cameras) -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
        await peer.setLocalDescription(await peer.createOffer())
    lines = peer.localDescription.sdp.split("\r\n")
    forged = ":".join(["AB"] * 32)
    sdp = "\r\n".join(
        f"a=fingerprint:sha-256 {forged}" if line.startswith("a=fingerprint:sha-256") else line for line in lines
    )
    viewer = await server.join(camera_with(encode_loop()), sdp, client_address="127.0.0.1")
    await peer.setRemoteDescription(RTCSessionDescription(viewer.answer_sdp, "answer"))
    async with asyncio.timeout(10):
        await viewer.closed.wait()
    assert viewer.reason == "its DTLS handshake failed"
    assert viewer.stats().packets_sent == 0
    await peer.close()


async def test_limits_for_a_camera_and_for_an_address(camera_with: Cameras) -> None:
    server = WebRtcServer(udp_port=0, listen=("127.0.0.1",), viewers_per_camera=3, viewers_per_client=2)
    await server.start()
    camera, sdp = camera_with(encode_loop()), await offer()
    await server.join(camera, sdp, client_address="192.0.2.1")
    await server.join(camera, sdp, client_address="192.0.2.1")
    with pytest.raises(UnavailableError, match="your address has 2"):
        await server.join(camera, sdp, client_address="192.0.2.1")
    await server.join(camera, sdp, client_address="192.0.2.2")
    with pytest.raises(UnavailableError, match="camera loop has 3"):
        await server.join(camera, sdp, client_address="192.0.2.3")
    await server.close()
    assert camera.viewers == {}


async def test_pending_joins_count_against_the_limit(camera_with: Cameras) -> None:
    server = WebRtcServer(udp_port=0, listen=("127.0.0.1",), viewers_per_client=2)
    await server.start()
    camera, sdp = camera_with(encode_loop()), await offer()
    results = await asyncio.gather(
        *(server.join(camera, sdp, client_address="192.0.2.1") for _ in range(6)), return_exceptions=True
    )
    assert sum(isinstance(result, UnavailableError) for result in results) == 4
    await server.close()


async def test_a_camera_that_does_not_start_is_unavailable_and_released(
    server: WebRtcServer, camera_with: Cameras, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.webrtc.first_rendition.KEYFRAME_WAIT_S", 0.2)
    camera = camera_with(encode_loop())
    EncodedLoopEngine.showing.clear()
    with pytest.raises(UnavailableError):
        await server.join(camera, await offer(), client_address="192.0.2.1")
    assert camera.viewers == {}


async def test_b_frames_are_refused_with_the_reason(server: WebRtcServer, camera_with: Cameras) -> None:
    camera = camera_with(encode_loop(b_frames=2, profile="main"), transcode="never")
    with pytest.raises(NegotiationError, match="B-frames"):
        await server.join(camera, await offer(), client_address="192.0.2.1")
    assert camera.viewers == {}


async def test_h265_is_refused_with_the_reason_where_the_offer_has_none(
    server: WebRtcServer, camera_with: Cameras
) -> None:
    plain = encode_loop()
    camera = camera_with(replace(plain, video=replace(plain.video, codec="hevc")), transcode="never")
    with pytest.raises(NegotiationError, match=r"H\.265"):
        await server.join(camera, await offer(), client_address="192.0.2.1")
    assert camera.viewers == {}
    assert camera.transcode.state is TranscodeState.IDLE


async def test_a_viewer_that_decodes_nothing_that_the_camera_sends_gets_it_transcoded(
    server: WebRtcServer, camera_with: Cameras, join: Join
) -> None:
    camera = camera_with(encode_loop(b_frames=2, profile="main"))
    peer, viewer = await join(camera)
    track = peer.getReceivers()[0].track
    pictures = [await track.recv() for _ in range(5)]
    assert all(isinstance(picture, VideoFrame) for picture in pictures)
    stats = viewer.stats()
    assert (stats.codec, stats.rendition) == ("h264", "main")
    assert stats.rendition_reason is not None
    assert "transcoded" in stats.rendition_reason
    assert camera.viewers == {"webrtc": 1}
    pid = camera.transcode.pid
    await join(camera)
    assert camera.transcode.pid == pid, "both get the same"
    assert camera.transcode.viewers == {"webrtc": 2}
    for each in tuple(server.viewers.values()):
        await each.close("test")
    await eventually(lambda: camera.transcode.pid is None, "it ends after the last viewer")


async def test_at_the_limit_of_transcodes_the_refusal_says_so(server: WebRtcServer, camera_with: Cameras) -> None:
    camera = camera_with(encode_loop(b_frames=2, profile="main"))
    camera.transcode._limit.maximum = 0
    with pytest.raises(NegotiationError, match=r"B-frames.*\. It cannot be transcoded now: .*TRANSCODE_MAX") as caught:
        await server.join(camera, await offer(), client_address="192.0.2.1")
    assert caught.value.transports == ("hls", "mjpeg")
    assert camera.viewers == {}


async def test_nothing_is_transcoded_for_an_offer_without_h264(server: WebRtcServer, camera_with: Cameras) -> None:
    camera = camera_with(encode_loop(b_frames=2, profile="main"))
    with pytest.raises(NegotiationError):
        await server.join(camera, (await offer()).replace("H264", "H263"), client_address="192.0.2.1")
    assert camera.transcode.counters.starts == 0


async def test_a_codec_that_was_not_negotiated_ends_a_viewer(
    server: WebRtcServer, camera_with: Cameras, join: Join
) -> None:
    plain = encode_loop()
    camera = camera_with(plain)
    _, viewer = await join(camera)
    EncodedLoopEngine.showing["loop"] = (replace(plain, video=replace(plain.video, codec="hevc")), None)
    async with asyncio.timeout(10):
        await viewer.closed.wait()
    assert viewer.reason is not None
    assert "hevc" in viewer.reason


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


async def test_random_datagrams_are_refused_and_leave_no_state(
    server: WebRtcServer, camera_with: Cameras, join: Join
) -> None:
    _, viewer = await join(camera_with(encode_loop()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", server.udp_port))
        client.setblocking(False)
        for first in range(256):
            client.send(bytes((first,)) + os.urandom(first))
            client.send(bytes((first,)))
        client.send(b"\x00\x01" + bytes(4000))
        await eventually(lambda: server.registry.refused.total() >= 400, "400 datagrams are refused")
        with pytest.raises(BlockingIOError):
            client.recv(100)
    assert server.registry.refused["error"] == 0
    assert server.registry.addresses == 1
    assert viewer.state is ViewerState.CONNECTED


async def test_a_viewer_that_sends_mutated_packets_disturbs_no_other(
    server: WebRtcServer, camera_with: Cameras, join: Join
) -> None:
    camera = camera_with(encode_loop())
    peer, _ = await join(camera)
    _, hostile = await join(camera)
    chance = random.Random(1)
    samples = [
        check(hostile.agent),
        b"\x16\xfe\xfd" + bytes(8) + b"\0\x20" + chance.randbytes(32),
        b"\x81\xc9\0\x07" + chance.randbytes(44),
        b"\x81\xcd\0\x03" + chance.randbytes(28),
    ]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.connect(("127.0.0.1", server.udp_port))
        wire.setblocking(False)
        wire.send(samples[0])
        await eventually(
            lambda: server.registry.transport_to(wire.getsockname()) is not None, "the address belongs to a transport"
        )
        before_bytes = psutil.Process().memory_info().rss
        for number in range(6000):
            data = bytearray(chance.choice(samples))
            for _ in range(chance.randint(1, 4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            wire.send(data[: chance.randint(1, len(data))] if number % 3 == 0 else data)
            if number % 50 == 0:
                await asyncio.sleep(0.001)
    track = peer.getReceivers()[0].track
    seen_s = 0.0
    async with asyncio.timeout(10):
        while seen_s < 2.5:  # more than was under way before
            picture = await track.recv()
            assert isinstance(picture, VideoFrame)
            seen_s = picture.time or 0.0
    assert server.registry.refused["error"] == 0
    assert server.registry.refused["wrong_password"] > 0
    assert hostile.srtp_rejected > 0
    assert server.registry.addresses <= 3
    assert psutil.Process().memory_info().rss - before_bytes < 20_000_000


async def test_replayed_and_forged_srtcp_is_refused(camera_with: Cameras, join: Join) -> None:
    _, viewer = await join(camera_with(encode_loop()))
    heard, transport = viewer.agent.last_consent_s, viewer.agent.transport
    assert transport is not None
    for first in (0x80, 0x81, 0xBF):
        viewer.agent.receive(bytes((first, 201)) + os.urandom(60), transport)
        viewer.agent.receive(bytes((first, 206)) + os.urandom(3000), transport)
        viewer.agent.receive(bytes((first,)), transport)
    assert viewer.srtp_rejected == 6
    assert viewer.stats().srtp_rejected == 6
    assert viewer.agent.last_consent_s == heard


async def test_a_tcp_connection_that_is_not_ice_is_closed(server: WebRtcServer) -> None:
    with socket.create_connection(("127.0.0.1", server.udp_port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        await eventually(lambda: server.registry.refused["malformed"], "the malformed datagram is counted")
        await asyncio.sleep(0)
        assert client.recv(100) == b"", "closed, and nothing was said"


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


async def test_viewers_that_never_connect_keep_nobody_out(
    camera_with: Cameras, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.webrtc.limits.UNCONNECTED_S", 0.0)
    server = WebRtcServer(udp_port=0, listen=("127.0.0.1",), viewers_per_camera=4, viewers_per_client=3)
    await server.start()
    camera, sdp = camera_with(encode_loop()), await offer()
    for n in range(20):
        await server.join(camera, sdp, client_address=f"2001:db8::{n:x}")
    honest = await server.join(camera, sdp, client_address="192.0.2.1")
    for n in range(20):
        await server.join(camera, sdp, client_address=f"2001:db8::{n:x}")
    await asyncio.sleep(0.05)
    assert honest.reason is None, "the addresses of one /64 make room for each other"
    assert len(server.viewers_of("loop")) <= 4
    assert server.limits.evicted > 30
    await server.close()


async def test_a_credential_has_a_limit_of_its_own_and_an_administrator_none(camera_with: Cameras) -> None:
    server = WebRtcServer(udp_port=0, listen=("127.0.0.1",), viewers_per_camera=5, viewers_per_client=2)
    await server.start()
    camera, sdp = camera_with(encode_loop()), await offer()
    for counted_as in (None, None, "ada at 192.0.2.1", "ada at 192.0.2.1", "bob at 192.0.2.1"):
        await server.join(camera, sdp, client_address="192.0.2.1", counted_as=counted_as)
    for counted_as in (None, "ada at 192.0.2.1", "bob at 192.0.2.1"):
        with pytest.raises(UnavailableError):
            await server.join(camera, sdp, client_address="192.0.2.1", counted_as=counted_as)
    assert server.limits.refused == 3
    await server.join(camera, sdp, client_address="192.0.2.1", counted_as="root", is_limited=False)
    await server.close()
    assert camera.viewers == {}
