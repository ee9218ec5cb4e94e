"""SourceEngine: a capture engine that plays a :class:`~tests.support.sources.packets.PacketSource` in real time.

The camera's URL describes the source, as in ``packets://frame_90k=6000,gop=30,audio=aac``. Name the engine
``tests.support.sources.engine:SourceEngine``.
"""

import threading
from collections.abc import Iterator
from typing import Any, ClassVar

from gateway.capture.engine import CaptureEngine, CaptureSource
from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK, Clock
from gateway.errors import CameraEndedError
from gateway.media import Packet
from tests.support.sources.packets import AAC, PCMA, PCMU, PacketSource, Shape

_AUDIO = {"aac": AAC, "pcma": PCMA, "pcmu": PCMU}


def shape_of(url: str) -> Shape:
    """What a ``packets://`` URL describes."""
    fields: dict[str, Any] = {}
    for item in filter(None, url.removeprefix("packets://").split(",")):
        name, _, value = item.partition("=")
        fields[name] = _AUDIO[value] if name == "audio" else int(value)
    return Shape(**fields)


class SourceEngine(CaptureEngine):
    """See the module. ``silenced`` has the URLs of cameras that send nothing, ``hung_up`` those of lost cameras."""

    silenced: ClassVar[set[str]] = set()
    hung_up: ClassVar[set[str]] = set()

    def __init__(self, source: CaptureSource, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(source, clock)
        self._stop = threading.Event()

    def packets(self) -> Iterator[Packet]:
        url = self.source.url
        shape = shape_of(url)
        packet_source = PacketSource(shape, run=self.source.run)
        start_90k = self.clock.wall_90k()
        while not self._stop.is_set():
            if url in self.hung_up:
                raise CameraEndedError("the camera hung up")
            due_90k = start_90k + packet_source.number * shape.frame_90k
            wait_s = (due_90k - self.clock.wall_90k()) / CLOCK_RATE
            if self._stop.wait(max(0.0, wait_s)):
                return
            packets = list(
                packet_source.with_sound(1, start_90k)
                if shape.audio is not None
                else packet_source.frames(1, start_90k)
            )
            if url not in self.silenced:
                yield from packets

    def interrupt(self) -> None:
        self._stop.set()
