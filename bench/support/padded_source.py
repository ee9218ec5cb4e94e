"""PaddedSource: a source of real coded packets with the bitrate of a real camera.

Padding is filler data (ITU-T H.264 §7.3.2.7, NAL unit type 12), which decoders ignore. A camera of constant bitrate
sends it, too.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from gateway.media import Packet
from tests.support.sources.engine import SourceEngine

ENGINE = "bench.support.padded_source:PaddedSource"

FPS = 15
"""Frames a second of :class:`~tests.support.sources.packets.Shape`."""

_FILLER_START = b"\0\0\0\1\x0c"
_FILLER_END = b"\x80"


class PaddedSource(SourceEngine):
    """See the module. The bitrate is that of all cameras in the process."""

    bits_per_s: ClassVar[int] = 2_000_000

    def packets(self) -> Iterator[Packet]:
        frame_bytes = self.bits_per_s // 8 // FPS
        for packet in super().packets():
            missing = frame_bytes - len(packet.data) - len(_FILLER_START) - len(_FILLER_END)
            if packet.is_video and missing > 0:
                yield replace(packet, data=packet.data + _FILLER_START + b"\xff" * missing + _FILLER_END)
            else:
                yield packet
