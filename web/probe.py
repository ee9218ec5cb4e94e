"""``liveedge probe``: report what a camera sends."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice

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

BURST_S = 0.5
"""Many servers send the GOP so far at once, and put its times together. What comes later, in seconds, is live."""

LEAST_S = 2.0
"""How long packets are taken at least, in seconds, so that there are some behind a burst."""

Received = tuple[float, Packet]
"""When a packet has come, in seconds of the monotonic clock."""


def probe(camera: CameraSettings) -> Iterator[str]:
    """Lines of the report. Raises a :class:`~gateway.errors.CaptureError` with the reason if there is no video."""
    yield f"url        {camera.public_url}"
    received, opened_s = asyncio.run(_capture(camera))
    if not received:
        return
    yield f"opened     in {opened_s:.2f} s"
    yield from track_lines(received[0][1].info)
    yield from measured_lines(received)


def measured_lines(received: Sequence[Received]) -> Iterator[str]:
    """Rates and keyframe interval, from the first GOP. Its times are not used where it came as a burst."""
    first, second = _keyframe(received, 0), _keyframe(received, 1)
    if first is None:
        return
    gop = [packet for _, packet in received[first : len(received) if second is None else second + 1]]
    video = [packet for packet in gop if packet.is_video]
    span_s = (video[-1].dts_90k - video[0].dts_90k) / CLOCK_RATE
    frames = [(at - received[first][0], packet) for at, packet in received[first:] if packet.is_video]
    live = [packet for at, packet in frames if at >= BURST_S]
    live_s = (live[-1].dts_90k - live[0].dts_90k) / CLOCK_RATE if live else 0.0
    # Two more than there would be: frames of a network come a little together, too.
    if live_s > 0 and len(frames) - len(live) > (len(live) - 1) * BURST_S / live_s + 2:
        span_s = (len(video) - 1) * live_s / (len(live) - 1)
    if span_s <= 0:
        return
    size = sum(len(packet.data) for packet in (gop if second is None else gop[:-1]))
    yield f"measured   {(len(video) - 1) / span_s:.2f} fps, {size * 8 / span_s / 1e6:.2f} Mbit/s"
    yield f"keyframes  every {f'longer than {span_s:.1f} s' if second is None else f'{span_s:.2f} s'}"


def _keyframe(received: Sequence[Received], number: int) -> int | None:
    """Where a keyframe is, counted from 0."""
    keyframes = (at for at, (_, packet) in enumerate(received) if packet.is_video and packet.is_keyframe)
    return next(islice(keyframes, number, None), None)


async def _capture(camera: CameraSettings) -> tuple[list[Received], float]:
    """What a camera sends up to its second keyframe and for :data:`LEAST_S`, but for :data:`PROBE_S` at most; and how
    long the first packet took."""
    source = CaptureSource(
        "probe", camera.url.get_secret_value(), timeout_s=camera.timeout_s, check_referred=refuse_metadata
    )
    engine = engine_factory(camera.capture_engine)(source, SYSTEM_CLOCK)
    started_s = SYSTEM_CLOCK.monotonic()
    opened_s = 0.0
    received: list[Received] = []
    is_enough = asyncio.Event()
    keyframes = 0

    def take(packet: Packet) -> None:
        nonlocal opened_s, keyframes
        now = SYSTEM_CLOCK.monotonic()
        if not received:
            opened_s = now - started_s
        if is_enough.is_set():
            return
        received.append((now, packet))
        keyframes += packet.is_video and packet.is_keyframe
        if keyframes > 1 and now >= received[0][0] + LEAST_S:
            is_enough.set()

    runner = engine_runner(engine, take)
    runner.start()
    ended = asyncio.ensure_future(runner.ended())
    complete = asyncio.ensure_future(is_enough.wait())
    try:
        await asyncio.wait({ended, complete}, timeout=PROBE_S, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            await ended
    finally:
        runner.interrupt()
        complete.cancel()
        await asyncio.wait({ended}, timeout=THREAD_END_S)
        ended.cancel()
    return received, opened_s


def track_lines(info: StreamInfo) -> Iterator[str]:
    """One line for each track of a stream."""
    video = info.video
    rate = f", {float(video.frame_rate):g} fps declared" if video.frame_rate else ""
    order = ", B-frames (cannot be sent over WebRTC)" if video.has_b_frames else ""
    yield f"video      {video.codec} {video.codec_string} {video.width}x{video.height}{rate}{order}"
    audio = info.audio
    yield f"audio      {f'{audio.codec} {audio.sample_rate_hz} Hz, {audio.channels} channel(s)' if audio else 'none'}"
