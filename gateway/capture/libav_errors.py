"""What went wrong with a camera, as a sentence for the person who has to act.

libav tells errors as numbers, and PyAV prints the URL with its password beside them. Here they become the
:class:`~gateway.errors.CaptureError` tree; nothing of the library's text is kept but its own words for the number, and
the camera is named by host and port alone."""

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

# The first that fits wins. ``{where}`` is host and port, ``{wants}`` what a 401 asks for.
_OPENING: tuple[tuple[type[Exception] | tuple[type[Exception], ...], type[CaptureError], str], ...] = (
    (
        av.error.ConnectionRefusedError,
        CameraUnreachableError,
        "nobody listens at {where}; check the port (RTSP's is mostly 554), and that RTSP is switched on in the camera",
    ),
    (
        av.error.HTTPUnauthorizedError,
        CameraUnauthorizedError,
        "the camera at {where} wants {wants} (401); check user and password, which stand before the host in the URL",
    ),
    (
        av.error.HTTPForbiddenError,
        CameraUnauthorizedError,
        "the camera at {where} does not let this user see the stream (403); give the user that right, or take another",
    ),
    (
        av.error.HTTPNotFoundError,
        CameraRefusedError,
        "the camera at {where} has no stream at the URL's path (404); its manual tells the path, as in /stream1",
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
        "the camera at {where} failed by itself (5xx); restart it",
    ),
    (
        _HUNG_UP,
        CameraEndedError,
        "the camera at {where} hung up while it was being opened; check that the port is its RTSP port (mostly 554),"
        " and that it has not too many viewers already",
    ),
    (
        av.error.InvalidDataError,
        NoVideoError,
        "what {where} answers is not RTSP, or describes no media; check the port (RTSP's is mostly 554) and the path",
    ),
)


def place(url: CameraUrl) -> str:
    """Host and port, for people."""
    return f"{url.host}:{url.connect_port}"


def opening_fault(error: Exception, url: CameraUrl, timeout_s: float, elapsed_s: float) -> CaptureError:
    """What kept a camera from being opened, after ``elapsed_s`` seconds."""
    where = place(url)
    # What a deadline cuts short in libav mostly comes out as "invalid data".
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
            f"the camera at {where} offers no transport that can be used (461); allow RTP over TCP or UDP unicast in it"
        )
    if number in _NO_ROUTE:
        return CameraUnreachableError(f"there is no way to {where}; check the address and this machine's network")
    return CameraUnreachableError(f"the camera at {where} could not be opened ({_words(error)}); check its URL")


def reading_fault(error: Exception, url: CameraUrl, timeout_s: float, elapsed_s: float) -> CaptureError:
    """What ended a stream that had been opened, ``elapsed_s`` seconds after its last packet."""
    where = place(url)
    # A deadline that cuts a packet in two comes out as an "input/output error".
    if elapsed_s >= timeout_s or isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return silent(url, timeout_s)
    if isinstance(error, _HUNG_UP):
        return CameraEndedError(f"the camera at {where} ended the stream")
    return CameraEndedError(f"the stream of the camera at {where} broke off ({_words(error)})")


def unproven(url: CameraUrl) -> CameraRefusedError:
    """A certificate that does not do."""
    return CameraRefusedError(
        f"the camera at {place(url)} does not prove by its certificate that it is {url.host}; give CAPTURE_TLS_CA_FILE"
        " the certificate of who signed it (the camera's own, if it signs for itself), and name the camera in its URL"
        " as the certificate does; or set CAPTURE_TLS_VERIFY=false"
    )


def silent(url: CameraUrl, timeout_s: float) -> CameraTimeoutError:
    """No picture for too long."""
    return CameraTimeoutError(
        f"the camera at {place(url)} has sent no picture for {timeout_s:g} s; check its network, or raise"
        " CAPTURE_TIMEOUT"
    )


def _words(error: Exception) -> str:
    """The library's words for the number, without the URL that its exception prints."""
    words = error.strerror if isinstance(error, av.error.FFmpegError) else str(error)
    return redact(words or type(error).__name__)
