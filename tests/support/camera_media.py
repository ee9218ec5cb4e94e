"""What a camera of the tests of misbehaving cameras sends: real pictures and sound, with times to choose.

:func:`is_good` is the measure: both outputs decode without an error, run at the real frame rate, and the recording is
one file.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import cache

import av
import numpy as np
import pytest

from gateway.capture.counters import CaptureCounters
from gateway.codec.annexb import nal_units
from tests.support.camera_outputs import Outputs, Received, receive
from tests.support.rtsp_camera import RtpSender, Sent, sdp, video_section

FPS = 25
TICK = 90_000 // FPS

Picture = tuple[bytes, ...]
"""The NAL units of one picture."""


def coded(count: int = 100, gop: int = 25, options: str = "", *, hevc: bool = False) -> tuple[Picture, ...]:
    """Pictures of libx264 or libx265, ``options`` in their own syntax."""
    return tuple(units for _, units in coded_in_order(count, gop, options, hevc=hevc))


@cache
def coded_in_order(
    count: int = 100, gop: int = 25, options: str = "", *, hevc: bool = False
) -> tuple[tuple[int, Picture], ...]:
    """The same, each with its place in the order in which they are shown."""
    encoder = av.CodecContext.create("libx265" if hevc else "libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 160, 128, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.gop_size = Fraction(1, FPS), Fraction(FPS), gop
    common = f"keyint={gop}:min-keyint={gop}:scenecut=0"
    if hevc:
        own = f"log-level=none:pools=1:frame-threads=1:bframes=0:repeat-headers=1:{common}"
        encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x265-params": f"{own}{options}"}
    else:
        own = f"threads=1:bframes=0:force-cfr=1:{common}"
        encoder.options = {"preset": "ultrafast", "x264-params": f"{own}{options}", "tune": "zerolatency"}
    random = np.random.default_rng(1)
    texture = random.integers(0, 40, (128, 160), np.uint8)
    packets: list[av.Packet[av.VideoStream]] = []
    for number in range(count):
        planes = np.full((192, 160), 128, np.uint8)
        planes[:128] = 60 + np.roll(texture, number, axis=1)
        frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    assert len(packets) == count
    return tuple((packet.pts or 0, tuple(nal_units(bytes(packet)))) for packet in packets)


def is_slice(unit: bytes, *, hevc: bool = False) -> bool:
    return unit[0] >> 1 & 0x3F < 32 if hevc else 1 <= unit[0] & 0x1F <= 5


def is_good(found: Outputs, count: int, rate: float = FPS, *, files: int = 1) -> None:
    """Both outputs decode without an error and run at the real rate; nearly all frames are there."""
    assert [each.errors for each in (*found.live, *found.files)] == [[]] * (len(found.live) + len(found.files))
    assert len(found.files) == files
    assert len(found.live) == files
    # A picture is only complete with the next one, and the last part is never closed.
    assert sum(len(each.times) for each in found.files) >= count - 2
    assert sum(len(each.times) for each in found.live) >= count - 12
    for each in (*found.live, *found.files):
        assert each.frame_rate == pytest.approx(rate, rel=0.02)


def packets_of(media: list[Sent], encoding: str = "H264", counters: CaptureCounters | None = None) -> list[Received]:
    return receive(sdp(video_section(encoding)), media, counters)[0]


def camera_with_clock(
    times: Callable[[int], int],
    count: int,
    fps: float,
    jitter: Callable[[int], float] = lambda number: 0.0,
    options: str = ":slices=1",
    gop: int = 25,
) -> list[Sent]:
    """A camera that sends ``fps`` pictures a second, with these RTP times."""
    sender = RtpSender()
    pictures = coded(100, gop, options)
    media: list[Sent] = []
    at_s = 0.0
    for number in range(count):
        at_s = max(at_s, number / fps + jitter(number))
        media += sender.picture(pictures[number % 100], times(number), at_s)
    return media


def good_video(seconds: float = 8.0) -> list[Sent]:
    return camera_with_clock(lambda number: number * TICK, int(seconds * FPS), FPS)


def merged(*tracks: list[Sent]) -> list[Sent]:
    return sorted((sent for track in tracks for sent in track), key=lambda sent: sent.at_s)


@cache
def aac_frames(count: int, rate_hz: int = 16_000) -> tuple[tuple[bytes, ...], str]:
    """AAC-LC frames, and their AudioSpecificConfig in hexadecimal."""
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = rate_hz, "mono", "fltp"
    found: list[bytes] = []
    for number in range(count + 4):
        samples = np.sin(np.arange(number * 1024, (number + 1) * 1024) / 20).astype(np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate, frame.pts = rate_hz, number * 1024
        found += [bytes(packet) for packet in encoder.encode(frame)]
    return tuple(found[:count]), bytes(encoder.extradata or b"").hex()


def adts(frame: bytes, rate_index: int = 8) -> bytes:
    """An AAC-LC frame with its ADTS header (ISO/IEC 14496-3 §1.A.2.2)."""
    size = len(frame) + 7
    return (
        bytes(
            (0xFF, 0xF1, 1 << 6 | rate_index << 2, 1 << 6 | size >> 11, size >> 3 & 0xFF, (size & 7) << 5 | 0x1F, 0xFC)
        )
        + frame
    )


def hbr(frame: bytes) -> bytes:
    """AAC-hbr (RFC 3640 §3.3.6)."""
    return bytes((0, 16)) + (len(frame) << 3).to_bytes(2, "big") + frame


@cache
def tone(codec: str, seconds: int = 8, rate_hz: int = 8000, channels: int = 1) -> bytes:
    """A tone of 440 Hz in a codec that is samples and nothing else, loud enough to be heard."""
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.AudioCodecContext)
    layout = "mono" if channels == 1 else "stereo"
    encoder.sample_rate, encoder.layout, encoder.format = rate_hz, layout, "s16"
    samples = (8000 * np.sin(np.arange(seconds * rate_hz) * 2 * np.pi * 440 / rate_hz)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(np.repeat(samples, channels).reshape(1, -1), "s16", layout)
    frame.sample_rate, frame.pts = rate_hz, 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
