"""A capture engine that a test controls: it sends and fails on command."""

import queue
from collections.abc import Iterator
from typing import ClassVar

from gateway.capture.engine import CaptureEngine, CaptureSource
from gateway.clock import Clock
from gateway.errors import CaptureError
from gateway.media import MediaKind, Packet, StreamInfo, VideoInfo

INFO = StreamInfo(VideoInfo("h264", "avc1.42e01f", 640, 360, b"\0\0\0\1\x67\x42\0\0\0\1\x68\xce"))


class ScriptedEngine(CaptureEngine):
    """Its name is ``tests.support.sources.scripted:ScriptedEngine``. ``runs`` has the engines of each camera."""

    runs: ClassVar[dict[str, list["ScriptedEngine"]]] = {}

    def __init__(self, source: CaptureSource, clock: Clock) -> None:
        super().__init__(source, clock)
        self._script: queue.Queue[Packet | Exception | None] = queue.Queue()
        self._number = 0
        self.interrupted = False
        self.closed = False
        self.runs.setdefault(source.url, []).append(self)

    def packets(self) -> Iterator[Packet]:
        try:
            while True:
                step = self._script.get()
                if step is None:
                    return
                if isinstance(step, Exception):
                    raise step
                yield step
        finally:
            self.closed = True

    def interrupt(self) -> None:
        self.interrupted = True
        self._script.put(None)

    def send(
        self,
        *,
        key: bool = False,
        kind: MediaKind = MediaKind.VIDEO,
        info: StreamInfo = INFO,
        data: bytes = b"\0\0\0\1\x65",
    ) -> None:
        """Send a frame."""
        time_90k = self._number * 3000
        self._number += 1
        captured_90k = self.clock.wall_90k()
        self._script.put(Packet(kind, data, time_90k, time_90k, 3000, key, captured_90k, info, self.source.run))

    def fail(self, error: Exception | None = None) -> None:
        """Fail, as if the camera was lost."""
        self._script.put(error or CaptureError("the camera is gone"))
