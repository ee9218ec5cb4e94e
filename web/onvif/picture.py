"""Pictures of a device's streams, small: from its snapshot address, or from one keyframe over RTSP.

What comes is hostile until it is decoded: its size is bounded, and it is decoded in a thread, by one that can fail.
"""

import asyncio

import av

from gateway.capture.engine import CaptureSource, CheckAddress
from gateway.capture.engines.rtsp import RtspCaptureEngine
from gateway.capture.runner import engine_runner
from gateway.clock import SYSTEM_CLOCK
from gateway.errors import CameraTimeoutError, NoVideoError
from gateway.jpeg.codec import DecodedFrame, FrameDecoder, JpegEncoder, Picture
from gateway.media import Packet, VideoInfo

WIDTH = 320

PIXELS_MAX = 64_000_000

KEYFRAME_S = 8.0
"""The GOP of most cameras is shorter."""

AFTER = 4
"""Packets after the keyframe that are decoded too: a decoder may hold a frame back."""


def small_jpeg(data: bytes) -> bytes | None:
    """A JPEG, :data:`WIDTH` wide at most; ``None`` for what cannot be decoded. Blocks."""
    codec = av.CodecContext.create("mjpeg", "r")
    assert isinstance(codec, av.VideoCodecContext)
    codec.options = {"max_pixels": str(PIXELS_MAX)}
    try:
        frames = codec.decode(av.Packet(data)) + codec.decode(None)
    except (av.FFmpegError, ValueError):
        return None
    return JpegEncoder().encode(DecodedFrame(frames[0], 0), WIDTH)[0] if frames else None


async def keyframe(url: str, check: CheckAddress | None) -> tuple[VideoInfo, bytes | None]:
    """What a stream is, and a small JPEG of its first keyframe. ``url`` has the credentials.

    Raises a :class:`~gateway.errors.CaptureError`.
    """
    packets: list[Packet] = []
    is_enough = asyncio.Event()

    def take(packet: Packet) -> None:
        if packet.is_video and (packets or packet.is_keyframe) and len(packets) <= AFTER:
            packets.append(packet)
            if len(packets) > AFTER:
                is_enough.set()

    source = CaptureSource("discover", url, timeout_s=KEYFRAME_S, check_address=check, check_referred=check)
    runner = engine_runner(RtspCaptureEngine(source, SYSTEM_CLOCK), take)
    runner.start()
    ended = asyncio.ensure_future(runner.ended())
    enough = asyncio.ensure_future(is_enough.wait())
    try:
        await asyncio.wait({ended, enough}, timeout=KEYFRAME_S, return_when=asyncio.FIRST_COMPLETED)
        if ended.done() and not packets:
            await ended
    finally:
        runner.interrupt()
        enough.cancel()
        await asyncio.wait({ended}, timeout=1.0)
        ended.cancel()
        if ended.done() and not ended.cancelled():
            ended.exception()
    if not packets:
        raise CameraTimeoutError(f"no keyframe came within {KEYFRAME_S:g} s")
    info = packets[0].info.video
    if info.width * info.height > PIXELS_MAX:
        raise NoVideoError(f"its pictures are {info.width}x{info.height}, which is too large")
    return info, await asyncio.to_thread(_decoded, packets)


def _decoded(packets: list[Packet]) -> bytes | None:
    decoder = FrameDecoder("discover")
    newest: Picture | None = None
    for packet in packets:
        newest = decoder.decode(packet) or newest
    return JpegEncoder().encode(newest, WIDTH)[0] if newest is not None else None
