"""Turns libav's errors into the errors of :mod:`gateway.capture.camera_errors`.

libav gives errors as numbers, and PyAV prints the URL with its password beside them. Of the library's text only its
words for the number are kept.
"""

import errno

import av.error

from gateway.capture import camera_errors
from gateway.capture.camera_errors import host_and_port
from gateway.capture.url import CameraUrl
from gateway.errors import CameraEndedError, CaptureError, redact

_HUNG_UP = (
    av.error.EOFError,
    av.error.ConnectionResetError,
    av.error.ConnectionAbortedError,
    av.error.BrokenPipeError,
)

# The first match wins. libav has a class for some status codes only; the last two stand for all others.
_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (av.error.HTTPUnauthorizedError, 401),
    (av.error.HTTPForbiddenError, 403),
    (av.error.HTTPNotFoundError, 404),
    (av.error.HTTPBadRequestError, 400),
    (av.error.HTTPClientError, 499),
    (av.error.HTTPServerError, 500),
)


def open_error(error: Exception, url: CameraUrl, timeout_s: float) -> CaptureError:
    """The error for a camera that could not be opened."""
    if isinstance(error, av.error.ExitError | av.error.TimeoutError | TimeoutError):
        return camera_errors.timed_out(url, timeout_s)
    if isinstance(error, av.error.ConnectionRefusedError):
        return camera_errors.nothing_listens(url)
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return camera_errors.refused(url, status)
    if isinstance(error, _HUNG_UP):
        return camera_errors.hung_up(url)
    if isinstance(error, av.error.InvalidDataError):
        return camera_errors.not_rtsp(url)
    number = getattr(error, "errno", None)
    if number == errno.EPROTONOSUPPORT:
        return camera_errors.refused(url, 461)
    if camera_errors.is_no_route(number):
        return camera_errors.no_route(url)
    return camera_errors.not_opened(url, _words(error))


def read_error(error: Exception, url: CameraUrl) -> CaptureError:
    """The error for an open stream that ended."""
    if isinstance(error, _HUNG_UP):
        return camera_errors.ended(url)
    return CameraEndedError(f"the stream of the camera at {host_and_port(url)} broke off ({_words(error)})")


def _words(error: Exception) -> str:
    """The library's words for the error number, without the URL that its exception prints."""
    words = error.strerror if isinstance(error, av.error.FFmpegError) else str(error)
    return redact(words or type(error).__name__)
