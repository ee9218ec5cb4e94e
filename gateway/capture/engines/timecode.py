"""A time code that programs can read from a picture: the Unix time in milliseconds as black and white blocks.

Theory of operation. Glass-to-glass latency is the time from capturing a frame until it is displayed. A time in the
picture itself survives coding, transport, scaling and screens. The strip is at the bottom of the picture, ``ROWS`` rows
of ``COLUMNS`` blocks: 48 bits of milliseconds, most significant first, and then 16 bits of CRC. The CRC rejects
pictures without a strip or with a damaged one.
"""

import binascii

import numpy as np
from numpy.typing import NDArray

ROWS = 2
COLUMNS = 32
HEIGHT = 1 / 20
"""Height of the strip, as a part of the picture's height."""

_TIME_BITS = 48
_DARK, _LIGHT = 16, 150
"""Luma of the blocks: far enough apart for any encoder, and not so bright that the strip distracts."""

Luma = NDArray[np.uint8]


def write(luma: Luma, unix_ms: int) -> None:
    """Draw the strip into a luma plane of shape (height, width), at least 160x96."""
    height, width = luma.shape
    word = unix_ms % (1 << _TIME_BITS) << 16 | _check(unix_ms)
    bits = np.array([word >> (ROWS * COLUMNS - 1 - index) & 1 for index in range(ROWS * COLUMNS)], np.uint8)
    blocks = np.where(bits, _LIGHT, _DARK).astype(np.uint8).reshape(ROWS, COLUMNS)
    top = round(height * (1 - HEIGHT))
    rows = (np.arange(height - top) * ROWS) // (height - top)
    columns = (np.arange(width) * COLUMNS) // width
    luma[top:] = blocks[rows][:, columns]


def read(luma: Luma) -> int | None:
    """The time in a picture's luma (or one channel of its RGB), in ms since the epoch; ``None`` without a strip."""
    height, width = luma.shape
    top = height * (1 - HEIGHT)
    block_height, block_width = (height - top) / ROWS, width / COLUMNS
    word = 0
    for row in range(ROWS):
        y = round(top + (row + 0.5) * block_height)
        for column in range(COLUMNS):
            x = round((column + 0.5) * block_width)
            # The middle of a block, away from the ringing at its edges.
            spot = luma[max(y - 1, 0) : y + 1, max(x - 1, 0) : x + 1]
            word = word << 1 | int(spot.mean() > (_DARK + _LIGHT) / 2)
    unix_ms = word >> 16
    return unix_ms if word & 0xFFFF == _check(unix_ms) else None


def _check(unix_ms: int) -> int:
    return binascii.crc_hqx((unix_ms % (1 << _TIME_BITS)).to_bytes(6, "big"), 0xFFFF)
