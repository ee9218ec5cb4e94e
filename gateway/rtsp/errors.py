"""What the other side of an RTSP connection did wrong, with what is needed to say so to a person.

    RtspError
    ├── RtspProtocolError   bytes that are not RTSP, or more of them than the limits allow
    └── RtspStatusError     a well-formed refusal: status code and reason, and the request that it answers

The engine turns them into :class:`~gateway.errors.CaptureError`, which names the camera.
"""


class RtspError(Exception):
    """The root of this package's errors."""


class RtspProtocolError(RtspError):
    """The peer sent something that no rule of RTSP allows, or that is larger than our limits."""


class RtspStatusError(RtspError):
    """The peer refused a request.

    ``status`` and ``reason`` are those of its status line, ``method`` is that of our request. ``retry_after_s`` is its
    ``Retry-After``, where there was one (RFC 2326 §12.31).
    """

    def __init__(self, method: str, status: int, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{method} was answered {status} {reason}".rstrip())
        self.method = method
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s
