"""WeatherEngine: a camera in whatever weather a test makes, in real time.

Name the engine ``tests.support.fault_injection:WeatherEngine`` and the camera
``weather://NAME?fps=15&width=160&flap=3``. What falls on it is in ``sky`` under its name, and may change while it
plays; ``flap`` has it hang up after so many seconds by itself, for cameras in another process.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit

from gateway.capture.engine import CaptureEngine, CaptureSource
from gateway.clock import CLOCK_RATE, Clock
from gateway.errors import CameraEndedError
from gateway.media import Packet
from tests.support.reel import Reel, Shape

ENGINE = "tests.support.fault_injection:WeatherEngine"

FILLER = b"\0\0\0\1\x0c" + b"\xff" * 20_000 + b"\x80"
"""Twenty times the reel's mean frame, in a NAL unit that no decoder minds (H.264 §7.4.1)."""


class Sky(StrEnum):
    """What may fall on a camera."""

    FAIR = "fair"
    AWAY = "away"
    """Nobody is there: every run ends at once."""
    HANGS_UP = "hangs up"
    """A GOP as fast as it can be had, and then the end."""
    SILENT = "silent"
    GARBAGE = "garbage"
    """Bytes that mean nothing, in packets that look right."""
    WILD_TIMES = "wild times"
    """Media times that stand, jump and run backwards: no rule of gateway.media is kept."""
    WILD_CLOCK = "wild clock"
    """Times of capture from years ago to years ahead."""
    SMALL = "small"
    """Half the size, which is another stream."""
    FLOOD = "flood"
    """Many times the bitrate."""
    FAULT = "fault"
    """The engine has a bug."""


class WeatherEngine(CaptureEngine):
    """See the module."""

    sky: ClassVar[dict[str, Sky]] = {}
    runs: ClassVar[Counter[str]] = Counter()
    """Runs begun, by name."""

    def __init__(self, source: CaptureSource, clock: Clock) -> None:
        super().__init__(source, clock)
        parts = urlsplit(source.url)
        options = dict(parse_qsl(parts.query))
        self.name = parts.hostname or ""
        self._flap_s = float(options.get("flap", 0))
        fps, width = int(options.get("fps", 15)), int(options.get("width", 160))
        self._shape = Shape(width, width * 3 // 4, CLOCK_RATE // fps, gop=int(options.get("gop", fps)))
        self._small = replace(self._shape, width=width // 2, height=width * 3 // 8)
        self._stop = threading.Event()

    def interrupt(self) -> None:
        self._stop.set()

    def packets(self) -> Iterator[Packet]:
        self.runs[self.name] += 1
        reel = Reel(self._shape, run=self.source.run)
        began, dice = time.monotonic(), random.Random(self.source.run)
        while not self._stop.wait(
            max(0.0, began + reel.number * self._shape.frame_90k / CLOCK_RATE - time.monotonic())
        ):
            sky = self.sky.get(self.name, Sky.FAIR)
            if sky is Sky.AWAY or (self._flap_s and time.monotonic() - began > self._flap_s):
                raise CameraEndedError("the camera hung up")
            if sky is Sky.FAULT:
                raise ZeroDivisionError("rtsp://viewer:hunter2@camera is not divisible")
            if reel.number % reel.shape.gop == 0:
                reel.shape = self._small if sky is Sky.SMALL else self._shape
            packet = reel.frame(self.clock.wall_90k())
            if sky is not Sky.SILENT:
                yield _under(sky, packet, dice)
            if sky is Sky.HANGS_UP:
                for _ in range(self._shape.gop - 1):
                    yield reel.frame(self.clock.wall_90k())
                raise CameraEndedError("the camera hung up")


def _under(sky: Sky, packet: Packet, dice: random.Random) -> Packet:
    if sky is Sky.GARBAGE:
        return replace(packet, data=dice.randbytes(dice.randrange(2000)))
    if sky is Sky.FLOOD:
        return replace(packet, data=packet.data + FILLER)
    if sky is Sky.WILD_TIMES:
        dts_90k = dice.choice((0, packet.dts_90k, -packet.dts_90k, dice.randrange(-(2**40), 2**40)))
        return replace(packet, dts_90k=dts_90k, pts_90k=dts_90k + dice.randrange(-9000, 9000))
    if sky is Sky.WILD_CLOCK:
        return replace(packet, captured_at_90k=max(0, packet.captured_at_90k + dice.randrange(-(2**44), 2**44)))
    return packet
