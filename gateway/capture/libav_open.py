"""Opens a camera with libav: fast, and with an error that says what to do.

Rules:

1. TCP first: it crosses NAT and loses nothing. libav tries UDP itself where the camera refuses TCP (461).
2. Nothing is probed: the session description and the first keyframe say everything. What libav reads while opening is
   kept (``fflags=nobuffer`` would throw the first keyframe away, and cost a whole GOP).
3. RTP payloads are taken as they are: :mod:`gateway.capture.access_units` says why.
4. Of several checked addresses (:mod:`gateway.capture.resolver`), the first that can be reached is used. Each has its
   share of the time.
5. A camera's certificate is checked only where the settings ask for it: most cameras sign their own.
"""

import errno
import ssl
import time

import av
from av.container import InputContainer

from gateway.capture.camera_errors import certificate_error
from gateway.capture.engine import CaptureSource
from gateway.capture.interrupt import Interrupt
from gateway.capture.libav_errors import open_error
from gateway.capture.resolver import destinations
from gateway.capture.url import CameraUrl
from gateway.errors import CameraTimeoutError, CameraUnreachableError, CaptureError

SCHEMES = frozenset({"rtsp", "rtsps"})

OPTIONS = {
    "rtsp_transport": "tcp+udp",
    "rtsp_flags": "prefer_tcp",
    "analyzeduration": "0",
    "probesize": "32",
    "fflags": "noparse",
    # Bytes; room for two keyframes of 4K over UDP, where the system's default loses packets at the first.
    "buffer_size": str(2 * 1024 * 1024),
}


def open_camera(url: CameraUrl, source: CaptureSource, interrupt: Interrupt) -> InputContainer | None:
    """Open the camera within ``timeout_s`` seconds, which also bound each later read. ``None`` after a stop.

    ``url`` is the parsed one of ``source``. Raises a :class:`~gateway.errors.CaptureError`.
    """
    if url.scheme not in SCHEMES:
        raise CaptureError(f"{url.scheme}:// is not supported for cameras; write rtsp:// or rtsps://")
    # libav waits in real time, whatever clock the engine has.
    started = time.monotonic()
    options = OPTIONS | _tls_options(url, source)
    found = destinations(url, source, interrupt.stop)
    for tried, destination in enumerate(found, start=1):
        # PyAV's own timeout bounds each of the two steps of opening, and a camera may be slow in both.
        interrupt.deadline = started + source.timeout_s * tried / len(found)
        try:
            return _open(url, destination, options, source.timeout_s, interrupt)
        except (CameraUnreachableError, CameraTimeoutError):
            if tried == len(found):
                raise
    return None


def _open(
    url: CameraUrl, destination: CameraUrl, options: dict[str, str], timeout_s: float, interrupt: Interrupt
) -> InputContainer | None:
    try:
        # Cameras name their sessions in any encoding, and liveedge does not use the names.
        container = av.open(str(destination), "r", options=dict(options), timeout=timeout_s, metadata_errors="replace")
        if not interrupt.is_set:
            return container
        # libav reports success if it is interrupted while it reads stream information.
        container.close()
        if interrupt.stop.is_set():
            return None
        raise open_error(TimeoutError(), url, timeout_s, timeout_s)
    except (av.FFmpegError, OSError, ValueError) as error:
        if interrupt.stop.is_set():
            return None
        if "tls_verify" in options and getattr(error, "errno", None) == errno.EIO:
            raise certificate_error(url) from None
        opened_error = open_error(error, url, timeout_s, timeout_s if interrupt.is_set else 0.0)
        if isinstance(opened_error, CameraUnreachableError | CameraTimeoutError):
            opened_error.silent_at = (destination.host, destination.connect_port)
        raise opened_error from None
    finally:
        interrupt.deadline = None


def _tls_options(url: CameraUrl, source: CaptureSource) -> dict[str, str]:
    """Rule 5: libav's options for TLS."""
    if url.scheme != "rtsps" or not source.tls_verify:
        return {}
    # libav's TLS library may not know where this system keeps its certificates.
    ca_file = source.tls_ca_file or ssl.get_default_verify_paths().cafile
    trusted = {"ca_file": str(ca_file)} if ca_file is not None else {}
    return {"tls_verify": "1", "verifyhost": url.host, **trusted}
