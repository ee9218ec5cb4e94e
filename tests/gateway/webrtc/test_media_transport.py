"""Viewers with more than one transport: aiortc peers whose offer bundles nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from unittest.mock import patch

import pytest
from aiortc import MediaStreamTrack, RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from gateway.errors import BadRequestError
from gateway.media import AudioInfo
from gateway.webrtc.media_transport import CONNECT_TIMEOUT_S, CONSENT_TIMEOUT_S
from gateway.webrtc.sdp.fragment import parse_fragment
from gateway.webrtc.server import WebRtcServer
from gateway.webrtc.stats import ViewerState
from gateway.webrtc.viewer import Viewer
from tests.support.eventually import eventually
from tests.support.sources.encoded_loop import AudioLoop, encode_loop
from tests.support.webrtc import Cameras

SOUND = AudioLoop(AudioInfo("pcm_alaw", "", 8000, 1), 1800, (b"\xd5\x95" * 80,))

JoinUnbundled = Callable[..., Awaitable[tuple[dict[str, MediaStreamTrack], Viewer]]]


@pytest.fixture
async def join_unbundled(server: WebRtcServer, camera_with: Cameras) -> AsyncIterator[JoinUnbundled]:
    """Joins a camera with sound; returns the tracks by kind, and the viewer."""
    peers: list[RTCPeerConnection] = []

    async def join(edit: Callable[[str], str] = lambda answer: answer) -> tuple[dict[str, MediaStreamTrack], Viewer]:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_COMPAT))
        peers.append(peer)
        for kind in ("video", "audio"):
            peer.addTransceiver(kind, direction="recvonly")
        with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
            await peer.setLocalDescription(await peer.createOffer())
        # aiortc always has the group, and bundles only what the answer bundles.
        lines = [line for line in peer.localDescription.sdp.splitlines() if not line.startswith("a=group:BUNDLE")]
        camera = camera_with(encode_loop(), SOUND)
        viewer = await server.join(camera, "\r\n".join(lines) + "\r\n", client_address="127.0.0.1")
        await peer.setRemoteDescription(RTCSessionDescription(edit(viewer.answer_sdp), "answer"))
        return {each.receiver.track.kind: each.receiver.track for each in peer.getTransceivers()}, viewer

    yield join
    for peer in peers:
        await peer.close()


async def both_connected(viewer: Viewer) -> None:
    await eventually(lambda: all(each.is_connected for each in viewer.transports), "both transports are connected")


async def test_picture_and_sound_come_over_two_transports(server: WebRtcServer, join_unbundled: JoinUnbundled) -> None:
    tracks, viewer = await join_unbundled()
    for track in tracks.values():
        for _ in range(5):
            await track.recv()
    paths = {each.agent.transport.remote for each in viewer.transports if each.agent.transport is not None}
    assert len(paths) == 2
    assert len(server.registry) == 2
    await viewer.close()
    assert len(server.registry) == server.registry.addresses == 0


async def test_the_video_goes_on_when_the_sounds_transport_ends(
    server: WebRtcServer, join_unbundled: JoinUnbundled
) -> None:
    tracks, viewer = await join_unbundled()
    await both_connected(viewer)
    _, audio = viewer.transports
    heard = audio.agent.last_consent_s
    audio.tick(heard + CONSENT_TIMEOUT_S - 0.1)
    assert not audio.is_closing
    audio.tick(heard + CONSENT_TIMEOUT_S + 0.1)
    await audio.close()
    assert len(server.registry) == 1
    sent = viewer.stats().packets_sent
    await eventually(lambda: viewer.stats().packets_sent > sent + 5, "the video goes on")
    viewer.tick(audio.agent.last_consent_s, 0)
    await tracks["video"].recv()
    assert viewer.state is ViewerState.CONNECTED


async def test_a_transport_that_never_connects_costs_the_sound_only(
    server: WebRtcServer, join_unbundled: JoinUnbundled
) -> None:
    def without_sound(answer: str) -> str:
        video, audio = answer.split("m=audio")
        return video + "m=audio" + audio.replace("a=ice-pwd:", "a=ice-pwd:wrong")

    tracks, viewer = await join_unbundled(without_sound)
    await tracks["video"].recv()
    video, audio = viewer.transports
    assert not audio.is_connected
    audio.tick(viewer.created_s + CONNECT_TIMEOUT_S + 0.1)
    await audio.close()
    assert len(server.registry) == 1
    assert (viewer.state, video.is_connected, viewer.reason) == (ViewerState.CONNECTED, True, None)


async def test_the_videos_transport_ends_the_viewer(server: WebRtcServer, join_unbundled: JoinUnbundled) -> None:
    _, viewer = await join_unbundled()
    await both_connected(viewer)
    video, _ = viewer.transports
    video.tick(video.agent.last_consent_s + CONSENT_TIMEOUT_S + 0.1)
    await viewer.closed.wait()
    assert viewer.reason == "silent for 15 s"
    assert len(server.registry) == 0


async def test_each_transport_restarts_on_its_own(join_unbundled: JoinUnbundled) -> None:
    _, viewer = await join_unbundled()
    await both_connected(viewer)
    video, audio = viewer.transports
    before, (video_name, audio_name) = viewer.etag, (video.agent.username, audio.agent.username)
    known = f"a=ice-ufrag:{audio.agent.remote[0]}\r\na=ice-pwd:{audio.agent.remote[1]}\r\n"
    assert viewer.patch(f"m=audio 9 UDP/TLS/RTP/SAVPF 8\r\na=mid:1\r\n{known}") is None
    fresh = "a=ice-ufrag:newone\r\na=ice-pwd:" + "x" * 24 + "\r\n"
    answer = viewer.patch(f"m=audio 9 UDP/TLS/RTP/SAVPF 8\r\na=mid:1\r\n{fresh}")
    assert answer is not None
    assert viewer.etag != before
    assert video.agent.username == video_name
    assert parse_fragment(answer).credentials({"1"}) == (audio.agent.username, audio.agent.password)
    assert parse_fragment(answer).credentials({"0"}) == (None, None)
    assert audio.agent.username != audio_name
    answer = viewer.patch("a=ice-ufrag:again\r\na=ice-pwd:" + "y" * 24 + "\r\n")
    assert answer is not None
    assert parse_fragment(answer).credentials({"0"}) == (video.agent.username, video.agent.password)
    assert parse_fragment(answer).credentials({"1"}) == (audio.agent.username, audio.agent.password)
    with pytest.raises(BadRequestError, match="both"):
        viewer.patch("m=audio 9 UDP/TLS/RTP/SAVPF 8\r\na=mid:1\r\na=ice-ufrag:third\r\n")
    await audio.close()
    assert viewer.patch(f"m=audio 9 UDP/TLS/RTP/SAVPF 8\r\na=mid:1\r\n{fresh}") is None, "it is closed"
