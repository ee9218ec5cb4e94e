"""FakeLiveStreamGenerator: a camera without hardware, for demonstrations and tests. It shows a clock.

Theory of operation. A test pattern is drawn and encoded in real time. Its packets are like those of any camera.
``fake://NAME?width=1280&height=720&fps=15&gop=2&audio=none`` configures it: the name in its picture, which also chooses
the colour, its size in pixels, frames per second, keyframe interval in seconds, and ``aac``, ``alaw`` or ``none`` for a
short tone each second.

Drawing is cheap, because this also runs on small machines: the background is drawn once, and for each frame only the
clock, a moving light and the time code (:mod:`gateway.capture.engines.timecode`).
"""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from urllib.parse import parse_qs, urlsplit

from gateway.capture.engine import CaptureEngine, CaptureSource
from gateway.capture.engines.h264_encoder import H264Encoder
from gateway.capture.engines.test_pattern import ClockPattern
from gateway.capture.engines.tone import AUDIO_CODECS, Tone
from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock
from gateway.errors import CaptureError
from gateway.media import Packet

MAX_LATE_S = 1.0
"""After a pause longer than this, in seconds (a suspended laptop), the missed frames are skipped."""


class FakeLiveStreamGenerator(CaptureEngine):
    """One run of the fake camera."""

    def __init__(self, source: CaptureSource, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(source, clock)
        self._stop = threading.Event()

    def interrupt(self) -> None:
        self._stop.set()

    def packets(self) -> Iterator[Packet]:
        url = urlsplit(self.source.url)
        query = parse_qs(url.query)
        width, height = _number(query, "width", 1280, 160, 3840) & ~1, _number(query, "height", 720, 96, 2160) & ~1
        fps = _number(query, "fps", 15, 1, 60)
        tone = _tone(query, self.source.run)
        encoder = H264Encoder(
            width,
            height,
            Fraction(fps),
            _number(query, "gop", 2, 1, 60),
            self.source.run,
            tone.info if tone is not None else None,
        )
        picture = ClockPattern(width, height, url.netloc)
        started = self.clock.monotonic()
        number = 0
        while not self._stop.wait(max(0.0, started + number / fps - self.clock.monotonic())):
            late_s = self.clock.monotonic() - (started + number / fps)
            if late_s > MAX_LATE_S:
                number += int(late_s * fps)
            wall_90k = self.clock.wall_90k()
            planes = picture.draw(datetime.fromtimestamp(wall_90k / CLOCK_RATE, UTC).astimezone(), wall_90k // 90)
            pts_90k = number * CLOCK_RATE // fps
            yield from encoder.encode(planes, pts_90k, wall_90k)
            if tone is not None and encoder.info is not None:
                yield from tone.until(pts_90k, wall_90k, encoder.info)
            number += 1


def _number(query: dict[str, list[str]], name: str, default: int, least: int, most: int) -> int:
    text = query.get(name, [str(default)])[-1]
    if not text.isdecimal() or not least <= int(text) <= most:
        raise CaptureError(f"the fake camera's {name} is {text!r}; write a whole number from {least} to {most}")
    return int(text)


def _tone(query: dict[str, list[str]], run: int) -> Tone | None:
    name = query.get("audio", ["none"])[-1]
    if name in {"none", "0"}:
        return None
    codec = AUDIO_CODECS.get(name)
    if codec is None:
        raise CaptureError(f"the fake camera's audio is {name!r}; write one of none, {', '.join(AUDIO_CODECS)}")
    return Tone(codec, run)
