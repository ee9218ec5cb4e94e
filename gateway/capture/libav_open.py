"""Opening a camera with libav: fast, and with an error that can be acted upon.

Rules:

1. TCP first: it crosses NAT and loses nothing. libav tries UDP by itself where the camera refuses TCP (461).
2. Nothing is probed: the session description and the first keyframe tell everything. What libav reads while opening is
   kept (``fflags=nobuffer`` would throw the first keyframe away, and cost a whole GOP).
3. RTP's pieces come as they are: :mod:`gateway.capture.access_units` tells why.
4. Of several addresses that were checked (:mod:`gateway.capture.resolver`), the first that can be reached is taken;
   each has its share of the time.
5. A camera's certificate is looked at only where that is asked for: most sign their own.
"""

import errno
import ssl
import time

import av
from av.container import InputContainer

from gateway.capture.engine import CaptureSource
from gateway.capture.interrupt import Interrupt
from gateway.capture.libav_errors import opening_fault, unproven
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

# libav writes to stderr, whatever our log level, and URLs with passwords among it; all that matters is raised.
av.logging.set_level(None)


def open_camera(url: CameraUrl, source: CaptureSource, reins: Interrupt) -> InputContainer | None:
    """The opened camera, within ``timeout_s`` seconds, which bound each later read as well; ``None`` once stopped.

    ``url`` is the parsed one of ``source``. Raises a :class:`~gateway.errors.CaptureError`.
    """
    if url.scheme not in SCHEMES:
        raise CaptureError(f"{url.scheme}:// is not how cameras are pulled; write rtsp:// or rtsps://")
    started = time.monotonic()
    options = OPTIONS | _tls(url, source)
    found = destinations(url, source, reins.stop)
    for place, destination in enumerate(found, start=1):
        # PyAV's own timeout is for each of the two steps of opening, and a camera may be slow in both.
        reins.deadline = started + source.timeout_s * place / len(found)
        try:
            return _open(url, destination, options, source.timeout_s, reins)
        except (CameraUnreachableError, CameraTimeoutError):
            if place == len(found):
                raise
    return None


def _open(
    url: CameraUrl, destination: CameraUrl, options: dict[str, str], timeout_s: float, reins: Interrupt
) -> InputContainer | None:
    try:
        # Cameras name their sessions in whatever encoding their makers had; nobody here reads the names.
        container = av.open(str(destination), "r", options=dict(options), timeout=timeout_s, metadata_errors="replace")
        if not reins.is_set:
            return container
        # What is cut short while it describes the streams counts as opened for libav.
        container.close()
        if reins.stop.is_set():
            return None
        raise opening_fault(TimeoutError(), url, timeout_s, timeout_s)
    except (av.FFmpegError, OSError, ValueError) as error:
        if reins.stop.is_set():
            return None
        if "tls_verify" in options and getattr(error, "errno", None) == errno.EIO:
            raise unproven(url) from None
        fault = opening_fault(error, url, timeout_s, timeout_s if reins.is_set else 0.0)
        if isinstance(fault, CameraUnreachableError | CameraTimeoutError):
            fault.silent_at = (destination.host, destination.connect_port)
        raise fault from None
    finally:
        reins.deadline = None


def _tls(url: CameraUrl, source: CaptureSource) -> dict[str, str]:
    """Rule 5: libav's options of TLS."""
    if url.scheme != "rtsps" or not source.tls_verify:
        return {}
    # What libav was built with need not know where this system keeps its certificates.
    ca_file = source.tls_ca_file or ssl.get_default_verify_paths().cafile
    trusted = {"ca_file": str(ca_file)} if ca_file is not None else {}
    return {"tls_verify": "1", "verifyhost": url.host, **trusted}
