"""``liveedge probe``: report what a camera sends."""

import asyncio
from collections.abc import Iterator

from gateway.camera_settings import CameraSettings
from gateway.capture import engine_factory
from gateway.capture.engine import CaptureSource
from gateway.capture.runner import engine_runner
from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK
from gateway.media import Packet, StreamInfo
from web.address_policy import refuse_metadata

THREAD_END_S = 5.0
"""How long an engine may take to end after its interrupt, in seconds."""

PROBE_S = 12
"""Long enough for two keyframes of a camera with a GOP of 10 s."""


def probe(camera: CameraSettings) -> Iterator[str]:
    """Lines of the report. Raises a :class:`~gateway.errors.CaptureError` with the reason if there is no video."""
    yield f"url        {camera.public_url}"
    packets, opened_s = asyncio.run(_capture(camera))
    if not packets:
        return
    yield f"opened     in {opened_s:.2f} s"
    yield from track_lines(packets[0].info)
    video = [packet for packet in packets if packet.is_video]
    if len(video) < 2:
        return
    size = sum(len(packet.data) for packet in packets)
    span_s = (video[-1].dts_90k - video[0].dts_90k) / CLOCK_RATE
    yield f"measured   {(len(video) - 1) / span_s:.2f} fps, {size * 8 / span_s / 1e6:.2f} Mbit/s"
    gop = f"{span_s:.2f} s" if video[-1].is_keyframe else f"longer than {span_s:.1f} s"
    yield f"keyframes  every {gop}"


async def _capture(camera: CameraSettings) -> tuple[list[Packet], float]:
    """What a camera sends up to its second keyframe, for :data:`PROBE_S` at most; and how long the first packet
    took."""
    source = CaptureSource(
        "probe", camera.url.get_secret_value(), timeout_s=camera.timeout_s, check_referred=refuse_metadata
    )
    engine = engine_factory(camera.capture_engine)(source, SYSTEM_CLOCK)
    started_s = SYSTEM_CLOCK.monotonic()
    opened_s = 0.0
    packets: list[Packet] = []
    has_gop = asyncio.Event()
    keyframes = 0

    def take(packet: Packet) -> None:
        nonlocal opened_s, keyframes
        if not packets:
            opened_s = SYSTEM_CLOCK.monotonic() - started_s
        if has_gop.is_set():
            return
        packets.append(packet)
        keyframes += packet.is_video and packet.is_keyframe
        if keyframes > 1:
            has_gop.set()

    runner = engine_runner(engine, take)
    runner.start()
    ended = asyncio.ensure_future(runner.ended())
    complete = asyncio.ensure_future(has_gop.wait())
    try:
        await asyncio.wait({ended, complete}, timeout=PROBE_S, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            await ended
    finally:
        runner.interrupt()
        complete.cancel()
        await asyncio.wait({ended}, timeout=THREAD_END_S)
        ended.cancel()
    return packets, opened_s


def track_lines(info: StreamInfo) -> Iterator[str]:
    """One line for each track of a stream."""
    video = info.video
    rate = f", {float(video.frame_rate):g} fps declared" if video.frame_rate else ""
    order = ", B-frames (cannot be sent over WebRTC)" if video.has_b_frames else ""
    yield f"video      {video.codec} {video.codec_string} {video.width}x{video.height}{rate}{order}"
    audio = info.audio
    yield f"audio      {f'{audio.codec} {audio.sample_rate_hz} Hz, {audio.channels} channel(s)' if audio else 'none'}"
