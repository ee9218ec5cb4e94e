"""``liveedge probe``: report what a camera sends."""

from collections.abc import Iterator

from gateway.camera_settings import CameraSettings
from gateway.capture import engine_factory
from gateway.capture.engine import CaptureSource
from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK
from gateway.media import Packet, StreamInfo

PROBE_S = 12
"""Long enough for two keyframes of a camera with a GOP of 10 s."""


def probe(camera: CameraSettings) -> Iterator[str]:
    """Lines of the report. Raises a :class:`~gateway.errors.CaptureError` with the reason if there is no video."""
    source = CaptureSource("probe", camera.url.get_secret_value(), timeout_s=camera.timeout_s)
    engine = engine_factory(camera.capture_engine)(source, SYSTEM_CLOCK)
    yield f"url        {camera.public_url}"
    started_s = SYSTEM_CLOCK.monotonic()
    video: list[Packet] = []
    size = 0
    for packet in engine.packets():
        if not video:
            yield f"opened     in {SYSTEM_CLOCK.monotonic() - started_s:.2f} s"
            yield from track_lines(packet.info)
        size += len(packet.data)
        if packet.is_video:
            video.append(packet)
        keyframes = sum(frame.is_keyframe for frame in video)
        if keyframes > 1 or SYSTEM_CLOCK.monotonic() - started_s > PROBE_S:
            engine.interrupt()
            break
    if len(video) < 2:
        return
    span_s = (video[-1].dts_90k - video[0].dts_90k) / CLOCK_RATE
    yield f"measured   {(len(video) - 1) / span_s:.2f} fps, {size * 8 / span_s / 1e6:.2f} Mbit/s"
    gop = f"{span_s:.2f} s" if video[-1].is_keyframe else f"longer than {span_s:.1f} s"
    yield f"keyframes  every {gop}"


def track_lines(info: StreamInfo) -> Iterator[str]:
    """One line for each track of a stream."""
    video = info.video
    rate = f", {float(video.frame_rate):g} fps declared" if video.frame_rate else ""
    order = ", B-frames (cannot be sent over WebRTC)" if video.has_b_frames else ""
    yield f"video      {video.codec} {video.codec_string} {video.width}x{video.height}{rate}{order}"
    audio = info.audio
    yield f"audio      {f'{audio.codec} {audio.sample_rate_hz} Hz, {audio.channels} channel(s)' if audio else 'none'}"
