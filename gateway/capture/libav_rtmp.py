"""RtmpInput: an RTMP server whose stream libav plays, through a relay that connects, checks and bounds.

Rules:

1. libav gets ``rtmp://`` to the relay, with the server's own address in the ``connect`` command (``tcUrl``). It gives
   user and password to a server that asks for them.
2. What RTMP carries is FLV: libav opens nothing else.
3. No message has the URL's path: it may be a stream key.
"""

import errno

import av.error
from av.container import InputContainer

from gateway.capture.camera_errors import host_and_port
from gateway.capture.engine import CaptureSource
from gateway.capture.libav_open import LIBAV_ERRORS, av_open
from gateway.capture.libav_relayed import RelayedInput
from gateway.capture.tcp_relay import TcpRelay
from gateway.capture.url import CameraUrl, parse
from gateway.errors import CameraRefusedError, CaptureError

TLS_SCHEMES = frozenset({"rtmps"})
SCHEMES = TLS_SCHEMES | {"rtmp"}

OPTIONS = {
    "rtmp_live": "live",
    "protocol_whitelist": "rtmp,tcp",
    "format_whitelist": "flv,live_flv",
    "analyzeduration": "1000000",
}


class RtmpInput(RelayedInput[TcpRelay]):
    """See the module."""

    def __init__(self, source: CaptureSource) -> None:
        """Raises a :class:`~gateway.errors.CaptureError` for a URL that cannot be read."""
        super().__init__(source, parse(source.url))

    def _make_relay(self) -> TcpRelay:
        return TcpRelay(self.url, self.source, self.watch, TLS_SCHEMES)

    def open(self) -> InputContainer | None:
        place = self._start_relay()
        if place is None:
            return None
        try:
            container = av_open(_relayed(self.url, place), options={**OPTIONS, "rtmp_tcurl": _tc_url(self.url)})
        except LIBAV_ERRORS as error:
            if self.is_interrupted:
                return None
            raise self.open_error(error) from None
        if self.is_interrupted or self.known_error is not None:
            container.close()
            if self.is_interrupted:
                return None
            assert self.known_error is not None
            raise self.known_error
        self.watch.opened()
        return container

    def open_error(self, error: Exception) -> CaptureError:
        # libav has one error for all that a server refuses.
        refused = (av.error.EOFError, av.error.ArgumentError, av.error.UnknownError, av.error.PermissionError)
        is_refused = isinstance(error, refused) or getattr(error, "errno", None) == errno.EIO
        if self.known_error is None and is_refused:
            return CameraRefusedError(
                f"the RTMP server at {host_and_port(self.url)} does not play this stream; check that it is live, and"
                " application, stream name and key in the URL, as in rtmp://192.0.2.7/live/stream"
            )
        return super().open_error(error)


def _application(url: CameraUrl) -> str:
    return url.target.lstrip("/").partition("?")[0].rpartition("/")[0]


def _tc_url(url: CameraUrl) -> str:
    """The address of the application (the server compares it with its own)."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{host}{port}/{_application(url)}"


def _relayed(url: CameraUrl, place: str) -> str:
    userinfo = f"{url.userinfo}@" if url.userinfo else ""
    target = url.target if url.target.startswith("/") else f"/{url.target}"
    return f"rtmp://{userinfo}{place}{target}"
