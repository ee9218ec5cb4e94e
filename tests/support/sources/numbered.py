"""Real H.264, made by PyAV: the brightness of each picture is its number, so that a test recognises it."""

import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import ClassVar

import av
import cv2
import numpy as np

from gateway.capture.engine import CaptureEngine
from gateway.clock import CLOCK_RATE
from gateway.media import MediaKind, Packet, StreamInfo, VideoInfo

WIDTH, HEIGHT = 160, 120
FPS = 25
GOP = 10
COUNT = 50
"""Number of pictures in the clip. Each differs from the next one by four steps of brightness."""

FRAME_90K = CLOCK_RATE // FPS


@cache
def coded_pictures(width: int = WIDTH, height: int = HEIGHT) -> tuple[tuple[bytes, bool], ...]:
    """The clip: Annex B access units, and whether each is a keyframe."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, FPS)
    encoder.gop_size = GOP
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "scenecut=0:bframes=0"}
    packets = []
    for number in range(COUNT):
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        planes[:height] = 20 + 4 * number
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return tuple((bytes(packet), packet.is_keyframe) for packet in packets)


def stream_info(width: int = WIDTH, height: int = HEIGHT) -> StreamInfo:
    """The stream of the clip."""
    return StreamInfo(VideoInfo("h264", "avc1.42c00b", width, height, b"", Fraction(FPS)))


INFO = stream_info()


def packet(number: int, start_90k: int = 0, run: int = 1, info: StreamInfo = INFO) -> Packet:
    """Packet ``number`` of the clip in a loop, captured 1/25 s after the previous one."""
    data, is_keyframe = coded_pictures(info.video.width, info.video.height)[number % COUNT]
    at_90k = number * FRAME_90K
    return Packet(MediaKind.VIDEO, data, at_90k, at_90k, FRAME_90K, is_keyframe, start_90k + at_90k, info, run)


def number_of(jpeg: bytes) -> int:
    """Which of the clip's pictures a JPEG shows."""
    gray = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert gray is not None
    # The clip is limited-range video, a JPEG is full-range.
    return round(((float(gray.mean()) * 219 / 255 + 16) - 20) / 4)


def size_of(jpeg: bytes) -> tuple[int, int]:
    """A JPEG's width and height, read from its pixels."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    height, width = picture.shape[:2]
    return width, height


class ClipEngine(CaptureEngine):
    """A camera that plays the pictures in a loop, in real time: ``tests.support.sources.numbered:ClipEngine``."""

    interrupted = False
    newest: ClassVar["ClipEngine | None"] = None
    """The newest engine. To let the camera hang up, :meth:`interrupt` it."""

    def packets(self) -> Iterator[Packet]:
        type(self).newest = self
        coded_pictures()
        began = time.monotonic()
        number = 0
        while not self.interrupted:
            ahead_s = began + number / FPS - time.monotonic()
            if ahead_s > 0:
                time.sleep(min(ahead_s, 0.05))
                continue
            made = packet(number, run=self.source.run)
            now_90k = self.clock.wall_90k()
            yield Packet(
                made.kind, made.data, made.pts_90k, made.dts_90k, FRAME_90K, made.is_keyframe, now_90k, INFO, made.run
            )
            number += 1

    def interrupt(self) -> None:
        self.interrupted = True


class BrokenEngine(ClipEngine):
    """The same, but nothing in its pictures can be decoded while it :attr:`is_broken`."""

    is_broken: ClassVar[bool] = True

    def packets(self) -> Iterator[Packet]:
        for each in super().packets():
            yield replace(each, data=b"\0\0\0\1\x65" + b"garbage" * 20) if self.is_broken else each
