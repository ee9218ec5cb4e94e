"""Peers that send what they should not: the server refuses it, and no other viewer notices."""

import asyncio
import os
import random
import socket
from unittest.mock import patch

import psutil
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import VideoFrame

from gateway.webrtc.server import WebRtcServer
from gateway.webrtc.stats import ViewerState
from tests.gateway.webrtc.ice.test_agent import check
from tests.support.eventually import eventually
from tests.support.sources.encoded_loop import encode_loop
from tests.support.webrtc import Cameras, Join


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
    async with asyncio.timeout(60):
        await viewer.closed.wait()
    assert viewer.reason == "its DTLS handshake failed"
    assert viewer.stats().packets_sent == 0
    await peer.close()


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
    async with asyncio.timeout(60):
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
