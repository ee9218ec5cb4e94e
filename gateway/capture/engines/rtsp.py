"""RtspCaptureEngine: RTSP cameras on the event loop, without a thread and without libav.

Theory of operation. :mod:`gateway.rtsp` holds the protocol, :mod:`gateway.capture.rtsp_run` its sockets and times, and
:mod:`gateway.capture.rtsp_media` makes packets of the media. This module follows redirects and names the errors. A
packet goes from the socket to the consumers in one call: the parser finds the interleaved frame in the receive buffer,
and its track takes it from there.

Rules:

1. ``timeout_s`` bounds the whole opening, redirects included, and later the time without a frame of video: audio alone
   does not keep a run alive.
2. RTP comes over TCP, on the RTSP connection; over UDP where the camera refuses TCP (461).
3. Redirects are followed :data:`REDIRECTS_MAX` times, and never to a URL that has redirected already. Each target
   passes the check of addresses that cameras refer to, and gets the credentials only where scheme, host and port stay
   the same. A redirect that is not followed fails the attempt, so the next one waits as after every failure.
4. UDP is only accepted from the address that the RTSP connection goes to.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from gateway.capture import camera_errors
from gateway.capture.camera_errors import host_and_port
from gateway.capture.engine import AsyncCaptureEngine, CaptureSource
from gateway.capture.rtsp_run import RtspRun
from gateway.capture.url import CameraUrl, parse
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import CameraRefusedError, CaptureError
from gateway.media import Packet
from gateway.rtsp.client import RedirectError
from gateway.rtsp.errors import RtspProtocolError, RtspStatusError

REDIRECTS_MAX = 3
"""A camera behind a load balancer needs one; more is a loop."""

SCHEMES = frozenset({"rtsp", "rtsps"})


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
        url = first = parse(self.source.url)
        if url.scheme not in SCHEMES:
            raise CaptureError(f"{url.scheme}:// is not how cameras are pulled; write rtsp:// or rtsps://")
        open_until = asyncio.get_running_loop().time() + self.source.timeout_s
        visited: set[CameraUrl] = set()
        while len(visited) <= REDIRECTS_MAX and url not in visited:
            visited.add(url)
            source = self.source if url.host == first.host else referred(self.source)
            try:
                await self._open_and_play(url, source, open_until, on_packet)
                return
            except RedirectError as redirect:
                url = redirected(url, redirect.location)
        raise CameraRefusedError(
            f"the camera at {host_and_port(first)} redirects again and again; write the address of the stream itself"
        )

    async def _open_and_play(
        self, url: CameraUrl, source: CaptureSource, open_until: float, on_packet: Callable[[Packet], None]
    ) -> None:
        """One connection, from its opening to its end. Raises ``RedirectError`` and :class:`CaptureError`."""
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


def referred(source: CaptureSource) -> CaptureSource:
    """The source as it applies to a host that the camera, and not the operator, has named."""
    return replace(source, check_address=source.check_referred or source.check_address)


def redirected(url: CameraUrl, location: str) -> CameraUrl:
    """Where a redirect leads, with the credentials of ``url`` only by rule 3."""
    try:
        target = parse(location)
    except CaptureError:
        raise CameraRefusedError(
            f"the camera at {host_and_port(url)} redirects to an address that cannot be read; write the address of the"
            " stream itself"
        ) from None
    # Also the scheme: credentials of a TLS connection must not go over one without.
    is_same_place = (target.scheme, target.host, target.connect_port) == (url.scheme, url.host, url.connect_port)
    userinfo = url.userinfo if is_same_place else ""
    return CameraUrl(target.scheme, userinfo, target.host, target.port, target.target)
