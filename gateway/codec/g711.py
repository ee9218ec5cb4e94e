"""G.711 (ITU-T G.711): bytes to samples and loudness, by tables.

A byte is one sample, so :meth:`bytes.translate` decodes all of a packet at once, a byte of the samples at a time. That
takes a tenth of what a decoder of FFmpeg takes, and a gateway needs no numpy for it.
"""

import math
import struct
from collections.abc import Mapping

import av

from gateway.codec.loudness import level_of

_FULL_SCALE = 32768

LEVEL_CHUNK = 512
LEVEL_EVERY = 4
"""The loudness is that of so many samples, by every fourth of them."""


def _mu_law(code: int) -> int:
    code ^= 0xFF
    size = ((code & 0x0F) << 3) + 0x84 << (code >> 4 & 0x07)
    return 0x84 - size if code & 0x80 else size - 0x84


def _a_law(code: int) -> int:
    code ^= 0x55
    segment, step = code >> 4 & 0x07, (code & 0x0F) << 4
    size = step + 8 if segment == 0 else step + 0x108 << segment - 1
    return size if code & 0x80 else -size


SAMPLES: Mapping[str, tuple[int, ...]] = {
    "pcm_mulaw": tuple(map(_mu_law, range(256))),
    "pcm_alaw": tuple(map(_a_law, range(256))),
}
"""The samples of 16 bits that codes stand for, by FFmpeg's names of the codecs."""


class G711Decoder:
    """Decodes mono G.711 to frames of floats, whose full scale is ``full_scale``, a power of two.

    ``codec`` is one of :data:`SAMPLES`.
    """

    def __init__(self, codec: str, sample_rate_hz: int, full_scale: float) -> None:
        samples = SAMPLES[codec]
        self._sample_rate_hz = sample_rate_hz
        self._squares = [float(sample * sample) for sample in samples]
        floats = [struct.pack("<f", sample / _FULL_SCALE * full_scale) for sample in samples]
        # Samples have 14 bits, so that the lowest byte of each float is 0.
        self._planes = [bytes(each[place] for each in floats) for place in (1, 2, 3)]

    def decode(self, data: bytes) -> av.AudioFrame:
        """The samples of ``data``, without a time."""
        samples = bytearray(4 * len(data))
        for place, plane in enumerate(self._planes, 1):
            samples[place::4] = data.translate(plane)
        frame = av.AudioFrame("fltp", "mono", len(data))
        frame.sample_rate = self._sample_rate_hz
        padding = frame.planes[0].buffer_size - len(samples)
        frame.planes[0].update(bytes(samples) + bytes(padding))
        return frame

    def level(self, data: bytes) -> int:
        """The level of the loudest :data:`LEVEL_CHUNK` samples; see :mod:`gateway.codec.loudness`."""
        squares = self._squares
        loudest = 0.0
        for first in range(0, len(data), LEVEL_CHUNK):
            chosen = data[first : first + LEVEL_CHUNK : LEVEL_EVERY]
            loudest = max(loudest, sum(map(squares.__getitem__, chosen)) / len(chosen))
        return level_of(math.sqrt(loudest) / _FULL_SCALE)
