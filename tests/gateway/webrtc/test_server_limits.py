"""The limits of viewers, on a server."""

import asyncio

import pytest

from gateway.errors import UnavailableError
from gateway.webrtc.server import WebRtcServer
from tests.support.eventually import eventually
from tests.support.sources.encoded_loop import encode_loop
from tests.support.webrtc import Cameras, offer


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
    await eventually(lambda: len(server.viewers_of("loop")) <= 4, "those that gave way are closed")
    assert honest.reason is None, "the addresses of one /64 make room for each other"
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
