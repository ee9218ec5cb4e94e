"""A capture engine: generates grey pictures whose brightness changes slowly."""

import math
import threading
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from gateway.capture.engine import CaptureEngine, CaptureSource
from gateway.capture.engines.h264_encoder import H264Encoder
from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock
from gateway.media import Packet

WIDTH, HEIGHT, FPS = 320, 240, 15


class WallEngine(CaptureEngine):
    """Set ``CAPTURE_ENGINE``, or a camera's ``engine``, to ``examples.capture_engine:WallEngine``."""

    def __init__(self, source: CaptureSource, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(source, clock)
        self._stop = threading.Event()

    def packets(self) -> Iterator[Packet]:
        encoder = H264Encoder(WIDTH, HEIGHT, Fraction(FPS), gop_s=2.0, run=self.source.run)
        number = 0
        while not self._stop.wait(1 / FPS):
            grey = round(128 + 60 * math.sin(number / FPS))
            planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
            planes[:HEIGHT] = grey
            yield from encoder.encode(planes, number * CLOCK_RATE // FPS, self.clock.wall_90k())
            number += 1

    def interrupt(self) -> None:
        self._stop.set()
