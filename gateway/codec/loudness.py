"""How loud sound is, as a level: 128 for full scale, 1 less for each decibel less, down to 1; 0 is not known."""

import math

import av

LEVEL_EVERY = 8
"""Every eighth sample tells the loudness well enough. All of them would take a hundredth of what the encoder takes."""

LEVEL_FULL = 128


def level_of(rms: float) -> int:
    """The level of a root mean square, of which 1 is full scale."""
    return LEVEL_FULL + max(1 - LEVEL_FULL, min(0, round(20 * math.log10(rms)))) if rms > 0 else 1


def loudness(frame: av.AudioFrame, full_scale: float = 1.0) -> int:
    """The level of a frame's first channel; 0 for formats not read here."""
    name = frame.format.name
    if name not in ("fltp", "flt", "s16", "s16p"):
        return 0
    is_float = name.startswith("flt")
    step = LEVEL_EVERY if name.endswith("p") else LEVEL_EVERY * len(frame.layout.channels)
    plane = memoryview(frame.planes[0]).cast("B")
    samples = (plane.cast("f") if is_float else plane.cast("h"))[: frame.samples * step // LEVEL_EVERY : step].tolist()
    rms = math.hypot(*samples) / math.sqrt(max(1, len(samples))) / (full_scale if is_float else full_scale * 32768.0)
    return level_of(rms)
