"""Turns libav's errors into :class:`~gateway.errors.CaptureError` objects that say what to do.

libav gives errors as numbers, and PyAV prints the URL with its password beside them. Of the library's text only its
words for the number are kept, and the camera is named by host and port alone.
"""

import errno

import av.error

from gateway.capture.url import CameraUrl
from gateway.errors import (
    CameraEndedError,
    CameraRefusedError,
    CameraTimeoutError,
    CameraUnauthorizedError,
    CameraUnreachableError,
    CaptureError,
    NoVideoError,
    redact,
)

_NO_ROUTE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EADDRNOTAVAIL})
_HUNG_UP = (
    av.error.EOFError,
    av.error.ConnectionResetError,
    av.error.ConnectionAbortedError,
    av.error.BrokenPipeError,
)

# The first match wins. ``{where}`` is host and port, ``{wants}`` is what a 401 asks for.
_OPENING: tuple[tuple[type[Exception] | tuple[type[Exception], ...], type[CaptureError], str], ...] = (
    (
        av.error.ConnectionRefusedError,
        CameraUnreachableError,
        "nothing listens at {where}; check the port (RTSP's is mostly 554), and that RTSP is enabled in the camera",
    ),
    (
        av.error.HTTPUnauthorizedError,
        CameraUnauthorizedError,
        "the camera at {where} wants {wants} (401); check user and password, which come before the host in the URL",
    ),
    (
        av.error.HTTPForbiddenError,
        CameraUnauthorizedError,
        "the camera at {where} does not let this user view the stream (403); give the user that right, or use another",
    ),
    (
        av.error.HTTPNotFoundError,
        CameraRefusedError,
        "the camera at {where} has no stream at the URL's path (404); see its manual for the path, as in /stream1",
    ),
    (
        av.error.HTTPBadRequestError,
        CameraRefusedError,
        "the server at {where} does not understand RTSP (400); check that the port is the camera's RTSP port (mostly"
        " 554) and not that of its web page",
    ),
    (
        av.error.HTTPClientError,
        CameraRefusedError,
        "the camera at {where} refused (4xx); often it has too many viewers already: close some, or restart it",
    ),
    (
        av.error.HTTPServerError,
        CameraRefusedError,
        "the camera at {where} has an internal error (5xx); restart it",
    ),
    (
        _HUNG_UP,
        CameraEndedError,
        "the camera at {where} hung up while it was being opened; check that the port is its RTSP port (mostly 554),"
        " and that it does not have too many viewers already",
    ),
    (
        av.error.InvalidDataError,
        NoVideoError,
        "the answer of {where} is not RTSP, or describes no media; check the port (RTSP's is mostly 554) and the path",
    ),
)


def host_and_port(url: CameraUrl) -> str:
    """How messages name a camera."""
    return f"{url.host}:{url.connect_port}"


def open_error(error: Exception, url: CameraUrl, timeout_s: float, elapsed_s: float) -> CaptureError:
    """The error for a camera that could not be opened, after ``elapsed_s`` seconds."""
    where = host_and_port(url)
    # libav mostly reports an operation that a deadline ended as "invalid data".
    if elapsed_s >= timeout_s or isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return CameraTimeoutError(
            f"the camera at {where} did not answer within {timeout_s:g} s; check that it is on and that address and"
            " port are right (RTSP's port is mostly 554), or raise CAPTURE_TIMEOUT"
        )
    wants = "other credentials than the URL's" if url.userinfo else "credentials, and the URL has none"
    for kinds, fault, sentence in _OPENING:
        if isinstance(error, kinds):
            return fault(sentence.format(where=where, wants=wants))
    number = getattr(error, "errno", None)
    if number == errno.EPROTONOSUPPORT:
        return CameraRefusedError(
            f"the camera at {where} offers no usable transport (461); allow RTP over TCP or UDP unicast in it"
        )
    if number in _NO_ROUTE:
        return CameraUnreachableError(f"there is no route to {where}; check the address and this machine's network")
    return CameraUnreachableError(f"the camera at {where} could not be opened ({_words(error)}); check its URL")


def read_error(error: Exception, url: CameraUrl, timeout_s: float, elapsed_s: float) -> CaptureError:
    """The error for an open stream that ended, ``elapsed_s`` seconds after its last packet."""
    where = host_and_port(url)
    # libav reports a deadline in the middle of a packet as an "input/output error".
    if elapsed_s >= timeout_s or isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return silent(url, timeout_s)
    if isinstance(error, _HUNG_UP):
        return CameraEndedError(f"the camera at {where} ended the stream")
    return CameraEndedError(f"the stream of the camera at {where} broke off ({_words(error)})")


def certificate_error(url: CameraUrl) -> CameraRefusedError:
    """The error for a certificate that is not valid for the camera."""
    return CameraRefusedError(
        f"the certificate of the camera at {host_and_port(url)} does not prove that it is {url.host}; set"
        " CAPTURE_TLS_CA_FILE to the certificate of its issuer (the camera's own, if it is self-signed), and use the"
        " certificate's name in the camera's URL; or set CAPTURE_TLS_VERIFY=false"
    )


def silent(url: CameraUrl, timeout_s: float) -> CameraTimeoutError:
    """The error for a camera that has sent no picture for too long."""
    return CameraTimeoutError(
        f"the camera at {host_and_port(url)} has sent no picture for {timeout_s:g} s; check its network, or raise"
        " CAPTURE_TIMEOUT"
    )


def _words(error: Exception) -> str:
    """The library's words for the error number, without the URL that its exception prints."""
    words = error.strerror if isinstance(error, av.error.FFmpegError) else str(error)
    return redact(words or type(error).__name__)
