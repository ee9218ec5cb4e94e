"""RtspInput: an RTSP camera that libav reads, through a relay that bounds what it gets.

Rules:

1. TCP first: it crosses NAT and loses nothing. libav tries UDP itself where the camera refuses TCP (461).
2. Nothing is probed: the session description and the first keyframe say everything. What libav reads while opening is
   kept (``fflags=nobuffer`` would throw the first keyframe away, and cost a whole GOP).
3. RTP payloads are taken as they are: :mod:`gateway.capture.access_units` says why.
4. Connections, TLS, credentials and redirects are those of our own client (:mod:`gateway.capture.rtsp_connect`,
   :mod:`gateway.capture.rtsp_relay`).
"""

from collections.abc import Callable
from typing import TypeVar

from av.container import InputContainer

from gateway.capture.engine import CaptureSource
from gateway.capture.libav_open import LIBAV_ERRORS, av_open
from gateway.capture.libav_relayed import RelayedInput
from gateway.capture.rtsp_connect import Redirects
from gateway.capture.rtsp_relay import RtspRelay
from gateway.errors import CaptureError

Opened = TypeVar("Opened")

OPTIONS = {
    "rtsp_transport": "tcp+udp",
    "rtsp_flags": "prefer_tcp",
    "analyzeduration": "0",
    "probesize": "32",
    "fflags": "noparse",
    # Bytes; room for two keyframes of 4K over UDP, where the system's default loses packets at the first.
    "buffer_size": str(2 * 1024 * 1024),
}


class RtspInput(RelayedInput[RtspRelay]):
    """See the module."""

    def __init__(self, source: CaptureSource) -> None:
        """Raises a :class:`~gateway.errors.CaptureError` for a URL that is not of RTSP."""
        self._place = Redirects(source)
        super().__init__(source, self._place.url)

    def _make_relay(self) -> RtspRelay:
        return RtspRelay(self._place.url, self._place.source, self.watch)

    def open(self) -> InputContainer | None:
        return self.open_by(lambda name: av_open(name, options=dict(OPTIONS)), lambda container: container.close())

    def open_by(self, opener: Callable[[str], Opened], close: Callable[[Opened], None]) -> Opened | None:
        """Open the camera by another user of libav; ``None`` after an interrupt.

        ``opener`` gets the URL of the relay. It raises one of ``LIBAV_ERRORS``, or the error to raise where the camera
        has done nothing wrong.
        """
        while True:
            name = self._start_relay()
            if name is None:
                return None
            failure: Exception | None = None
            try:
                opened = opener(name)
            except (*LIBAV_ERRORS, CaptureError) as error:
                failure = error
            relay = self._relay
            assert relay is not None
            if failure is None and relay.redirect is None and relay.error is None and not self.is_interrupted:
                self.watch.opened()
                return opened
            if failure is None:
                # libav reports success where it was cut off while it read stream information.
                close(opened)
            if self.is_interrupted:
                return None
            if relay.redirect is None:
                if isinstance(failure, CaptureError):
                    raise self.known_error or failure
                raise self.open_error(failure or TimeoutError()) from None
            self._close_relay()
            self._place.follow(relay.redirect)
            self.url = self._place.url
