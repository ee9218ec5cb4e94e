"""FrameSize: chooses a width whose JPEGs a peer accepts. Sans-IO.

A Socket.IO server closes the connection on a message above its ``maxPayload`` (Engine.IO 4, "Handshake"), and says no
reason. A frame that is too large is not sent; the next ones are narrower. The size of a JPEG depends on the picture
(noise at night, leaves in the wind), so after a while the wanted width is tried again.
"""

import math

MARGIN = 0.85
"""Of the limit. The next frame of the same width may be somewhat larger."""

WIDTH_MIN = 160

WIDER_AFTER_S = 60.0
"""Doubled after each attempt that failed, up to eight times."""


class FrameSize:
    """See the module. ``width`` is the wanted width in pixels; ``None`` is the camera's. Times are monotonic."""

    def __init__(self, width: int | None) -> None:
        self._wanted = width
        self.width = width
        """The width to encode."""
        self._refused_width: int | None = None
        self._wider_after_s = WIDER_AFTER_S
        self._narrowed_at_s = 0.0

    @property
    def is_narrowed(self) -> bool:
        """Whether frames are narrower than wanted."""
        return self.width != self._wanted

    def is_hopeless(self, frame_bytes: int, frame_width: int, limit_bytes: int) -> bool:
        """Whether no frame can be sent: the smallest is too large."""
        return frame_width <= WIDTH_MIN and frame_bytes > limit_bytes

    def accepts(self, frame_bytes: int, frame_width: int, limit_bytes: int, now_s: float) -> bool:
        """Whether to send this frame. It may change :attr:`width`."""
        if frame_bytes <= limit_bytes:
            if self.is_narrowed and now_s - self._narrowed_at_s > self._wider_after_s:
                self._wider_after_s = min(2 * self._wider_after_s, 8 * WIDER_AFTER_S)
                self._refused_width = None
                self.width = self._wanted
            return True
        fitting = int(frame_width * math.sqrt(max(0, limit_bytes) * MARGIN / frame_bytes))
        if frame_width == self._refused_width:
            # The encoder gave the same width again: the number of widths is limited. Halves are always there.
            fitting = frame_width // 2
        self._refused_width = frame_width
        self.width = max(WIDTH_MIN, fitting)
        self._narrowed_at_s = now_s
        return False
