"""PublishCaptureEngine: a camera that is pushed to the gateway, ``url = "publish:"`` or ``"whip:"``.

Theory of operation. A run waits for a publisher (:mod:`gateway.capture.publish_point`), for as long as it takes, and
ends when that has left. What the publisher sends goes through the same core as the RTP of cameras that are pulled.

Rules:

1. Waiting for a publisher is no fault and has no limit. A publisher without video for ``CAPTURE_TIMEOUT`` is ended.
"""

from collections.abc import Callable

from gateway.capture.engine import AsyncCaptureEngine, CaptureSource
from gateway.capture.rtsp_media import RtspMedia
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import CameraEndedError, CaptureError
from gateway.media import Packet


class PublishCaptureEngine(AsyncCaptureEngine):
    """See the module."""

    def __init__(self, source: CaptureSource, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(source, clock)
        self._media: RtspMedia | None = None
        self._began_at = 0.0

    @property
    def video_at(self) -> float:
        if self._media is None:
            return self.clock.monotonic()
        return max(self._began_at, self._media.video_at)

    @property
    def problem(self) -> str | None:
        return "it waits for a program that publishes it" if self._media is None else None

    async def run(self, on_packet: Callable[[Packet], None]) -> None:
        point = self.source.publish_point
        if point is None:
            raise CaptureError("a camera that is published needs a gateway that it can be published to")
        publisher = await point.wait()
        self._began_at = self.clock.monotonic()
        self._media = RtspMedia(
            publisher.formats,
            on_packet,
            self.clock,
            run=self.source.run,
            camera_id=self.source.camera_id,
            is_reordered=publisher.is_reordered,
            counters=self.counters,
            is_watched=self.source.is_watched,
        )
        publisher.begin(self._media)
        try:
            await point.wait_ended(publisher)
        finally:
            self._media.count()
            publisher.end("its capture has ended")
        raise CameraEndedError("the program that published it has ended")
