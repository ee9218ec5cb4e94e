"""Whether the wall clock was set: rule 4 of :mod:`hls.parts.segmenter`."""

from gateway.clock import CLOCK_RATE
from gateway.media import Packet

CLOCK_STEP_90K = CLOCK_RATE
"""A change of the capture time above this, within a segment, is a step of the wall clock. A smaller one is that of the
network or of NTP, and just changes PROGRAM-DATE-TIME."""

BEGINNING_90K = 15 * CLOCK_RATE
BEGINNING_FALL_90K = 12 * CLOCK_RATE
"""In the beginning of a run, capture times fall by so much without a step of the clock: those of a camera that sends
pictures in bursts, or first what it has kept since its last keyframe, are only known when one came late."""


def is_clock_step(packet: Packet, ahead_90k: int) -> bool:
    """Whether a capture time that is so much later than expected, at a keyframe, is that of a clock that was set."""
    fall_90k = BEGINNING_FALL_90K if packet.dts_90k < BEGINNING_90K else CLOCK_STEP_90K
    return not -fall_90k <= ahead_90k <= CLOCK_STEP_90K
