"""Opening a camera with libav: fast, and with an error that can be acted upon.

Rules:

1. TCP first: it crosses NAT and loses nothing. libav tries UDP by itself where the camera refuses TCP (461).
2. Nothing is probed: the session description and the first keyframe tell everything. What libav reads while opening is
   kept (``fflags=nobuffer`` would throw the first keyframe away, and cost a whole GOP).
3. RTP's pieces come as they are: :mod:`gateway.capture.access_units` tells why.
"""

import threading
import time

import av
from av.container import InputContainer

from gateway.capture.faults import opening_fault
from gateway.capture.names import check_name
from gateway.capture.url import CameraUrl

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


def open_camera(url: CameraUrl, timeout_s: float, stop: threading.Event) -> InputContainer | None:
    """The opened camera, each read of which is bounded by ``timeout_s``; ``None`` once ``stop`` is set.

    To be called inside of :func:`~gateway.capture.interruptible.interruptible`. Raises a
    :class:`~gateway.errors.CaptureError`.
    """
    check_name(url, timeout_s, stop)
    if stop.is_set():
        return None
    started = time.monotonic()
    try:
        return av.open(str(url), "r", options=dict(OPTIONS), timeout=timeout_s)
    except (av.FFmpegError, OSError, ValueError) as error:
        if stop.is_set():
            return None
        raise opening_fault(error, url, timeout_s, time.monotonic() - started) from None
