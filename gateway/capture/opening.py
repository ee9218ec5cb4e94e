"""Opening a camera with libav: fast, and with an error that can be acted upon.

Rules:

1. TCP first: it crosses NAT and loses nothing. libav tries UDP by itself where the camera refuses TCP (461).
2. Nothing is probed: the session description and the first keyframe tell everything. What libav reads while opening is
   kept (``fflags=nobuffer`` would throw the first keyframe away, and cost a whole GOP).
3. RTP's pieces come as they are: :mod:`gateway.capture.access_units` tells why.
"""

import time

import av
from av.container import InputContainer

from gateway.capture.faults import opening_fault
from gateway.capture.interruptible import Reins
from gateway.capture.names import check_name
from gateway.capture.url import CameraUrl
from gateway.errors import CaptureError

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


def open_camera(url: CameraUrl, timeout_s: float, reins: Reins) -> InputContainer | None:
    """The opened camera, within ``timeout_s`` seconds, which bound each later read as well; ``None`` once stopped.

    Raises a :class:`~gateway.errors.CaptureError`.
    """
    if url.scheme not in SCHEMES:
        raise CaptureError(f"{url.scheme}:// is not how cameras are pulled; write rtsp:// or rtsps://")
    started = time.monotonic()
    check_name(url, timeout_s, reins.stop)
    if reins.stop.is_set():
        return None
    # PyAV's own timeout is for each of the two steps of opening, and a camera may be slow in both.
    reins.deadline = started + timeout_s
    try:
        container = av.open(str(url), "r", options=dict(OPTIONS), timeout=timeout_s)
        if not reins.are_drawn:
            return container
        # What is cut short while it describes the streams counts as opened for libav.
        container.close()
        if reins.stop.is_set():
            return None
        raise opening_fault(TimeoutError(), url, timeout_s, timeout_s)
    except (av.FFmpegError, OSError, ValueError) as error:
        if reins.stop.is_set():
            return None
        raise opening_fault(error, url, timeout_s, time.monotonic() - started) from None
    finally:
        reins.deadline = None
