"""The camera with a clock in its picture, and a switch: while the file ``away`` exists, the camera is unreachable.

``fake://demo?fps=15&away=/tmp/switch``, with ``bench.support.switched_camera:SwitchedCamera`` as engine.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from gateway.capture.engines.fake import FakeLiveStreamGenerator
from gateway.errors import CameraEndedError
from gateway.media import Packet

ENGINE = "bench.support.switched_camera:SwitchedCamera"


class SwitchedCamera(FakeLiveStreamGenerator):
    """See the module."""

    def packets(self) -> Iterator[Packet]:
        switch = Path(parse_qs(urlsplit(self.source.url).query)["away"][0])
        if switch.exists():
            raise CameraEndedError("the camera is switched off")
        for packet in super().packets():
            yield packet
            if switch.exists():
                raise CameraEndedError("the camera was switched off")
