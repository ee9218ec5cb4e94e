"""What a camera did wrong, as :class:`~gateway.errors.CaptureError` objects that say what to do. For every engine.

The camera is named by host and port alone: a URL holds a password.
"""

import errno
import ssl

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

UNAUTHORIZED_RETRY_S = 180.0
"""Until credentials that a camera refused are tried again, in seconds. Cameras lock an account after about five wrong
passwords, for up to half an hour; each attempt counts, and so does each by another program."""

RETRY_AFTER_MAX_S = 600.0
"""The longest ``Retry-After`` that is honoured, in seconds."""

# RTSP status codes (RFC 2326 §7.1.1). ``{where}`` is host and port, ``{wants}`` is what a 401 asks for.
_STATUSES: dict[int, tuple[type[CaptureError], str]] = {
    400: (
        CameraRefusedError,
        "the server at {where} does not understand RTSP (400); check that the port is the camera's RTSP port (mostly"
        " 554) and not that of its web page",
    ),
    401: (
        CameraUnauthorizedError,
        "the camera at {where} wants {wants} (401); check user and password, which come before the host in the URL",
    ),
    403: (
        CameraUnauthorizedError,
        "the camera at {where} does not let this user view the stream (403); give the user that right, or use another",
    ),
    404: (
        CameraRefusedError,
        "the camera at {where} has no stream at the URL's path (404); see its manual for the path, as in /stream1",
    ),
    453: (
        CameraRefusedError,
        "the camera at {where} has not enough bandwidth for another viewer (453); often it has too many viewers"
        " already: close some, or lower its bitrate",
    ),
    454: (
        CameraEndedError,
        "the camera at {where} does not know the session any more (454); it is opened again",
    ),
    461: (
        CameraRefusedError,
        "the camera at {where} offers no usable transport (461); allow RTP over TCP or UDP unicast in it",
    ),
    503: (
        CameraRefusedError,
        "the camera at {where} is not available (503); often it has too many viewers already: close some, or restart"
        " it",
    ),
}


class UnknownCodecError(NoVideoError):
    """The camera's video has a format that this engine does not know; another one may."""


def host_and_port(url: CameraUrl) -> str:
    """How messages name a camera."""
    return f"{url.host}:{url.connect_port}"


def refused(url: CameraUrl, status: int, method: str = "", retry_after_s: float | None = None) -> CaptureError:
    """The error for an RTSP status that is no success; 400 and 500 also stand for the rest of their class.

    ``retry_after_s`` is the response's ``Retry-After``.
    """
    error = _refused(url, status, method)
    if status == 401 and url.userinfo:
        error.retry_after_s = UNAUTHORIZED_RETRY_S
    if retry_after_s is not None:
        error.retry_after_s = max(error.retry_after_s, min(retry_after_s, RETRY_AFTER_MAX_S))
    return error


def _refused(url: CameraUrl, status: int, method: str) -> CaptureError:
    where = host_and_port(url)
    wants = "other credentials than the URL's" if url.userinfo else "credentials, and the URL has none"
    if status in _STATUSES:
        kind, sentence = _STATUSES[status]
        error = kind(sentence.format(where=where, wants=wants))
        if status == 400:
            return error.because("not_rtsp")
        if status == 403:
            return error.because("stream_forbidden")
        if status == 404:
            return error.because("stream_path")
        return error.because("camera_busy") if status in (453, 503) else error
    what = f"{method} " if method else ""
    if 300 <= status < 400:
        return CameraRefusedError(
            f"the camera at {where} redirects ({what}{status}), and not to an rtsp:// or rtsps:// address; write the"
            " address of the stream itself"
        ).because("camera_redirects")
    if status >= 500:
        return CameraRefusedError(f"the camera at {where} has an internal error ({what}{status}); restart it").because(
            "camera_fault"
        )
    return CameraRefusedError(
        f"the camera at {where} refused the request ({what}{status}); often it has too many viewers already: close"
        " some, or restart it"
    ).because("camera_busy")


def not_rtsp(url: CameraUrl, why: str = "") -> NoVideoError:
    """The error for bytes that are not RTSP, and for a session without media."""
    detail = f" ({redact(why)})" if why else ""
    return NoVideoError(
        f"the answer of {host_and_port(url)} is not RTSP, or describes no media{detail}; check the port (RTSP's is"
        " mostly 554) and the path"
    ).because("not_rtsp")


def broken_stream(url: CameraUrl, why: str) -> CameraEndedError:
    """The error for bytes that are not RTSP, of a camera that has answered PLAY."""
    return CameraEndedError(
        f"the camera at {host_and_port(url)} sends bytes that are not RTSP in its stream ({redact(why)}); it is opened"
        " again. If this comes again, restart it, or lower its bit rate"
    )


def unusable_codec(url: CameraUrl, names: str) -> NoVideoError:
    """The error for a camera whose video cannot be passed on, or that has none."""
    if names:
        return NoVideoError(
            f"the camera at {host_and_port(url)} sends {names}, which this engine does not pass on; set its stream to"
            " H.264, or use CAPTURE_ENGINE=auto, which passes MPEG-4 and AV1 on too, or opencv, which encodes any codec"
            " as H.264"
        ).because("codec_unusable")
    return NoVideoError(
        f"the camera at {host_and_port(url)} sends no video; use the URL of a stream that has video, or switch it on"
    ).because("no_video_stream")


class NoKeyframeError(NoVideoError):
    """The camera sends video without a keyframe."""


def no_keyframe(url: CameraUrl, waited_s: float, asked: int = 0) -> NoKeyframeError:
    """The error for a camera whose packets come without a keyframe, which it was ``asked`` for so many times."""
    in_vain = f", although it was asked for one {asked} times by RTCP" if asked else ""
    return NoKeyframeError(
        f"the camera at {host_and_port(url)} has sent no keyframe with its parameter sets for {waited_s:.0f} s"
        f"{in_vain}; set its keyframe interval (I-frame interval, GOP) to 1 or 2 seconds, and switch off its smart"
        " codec"
    ).because("no_keyframe")


def connect_failed(error: OSError, url: CameraUrl, timeout_s: float = 0.0) -> CaptureError:
    """The error for a connection that could not be made, or that broke while the camera was being opened."""
    where = host_and_port(url)
    if isinstance(error, ssl.SSLCertVerificationError):
        return certificate_error(url)
    if isinstance(error, ssl.SSLError):
        return CameraRefusedError(
            f"the camera at {where} has no usable TLS ({error.reason or 'no handshake'}); check that the port is its"
            " rtsps:// port, or use rtsp://"
        ).because("tls_unusable")
    if isinstance(error, TimeoutError):
        return timed_out(url, timeout_s)
    if isinstance(error, ConnectionRefusedError):
        return nothing_listens(url)
    if error.errno in _NO_ROUTE:
        return no_route(url)
    if isinstance(error, ConnectionError):
        return hung_up(url)
    return not_opened(url, error.strerror or type(error).__name__)


def is_no_route(number: int | None) -> bool:
    """Whether an error number says that there is no way to the camera."""
    return number in _NO_ROUTE


def nothing_listens(url: CameraUrl) -> CameraUnreachableError:
    """The error for a port on which nothing listens."""
    return CameraUnreachableError(
        f"nothing listens at {host_and_port(url)}; check the port (RTSP's is mostly 554), and that RTSP is enabled in"
        " the camera"
    ).because("nothing_listens")


def no_route(url: CameraUrl) -> CameraUnreachableError:
    """The error for an address to which there is no route."""
    return CameraUnreachableError(
        f"there is no route to {host_and_port(url)}; check the address and this machine's network"
    ).because("no_route")


def not_opened(url: CameraUrl, words: str) -> CameraUnreachableError:
    """The error for everything else that keeps a camera from being opened."""
    return CameraUnreachableError(
        f"the camera at {host_and_port(url)} could not be opened ({redact(words)}); check its URL"
    )


def hung_up(url: CameraUrl) -> CameraEndedError:
    """The error for a camera that closed the connection while it was being opened."""
    return CameraEndedError(
        f"the camera at {host_and_port(url)} hung up while it was being opened; check that the port is its RTSP port"
        " (mostly 554), and that it does not have too many viewers already"
    )


def ended(url: CameraUrl) -> CameraEndedError:
    """The error for a stream that was open and ended."""
    return CameraEndedError(f"the camera at {host_and_port(url)} ended the stream")


def timed_out(url: CameraUrl, timeout_s: float) -> CameraTimeoutError:
    """The error for a camera that does not answer while it is being opened."""
    return CameraTimeoutError(
        f"the camera at {host_and_port(url)} did not answer within {timeout_s:g} s; check that it is on and that"
        " address and port are right (RTSP's port is mostly 554), or raise CAPTURE_TIMEOUT"
    )


def silent(url: CameraUrl, timeout_s: float) -> CameraTimeoutError:
    """The error for a camera that has sent no picture for too long."""
    return CameraTimeoutError(
        f"the camera at {host_and_port(url)} has sent no picture for {timeout_s:g} s; check its network, or raise"
        " CAPTURE_TIMEOUT"
    )


def certificate_error(url: CameraUrl) -> CameraRefusedError:
    """The error for a certificate that is not valid for the camera."""
    return CameraRefusedError(
        f"the certificate of the camera at {host_and_port(url)} does not prove that it is {url.host}; set"
        " CAPTURE_TLS_CA_FILE to the certificate of its issuer (the camera's own, if it is self-signed), and use the"
        " certificate's name in the camera's URL; or set CAPTURE_TLS_VERIFY=false"
    ).because("certificate_refused")
