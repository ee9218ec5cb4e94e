"""FaultyEngine: a camera with a fault that a test chooses, in real time.

Name the engine ``tests.support.fault_injection:FaultyEngine`` and the camera
``faulty://NAME?fps=15&width=160&flap=3``. Its fault is in ``faults`` under its name, and a test may change it while it
plays. With ``flap`` it hangs up after so many seconds, for cameras in another process.
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
from tests.support.sources.packets import PacketSource, Shape

ENGINE = "tests.support.fault_injection:FaultyEngine"

FILLER = b"\0\0\0\1\x0c" + b"\xff" * 20_000 + b"\x80"
"""Twenty times a mean frame, in a NAL unit that decoders ignore (H.264 §7.4.1)."""


class Fault(StrEnum):
    """What may be wrong with a camera."""

    NONE = "none"
    UNREACHABLE = "unreachable"
    """Every run ends at once."""
    HANGS_UP = "hangs up"
    """It sends a GOP as fast as it can, and hangs up."""
    SILENT = "silent"
    GARBAGE = "garbage"
    """Random bytes in packets that look right."""
    INVALID_TIMES = "invalid times"
    """Media times that stand still, jump and run backwards: they break every rule of gateway.media."""
    WRONG_CLOCK = "wrong clock"
    """Capture times from years ago to years ahead."""
    HALF_SIZE = "half size"
    """Half the picture size: another stream."""
    FLOOD = "flood"
    """Many times the bitrate."""
    ENGINE_ERROR = "engine error"
    """The engine has a bug."""


class FaultyEngine(CaptureEngine):
    """See the module."""

    faults: ClassVar[dict[str, Fault]] = {}
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
        packet_source = PacketSource(self._shape, run=self.source.run)
        began, dice = time.monotonic(), random.Random(self.source.run)
        while not self._stop.wait(
            max(0.0, began + packet_source.number * self._shape.frame_90k / CLOCK_RATE - time.monotonic())
        ):
            fault = self.faults.get(self.name, Fault.NONE)
            if fault is Fault.UNREACHABLE or (self._flap_s and time.monotonic() - began > self._flap_s):
                raise CameraEndedError("the camera hung up")
            if fault is Fault.ENGINE_ERROR:
                raise ZeroDivisionError("rtsp://viewer:hunter2@camera is not divisible")
            if packet_source.number % packet_source.shape.gop == 0:
                packet_source.shape = self._small if fault is Fault.HALF_SIZE else self._shape
            packet = packet_source.frame(self.clock.wall_90k())
            if fault is not Fault.SILENT:
                yield _with_fault(fault, packet, dice)
            if fault is Fault.HANGS_UP:
                for _ in range(self._shape.gop - 1):
                    yield packet_source.frame(self.clock.wall_90k())
                raise CameraEndedError("the camera hung up")


def _with_fault(fault: Fault, packet: Packet, dice: random.Random) -> Packet:
    if fault is Fault.GARBAGE:
        return replace(packet, data=dice.randbytes(dice.randrange(2000)))
    if fault is Fault.FLOOD:
        return replace(packet, data=packet.data + FILLER)
    if fault is Fault.INVALID_TIMES:
        dts_90k = dice.choice((0, packet.dts_90k, -packet.dts_90k, dice.randrange(-(2**40), 2**40)))
        return replace(packet, dts_90k=dts_90k, pts_90k=dts_90k + dice.randrange(-9000, 9000))
    if fault is Fault.WRONG_CLOCK:
        return replace(packet, captured_at_90k=max(0, packet.captured_at_90k + dice.randrange(-(2**44), 2**44)))
    return packet
