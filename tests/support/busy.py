"""Packets whose sizes say when something happens. They are an encoder's, with padding of a known size."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.clock import CLOCK_RATE
from gateway.media import Packet

KEY_BYTES, INTER_BYTES, BUSY_BYTES = 6000, 300, 3000
FILLER = b"\0\0\0\x01\x0c"
"""A NAL unit of filler data of H.264 (§7.3.2.7)."""


def with_sizes(packets: Sequence[Packet], is_busy: Callable[[float], bool]) -> list[Packet]:
    """The same pictures, larger where ``is_busy`` says so of the seconds since the first one."""
    start_90k = packets[0].dts_90k
    padded = []
    for number, packet in enumerate(packets):
        if packet.is_video:
            size = KEY_BYTES if packet.is_keyframe else INTER_BYTES + number * 7 % 20
            if not packet.is_keyframe and is_busy((packet.dts_90k - start_90k) / CLOCK_RATE):
                size = BUSY_BYTES + number * 137 % 900
            packet = replace(packet, data=packet.data + FILLER + b"\xff" * size + b"\x80")
        padded.append(packet)
    return padded
