"""Networks and viewers that misbehave, with real sockets: no GSO, TCP unread or hung up, half a handshake."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from aioice import stun
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from OpenSSL import SSL
from playwright.async_api import Page

from gateway.webrtc.ice.tcp import TcpTransport
from gateway.webrtc.media_transport import CONNECT_TIMEOUT_S, RECONNECT_MAX_S
from gateway.webrtc.server import WebRtcServer
from gateway.webrtc.stats import ViewerState
from gateway.webrtc.viewer import Viewer
from tests.browser.test_webrtc_in_chromium import TCP_ONLY
from tests.gateway.webrtc.ice.test_agent import check
from tests.gateway.webrtc.relay import TcpRelay
from tests.support.browser import assert_moving_picture, look
from tests.support.eventually import eventually
from tests.support.netem import UdpNetwork
from tests.support.sources.encoded_loop import encode_loop
from tests.support.webrtc import Cameras, Join, offer, watch

SO_NO_CHECK = 11
"""Linux: send without UDP checksums. The kernel then refuses UDP_SEGMENT (EINVAL), as behind some tunnels."""


@pytest.fixture
async def relay(server: WebRtcServer) -> AsyncIterator[TcpRelay]:
    """Watch over TCP with an aiortc peer."""
    relay = TcpRelay(server.udp_port)
    await relay.start()
    yield relay
    await relay.close()


async def pictures(peer: RTCPeerConnection, count: int) -> None:
    """Wait for decoded frames of a peer."""
    track = peer.getReceivers()[0].track
    async with asyncio.timeout(60):
        for _ in range(count):
            await track.recv()


async def test_without_udp_segment_each_datagram_is_sent_alone(
    server: WebRtcServer, camera_with: Cameras, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    (port,) = server.listener._udp_ports
    port.socket.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    camera = camera_with(encode_loop(bit_rate=2_000_000))
    with caplog.at_level(logging.WARNING, "gateway.webrtc"):
        for _ in range(2):
            peer, viewer = await join(camera)
            await pictures(peer, 30)
            assert viewer.stats().packets_sent > 100
    assert [record.getMessage() for record in caplog.records if "UDP" in record.getMessage()] == [
        "the kernel refuses UDP segmentation ([Errno 22] Invalid argument): one system call per packet, with more CPU"
    ], "said once, not for each viewer"
    assert port.send_errors == 0


async def test_a_viewer_that_does_not_read_continues_at_a_keyframe_and_others_get_all(
    server: WebRtcServer, camera_with: Cameras, join: Join, relay: TcpRelay
) -> None:
    camera = camera_with(encode_loop(bit_rate=4_000_000, gop=15))
    slow_peer, slow = await join(camera, edit=relay.answer)
    quick_peer, quick = await join(camera)
    assert (slow.stats().transport, quick.stats().transport) == ("tcp", "udp")
    await asyncio.gather(pictures(slow_peer, 5), pictures(quick_peer, 5))

    relay.pause()
    await eventually(lambda: slow.stats().frames_dropped >= 30, "frames for the slow viewer are dropped")
    sent = slow.stats().packets_sent
    await pictures(quick_peer, 15)
    assert slow.stats().packets_sent == sent, "nothing is heaped up for it"
    assert quick.stats().frames_dropped == 0

    relay.resume()
    await eventually(lambda: slow.stats().packets_sent >= sent + 200, "the slow viewer gets packets again")
    await pictures(slow_peer, 15)
    assert slow.state is ViewerState.CONNECTED


async def test_a_viewer_whose_only_connection_is_closed_ends_unless_it_reconnects(
    server: WebRtcServer, camera_with: Cameras, join: Join, relay: TcpRelay
) -> None:
    camera = camera_with(encode_loop())
    _, viewer = await join(camera, edit=relay.answer)
    relay.hang_up()
    await eventually(lambda: viewer.agent.transport is None, "the viewer has lost its transport")
    lost = viewer.agent.transport_lost_s
    viewer.tick(lost + RECONNECT_MAX_S - 0.1, 0)
    assert viewer.state is ViewerState.CONNECTED
    viewer.tick(lost + RECONNECT_MAX_S + 0.1, 0)
    async with asyncio.timeout(60):
        await viewer.closed.wait()
    assert viewer.reason == "its connection was closed, and it did not come back"
    assert not camera.viewers
    assert server.listener._tcp.connections == 0


async def test_chromium_reconnects_when_its_connection_breaks(
    server: WebRtcServer, camera_with: Cameras, page: Page
) -> None:
    await watch(page, server, camera_with(encode_loop()), TCP_ONLY)
    (viewer,) = server.viewers.values()
    broken = viewer.agent.transport
    assert isinstance(broken, TcpTransport)
    broken.close()
    await eventually(lambda: viewer.agent.transport not in (broken, None), "the viewer has a new transport")
    assert_moving_picture(await look(page))
    assert list(server.viewers) == [viewer.id]


@pytest.fixture
async def network(server: WebRtcServer) -> AsyncIterator[UdpNetwork]:
    """A network in which a viewer's address may change."""
    network = UdpNetwork(server.udp_port)
    await network.start()
    yield network
    await network.close()


async def test_a_viewer_whose_address_changes_goes_on(
    server: WebRtcServer, camera_with: Cameras, join: Join, network: UdpNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aioice nominates once. Afterwards only its checks of the consent say where it is."""
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.5)
    peer, viewer = await join(camera_with(encode_loop()), edit=network.answer)
    await pictures(peer, 5)
    before = viewer.agent.transport
    network.rebind()
    await eventually(lambda: viewer.agent.transport not in (before, None), "the stream moves to the new address")
    sent = network.down.delivered
    await eventually(lambda: network.down.delivered > sent + 50, "media arrives at the new address")
    assert list(server.viewers.values()) == [viewer]


async def test_chromium_goes_on_when_its_address_changes(
    server: WebRtcServer, camera_with: Cameras, page: Page, network: UdpNetwork
) -> None:
    edit = (
        "return sdp.replace(/a=candidate:.*tcptype.*\\r\\n/g, '')"
        f".replace(/(udp \\d+) \\S+ \\d+ typ/g, '$1 127.0.0.1 {network.port} typ')"
    )
    await watch(page, server, camera_with(encode_loop()), edit)
    (viewer,) = server.viewers.values()
    before = viewer.agent.transport
    network.rebind()
    await eventually(lambda: viewer.agent.transport not in (before, None), "the stream moves to the new address")
    assert_moving_picture(await look(page))
    assert list(server.viewers) == [viewer.id]


async def test_a_check_from_an_address_that_does_not_answer_brings_no_media_there(
    server: WebRtcServer, camera_with: Cameras, join: Join
) -> None:
    """The viewer itself forges the source: it knows all of its credentials."""
    peer, viewer = await join(camera_with(encode_loop(bit_rate=4_000_000)))
    own = viewer.agent.transport
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as victim:
        victim.bind(("127.0.0.1", 0))
        victim.setblocking(False)
        victim.connect(("127.0.0.1", server.udp_port))
        sent = received = 0
        for _ in range(20):
            request = check(viewer.agent, USE_CANDIDATE=None)
            sent += victim.send(request)
            await pictures(peer, 3)
            with contextlib.suppress(BlockingIOError):
                while True:
                    received += len(victim.recv(4096))
        assert 0 < received <= 3 * sent
    assert viewer.agent.transport is own
    assert viewer.stats().packets_sent > 200


@pytest.mark.parametrize("setup", ["actpass", "active", "passive"])
async def test_every_dtls_role_of_an_offer_works(server: WebRtcServer, camera_with: Cameras, setup: str) -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
        await peer.setLocalDescription(await peer.createOffer())
    sdp = peer.localDescription.sdp.replace("a=setup:actpass", f"a=setup:{setup}")
    viewer = await server.join(camera_with(encode_loop()), sdp, client_address="127.0.0.1")
    wanted = {"passive": "active"}.get(setup, "passive")
    assert f"a=setup:{wanted}\r\n" in viewer.answer_sdp
    await peer.setRemoteDescription(RTCSessionDescription(viewer.answer_sdp, "answer"))
    await pictures(peer, 3)
    await peer.close()


@contextmanager
def half_a_handshake(viewer: Viewer, port: int) -> Iterator[None]:
    """Pass the ICE check, send a ClientHello, and then nothing."""
    check = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    check.attributes["USERNAME"] = f"{viewer.agent.username}:them"
    check.attributes["PRIORITY"] = 1
    check.attributes["ICE-CONTROLLING"] = 7
    check.attributes["USE-CANDIDATE"] = None
    check.add_message_integrity(viewer.agent.password.encode())
    hello: Any = SSL.Connection(SSL.Context(SSL.DTLS_METHOD))
    hello.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        hello.do_handshake()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.connect(("127.0.0.1", port))
        peer.send(bytes(check))
        peer.send(hello.bio_read(2048))
        yield


async def test_a_viewer_that_leaves_during_the_handshake_ends_in_bounded_time(
    server: WebRtcServer, camera_with: Cameras
) -> None:
    camera = camera_with(encode_loop())
    viewer = await server.join(camera, await offer(), client_address="192.0.2.9")
    with half_a_handshake(viewer, server.udp_port):
        await eventually(
            lambda: viewer.transports[0].dtls_state == "connecting" and viewer.agent.transport is not None,
            "DTLS has begun",
        )
        viewer.tick(viewer._created_s + CONNECT_TIMEOUT_S - 0.1, 0)
        assert viewer.state is ViewerState.NEW
        viewer.tick(viewer._created_s + CONNECT_TIMEOUT_S + 0.1, 0)
        async with asyncio.timeout(60):
            await viewer.closed.wait()
    assert viewer.reason == "not connected after 10 s: its DTLS handshake did not end"
    assert len(server.registry) == server.registry.addresses == 0
    assert camera.viewers == {}
    assert not [task for task in asyncio.all_tasks() if viewer.id in task.get_name() and not task.done()]
