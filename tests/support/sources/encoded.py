"""Real coded packets without a camera: libx264, libx265 and AAC, by the rules of :mod:`gateway.media`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import av
import numpy as np

from gateway.clock import CLOCK_RATE
from gateway.codec.parameter_sets import find_parameter_sets, video_info
from gateway.media import AudioInfo, MediaKind, Packet, StreamInfo

START_90K = 1_795_373_400 * CLOCK_RATE
"""2026-11-22T18:50:00Z: a multiple of 600 s."""


@dataclass(frozen=True)
class EncoderSettings:
    """What is encoded: ``seconds`` of ``width`` x ``height`` at ``fps``, a keyframe every ``gop`` frames."""

    seconds: float = 4.0
    fps: int = 10
    gop: int = 10
    width: int = 160
    height: int = 120
    audio: bool = False
    noise: bool = False
    g711: bool = False
    hevc: bool = False


DEFAULT_SETTINGS = EncoderSettings()


@lru_cache(maxsize=32)
def encode(what: EncoderSettings = DEFAULT_SETTINGS, start_90k: int = START_90K, run: int = 1) -> tuple[Packet, ...]:
    """Packets that were captured from ``start_90k`` on. Frame n is a grey of 20 + n mod 200."""
    video = list(_video(what))
    codec = "hevc" if what.hevc else "h264"
    sets = find_parameter_sets(codec, video[0][0])
    assert sets is not None
    info = StreamInfo(video_info(codec, sets, Fraction(what.fps))[0])
    tick = CLOCK_RATE // what.fps
    packets = [
        Packet(MediaKind.VIDEO, data, n * tick, n * tick, tick, is_key, start_90k + n * tick, info, run)
        for n, (data, is_key) in enumerate(video)
    ]
    if what.audio:
        info = replace(info, audio=AudioInfo("aac", "mp4a.40.2", 48_000, 1, b"\x11\x88"))
        packets = [replace(packet, info=info) for packet in packets]
        for n, data in enumerate(_audio(what)):
            at = n * 1024 * CLOCK_RATE // 48_000
            packets.append(Packet(MediaKind.AUDIO, data, at, at, 1920, True, start_90k + at, info, run))
    if what.g711:
        info = replace(info, audio=AudioInfo("pcm_alaw", "", 8000, 1))
        packets = [replace(packet, info=info) for packet in packets]
        for n in range(int(what.seconds * 50)):
            at = n * 1800
            packets.append(Packet(MediaKind.AUDIO, b"\xd5\x95" * 80, at, at, 1800, True, start_90k + at, info, run))
    if info.audio is not None:
        packets.sort(key=lambda packet: (packet.dts_90k, not packet.is_video))
    return tuple(packets)


def _video(what: EncoderSettings) -> Iterator[tuple[bytes, bool]]:
    encoder = av.CodecContext.create("libx265" if what.hevc else "libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = what.width, what.height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, what.fps), Fraction(what.fps)
    encoder.gop_size = what.gop
    if what.hevc:
        keyframes = f"keyint={what.gop}:min-keyint={what.gop}:scenecut=0:repeat-headers=1"
        params = f"log-level=none:pools=1:frame-threads=1:bframes=0:{keyframes}"
        encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x265-params": params}
    else:
        encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "threads": "1", "sc_threshold": "0"}
    random = np.random.default_rng(1)
    for number in range(round(what.seconds * what.fps)):
        picture = np.full((what.height * 3 // 2, what.width), 128, np.uint8)
        picture[: what.height] = 20 + number % 200
        if what.noise:
            picture[: what.height] = random.integers(0, 255, (what.height, what.width), np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
        frame.pts = number
        for packet in encoder.encode(frame):
            yield bytes(packet), packet.is_keyframe


def _audio(what: EncoderSettings) -> Iterator[bytes]:
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "fltp"
    for number in range(int(what.seconds * 48_000 / 1024)):
        samples = np.sin(np.arange(number * 1024, (number + 1) * 1024) / 20).astype(np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate, frame.pts = 48_000, number * 1024
        yield from (bytes(packet) for packet in encoder.encode(frame))
