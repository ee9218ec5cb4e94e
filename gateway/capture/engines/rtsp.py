"""RtspCaptureEngine: RTSP cameras on the event loop, without a thread and without libav.

Theory of operation. :mod:`gateway.rtsp` holds the protocol, :mod:`gateway.capture.rtsp_run` its sockets and times, and
:mod:`gateway.capture.rtsp_media` makes packets of the media. This module follows redirects and names the errors. A
packet goes from the socket to the consumers in one call: the parser finds the interleaved frame in the receive buffer,
and its track takes it from there.

Rules:

1. ``timeout_s`` bounds the whole opening, redirects included, and later the time without a frame of video: audio alone
   does not keep a run alive.
2. RTP comes over TCP, on the RTSP connection; over UDP where the camera refuses TCP (461).
3. A camera that sends no keyframe is asked for one (:mod:`gateway.capture.keyframe_requests`). The session is then
   opened again, once: some begin each session with a keyframe.
4. Redirects are followed by the rules of :mod:`gateway.capture.rtsp_connect`.
5. UDP is only accepted from the address that the RTSP connection goes to.
"""

import asyncio
import logging
from collections.abc import Callable

from gateway.capture import camera_errors
from gateway.capture.camera_errors import NoKeyframeError
from gateway.capture.engine import AsyncCaptureEngine, CaptureSource
from gateway.capture.keyframe_requests import REOPEN_AFTER_S
from gateway.capture.packets import KEYFRAME_TIMEOUT_S
from gateway.capture.rtsp_connect import Redirects
from gateway.capture.rtsp_run import RtspRun
from gateway.capture.url import CameraUrl
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.media import Packet
from gateway.rtsp.errors import RtspProtocolError, RtspStatusError
from gateway.rtsp.redirect import RedirectError

log = logging.getLogger(__name__)

PROBLEM_AFTER_S = 5.0
"""How long a camera may be without a keyframe before that is reported: twice the usual GOP."""


class RtspCaptureEngine(AsyncCaptureEngine):
    """One connection to an RTSP camera; see the module's rules."""

    def __init__(self, source: CaptureSource, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(source, clock)
        self._run: RtspRun | None = None

    @property
    def is_low_latency(self) -> bool:
        """Whether frames are passed on with their last RTP packet, by the marker bit."""
        return self._run is not None and self._run.is_low_latency

    @property
    def video_at(self) -> float:
        return self._run.video_at if self._run is not None else 0.0

    @property
    def problem(self) -> str | None:
        awaited_s = self._run.keyframe_awaited_s if self._run is not None else None
        if self._run is None or awaited_s is None or awaited_s < PROBLEM_AFTER_S:
            return None
        url = self._run.url
        return str(camera_errors.no_keyframe(url, awaited_s, self._run.keyframes_asked))

    async def run(self, on_packet: Callable[[Packet], None]) -> None:
        place = Redirects(self.source)
        loop = asyncio.get_running_loop()
        open_until = loop.time() + self.source.timeout_s
        keyframe_timeout_s = REOPEN_AFTER_S
        is_reopened = False
        while True:
            run = self._run = RtspRun(place.source, self.clock, self.counters, place.url, on_packet, keyframe_timeout_s)
            try:
                await self._open_and_play(run, place.url, open_until)
                return
            except RedirectError as redirect:
                place.follow(redirect.location)
            except NoKeyframeError as error:
                if is_reopened:
                    raise
                is_reopened = True
                log.info("%s; its session is opened again", error, extra={"camera": self.source.camera_id})
                keyframe_timeout_s = KEYFRAME_TIMEOUT_S - REOPEN_AFTER_S
                open_until = loop.time() + self.source.timeout_s

    async def _open_and_play(self, run: RtspRun, url: CameraUrl, open_until: float) -> None:
        """One connection, from its opening to its end. Raises ``RedirectError`` and ``CaptureError``."""
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
            failure = camera_errors.broken_stream if run.is_playing else camera_errors.not_rtsp
            raise failure(url, str(error)) from None
        finally:
            await run.close()
