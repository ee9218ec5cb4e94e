"""RtspCaptureEngine: RTSP cameras on the event loop, without a thread and without libav.

Theory of operation. :mod:`gateway.rtsp` holds the protocol, :mod:`gateway.capture.rtsp_run` its sockets and times, and
:mod:`gateway.capture.rtsp_media` makes packets of the media. This module follows redirects and names the errors. A
packet goes from the socket to the consumers in one call: the parser finds the interleaved frame in the receive buffer,
and its track takes it from there.

Rules:

1. ``timeout_s`` bounds the whole opening, redirects included, and later the time without a frame of video: audio alone
   does not keep a run alive.
2. RTP comes over TCP, on the RTSP connection; over UDP where the camera refuses TCP (461).
3. Redirects are followed by the rules of :mod:`gateway.capture.rtsp_connect`.
4. UDP is only accepted from the address that the RTSP connection goes to.
"""

import asyncio
from collections.abc import Callable

from gateway.capture import camera_errors
from gateway.capture.engine import AsyncCaptureEngine, CaptureSource
from gateway.capture.rtsp_connect import Redirects
from gateway.capture.rtsp_run import RtspRun
from gateway.capture.url import CameraUrl
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.media import Packet
from gateway.rtsp.errors import RtspProtocolError, RtspStatusError
from gateway.rtsp.redirect import RedirectError


class RtspCaptureEngine(AsyncCaptureEngine):
    """One connection to an RTSP camera; see the module's rules."""

    def __init__(self, source: CaptureSource, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(source, clock)
        self._run: RtspRun | None = None

    @property
    def is_low_latency(self) -> bool:
        """Whether frames are passed on with their last RTP packet, by the marker bit."""
        return self._run is not None and self._run.is_low_latency

    async def run(self, on_packet: Callable[[Packet], None]) -> None:
        place = Redirects(self.source)
        open_until = asyncio.get_running_loop().time() + self.source.timeout_s
        while True:
            try:
                await self._open_and_play(place.url, place.source, open_until, on_packet)
                return
            except RedirectError as redirect:
                place.follow(redirect.location)

    async def _open_and_play(
        self, url: CameraUrl, source: CaptureSource, open_until: float, on_packet: Callable[[Packet], None]
    ) -> None:
        """One connection, from its opening to its end. Raises ``RedirectError`` and ``CaptureError``."""
        run = self._run = RtspRun(source, self.clock, self.counters, url, on_packet)
        try:
            try:
                async with asyncio.timeout_at(open_until):
                    await run.open()
            except TimeoutError:
                raise camera_errors.timed_out(url, self.source.timeout_s) from None
            await run.play()
        except RtspStatusError as error:
            raise camera_errors.refused(url, error.status, error.method, error.retry_after_s) from None
        except RtspProtocolError as error:
            raise camera_errors.not_rtsp(url, str(error)) from None
        finally:
            await run.close()
