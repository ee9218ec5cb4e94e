"""Offers that the server refuses or answers with a transcoded stream, with real peers."""

import asyncio
import re
from dataclasses import replace

import pytest
from av import VideoFrame

from gateway.errors import NegotiationError
from gateway.status import TranscodeState
from gateway.webrtc.server import WebRtcServer
from tests.support.eventually import eventually
from tests.support.sources.encoded_loop import EncodedLoopEngine, encode_loop
from tests.support.webrtc import Cameras, Join, offer


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
        await server.join(camera, await offer(), client_address="192.0.2.1", may_counter=True)
    assert caught.value.transports == ("hls", "mjpeg")
    assert camera.viewers == {}


async def test_nothing_is_transcoded_for_an_offer_without_h264(server: WebRtcServer, camera_with: Cameras) -> None:
    camera = camera_with(encode_loop(b_frames=2, profile="main"))
    with pytest.raises(NegotiationError):
        await server.join(camera, (await offer()).replace("H264", "H263"), client_address="192.0.2.1")
    assert camera.transcode.counters.starts == 0


@pytest.mark.parametrize(("transcode", "codecs"), [("auto", {"H265", "H264"}), ("never", {"H265"})])
async def test_the_counter_offer_for_h265_has_h264_where_that_is_made_of_it(
    server: WebRtcServer, camera_with: Cameras, transcode: str, codecs: set[str]
) -> None:
    plain = encode_loop()
    camera = camera_with(replace(plain, video=replace(plain.video, codec="hevc")), transcode=transcode)
    useless = (await offer()).replace("H264", "H263")
    viewer = await server.join(camera, useless, client_address="192.0.2.1", may_counter=True)
    assert viewer.counter_offer is not None
    assert set(re.findall(r"(H26.)/90000", viewer.counter_offer.sdp)) == codecs
    assert camera.transcode.counters.starts == 0


async def test_a_codec_that_was_not_negotiated_ends_a_viewer(
    server: WebRtcServer, camera_with: Cameras, join: Join
) -> None:
    plain = encode_loop()
    camera = camera_with(plain)
    _, viewer = await join(camera)
    EncodedLoopEngine.showing["loop"] = (replace(plain, video=replace(plain.video, codec="hevc")), None)
    async with asyncio.timeout(60):
        await viewer.closed.wait()
    assert viewer.reason is not None
    assert "hevc" in viewer.reason
