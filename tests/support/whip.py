"""Publishers over WebRTC: an aiortc peer with a moving picture and a tone."""

import asyncio
from fractions import Fraction
from unittest.mock import patch

import av
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from gateway.camera import Camera
from gateway.whip.publisher import WebRtcPublisher
from gateway.whip.server import WhipServer

WIDTH, HEIGHT = 160, 120


class MovingPicture(VideoStreamTrack):
    """A bar that moves, 30 frames a second."""

    async def recv(self) -> av.VideoFrame:
        pts, base = await self.next_timestamp()
        picture = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
        at = pts // 3000 * 4 % (WIDTH - 16)
        picture[:, at : at + 16] = 220
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = pts, Fraction(base)
        return frame


async def offer_of(peer: RTCPeerConnection, *, sound: bool = False, codec: str = "video/H264") -> str:
    """An offer that sends video, and sound."""
    transceiver = peer.addTransceiver(MovingPicture(), direction="sendonly")
    codecs = RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences([each for each in codecs if each.mimeType in (codec, "video/rtx")])
    if sound:
        peer.addTransceiver(AudioStreamTrack(), direction="sendonly")
    # aioice leaves out the loopback address, the only one that a test may rely on.
    with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
        await peer.setLocalDescription(await peer.createOffer())
    return peer.localDescription.sdp


async def publish(
    whip: WhipServer, camera: Camera, *, sound: bool = False
) -> tuple[RTCPeerConnection, WebRtcPublisher]:
    """Publish a camera; returns when media can flow."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    publisher = whip.publish(camera, await offer_of(peer, sound=sound), client_address="127.0.0.1")
    await peer.setRemoteDescription(RTCSessionDescription(publisher.answer_sdp, "answer"))
    async with asyncio.timeout(60):
        while peer.connectionState != "connected":
            await asyncio.sleep(0.01)
    return peer, publisher
