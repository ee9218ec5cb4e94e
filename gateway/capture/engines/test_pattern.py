"""ClockPattern: the picture of the fake camera. It is drawn into I420 planes, and only where something changes."""

import math
import zlib
from datetime import datetime

import cv2
import numpy as np
from numpy.typing import NDArray

from gateway.capture.engines import timecode

Plane = NDArray[np.uint8]


_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK = 235
"""Luma of white."""

_TOP_LUMA, _BOTTOM_LUMA = 58, 22
"""Luma of the background's ends."""

_NIGHT_DEGREES, _NIGHT_CHROMA = -34, 22
"""Hue in the plane of U and V, and saturation, of a dark blue."""

_DEMO = "demo"
"""The camera of a gateway without configured cameras."""

_AMBER_U, _AMBER_V = 70, 170
"""Chroma of the light."""

_LAP_MS = 4000
"""The light crosses the picture in this time, in ms."""


class ClockPattern:
    """A dark gradient, a name, a large clock, a moving light, and the time code."""

    def __init__(self, width: int, height: int, name: str = _DEMO) -> None:
        """``width`` and ``height`` in pixels, even, at least 160x96. Each ``name`` has a colour of its own."""
        self._width, self._height = width, height
        self._name = name
        self._planes = self._background()
        self._luma = self._planes[:height]
        self._clock = _Line(self._luma, (width // 2, round(height * 0.52)), width * 0.80, "00:00:00.000")
        self._date = _Line(self._luma, (width // 2, round(height * 0.71)), width * 0.26, "0000-00-00 +00:00")
        self._light = _Light(self._planes, width, height)

    def draw(self, time: datetime, unix_ms: int) -> Plane:
        """The picture of this time, I420. Each call returns the same array."""
        self._clock.write(f"{time:%H:%M:%S}.{unix_ms % 1000:03}")
        self._date.write(f"{time:%Y-%m-%d} {time:%z}"[:14] + ":" + f"{time:%z}"[3:5])
        self._light.move(unix_ms % _LAP_MS / _LAP_MS)
        timecode.write(self._luma, unix_ms)
        return self._planes

    def _background(self) -> Plane:
        width, height = self._width, self._height
        down = np.linspace(0, 1, height)[:, np.newaxis]
        across = np.abs(np.linspace(-1, 1, width))[np.newaxis, :]
        luma = _TOP_LUMA + (_BOTTOM_LUMA - _TOP_LUMA) * down - 10 * across**2
        planes = np.empty((height * 3 // 2, width), np.uint8)
        planes[:height] = luma.clip(16, 235)
        chroma = planes[height:].reshape(-1)
        half = chroma.size // 2
        is_demo = self._name == _DEMO
        hue = math.radians(_NIGHT_DEGREES + (0 if is_demo else zlib.crc32(self._name.encode()) % 360))
        chroma[:half] = round(128 + _NIGHT_CHROMA * math.cos(hue))
        chroma[half:] = round(128 + _NIGHT_CHROMA * math.sin(hue))
        scale = width / 1280
        title = "liveedge" if is_demo else self._name
        line = "no camera is configured yet" if is_demo else "it is no camera"
        for text, y, size, ink in (
            (title, 0.26, 2.0, _INK),
            (f"This picture is made here: {line}.", 0.34, 0.8, 150),
        ):
            cv2.putText(
                planes[:height],
                text,
                (round(width * 0.1), round(height * y)),
                _FONT,
                size * scale,
                ink,
                max(1, round(2.2 * scale * size**0.5)),
                cv2.LINE_AA,
            )
        return planes


class _Line:
    """A line of text of fixed length. Characters are drawn once and copied where the text changes."""

    def __init__(self, luma: Plane, center: tuple[int, int], width: float, pattern: str) -> None:
        self._luma = luma
        cell = max(4, int(width / len(pattern)))
        scale = cell / 21
        weight = max(1, round(scale * 2))
        (_, ascent), descent = cv2.getTextSize("0", _FONT, scale, weight)
        self._rows = slice(center[1] - ascent // 2 - weight, center[1] - ascent // 2 + ascent + descent)
        left = center[0] - cell * len(pattern) // 2
        self._columns = [slice(left + cell * index, left + cell * (index + 1)) for index in range(len(pattern))]
        self._below = [luma[self._rows, columns].copy() for columns in self._columns]
        self._glyphs: dict[str, Plane] = {}
        for character in "0123456789:.-+ ":
            glyph = np.zeros_like(self._below[0])
            (extent, _), _ = cv2.getTextSize(character, _FONT, scale, weight)
            at = ((cell - extent) // 2, ascent + weight)
            cv2.putText(glyph, character, at, _FONT, scale, 255, weight, cv2.LINE_AA)
            self._glyphs[character] = glyph
        self._text = ""

    def write(self, text: str) -> None:
        for index, (columns, below) in enumerate(zip(self._columns, self._below, strict=True)):
            character = text[index : index + 1]
            if character == self._text[index : index + 1]:
                continue
            cover = self._glyphs[character].astype(np.uint16)
            self._luma[self._rows, columns] = (below * (255 - cover) + _INK * cover) // 255
        self._text = text


class _Light:
    """A soft amber light that moves along a line, in all three planes."""

    def __init__(self, planes: Plane, width: int, height: int) -> None:
        chroma = planes[height:].reshape(2, height // 2, width // 2)
        self._planes = (planes[:height], chroma[0], chroma[1])
        self._inks = (210, _AMBER_U, _AMBER_V)
        side = max(8, height // 16 // 4 * 4)
        tail = side * 6
        self._reach = width - tail
        y = round(height * 0.82) // 2 * 2 - side // 2 // 2 * 2
        self._boxes = ((y, side, tail, 1), (y // 2, side // 2, tail // 2, 2), (y // 2, side // 2, tail // 2, 2))
        self._covers = [_comet(rows, columns) for _, rows, columns, _ in self._boxes]
        self._below = [
            plane[top : top + rows].copy() for plane, (top, rows, _, _) in zip(self._planes, self._boxes, strict=True)
        ]

    def move(self, part: float) -> None:
        """``part`` of the way, from 0 to 1."""
        x = round(part * self._reach) // 2 * 2
        for plane, ink, (top, rows, columns, step), cover, below in zip(
            self._planes, self._inks, self._boxes, self._covers, self._below, strict=True
        ):
            left = x // step
            plane[top : top + rows] = below
            under = below[:, left : left + columns].astype(np.uint16)
            plane[top : top + rows, left : left + columns] = (under * (255 - cover) + ink * cover) // 255


def _comet(rows: int, columns: int) -> NDArray[np.uint16]:
    """How much of each pixel the light covers, 0-255: a round head at the right and a tail that fades."""
    y = (np.arange(rows) - (rows - 1) / 2)[:, np.newaxis] / (rows / 2)
    x = (np.arange(columns)[np.newaxis, :] - (columns - rows / 2)) / (rows / 2)
    head = np.exp(-3 * (x**2 + y**2))
    tail = np.where(x < 0, np.exp(-14 * y**2) * np.exp(x / 3), 0) * 0.7
    cover: NDArray[np.uint16] = (255 * np.maximum(head, tail)).clip(0, 255).astype(np.uint16)
    return cover
