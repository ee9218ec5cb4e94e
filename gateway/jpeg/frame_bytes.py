"""FrameBytes: a JPEG frame as ``bytes``, for callbacks."""

from typing import Any, Self

from gateway.clock import to_rfc3339
from gateway.jpeg.reader import JpegFrame


class FrameBytes(bytes):
    """The JPEG itself: it can be measured, cut, compared and written as any ``bytes``. Its facts are attributes."""

    frame: JpegFrame

    def __new__(cls, frame: JpegFrame) -> Self:
        self = super().__new__(cls, frame.data)
        self.frame = frame
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[JpegFrame]]:
        """How it is copied, and sent to another process."""
        return type(self), (self.frame,)

    @property
    def data(self) -> bytes:
        """The JPEG."""
        return self.frame.data

    @property
    def camera_id(self) -> str:
        return self.frame.camera_id

    @property
    def captured_at_90k(self) -> int:
        """When the camera captured the frame, in 90 kHz ticks since the Unix epoch."""
        return self.frame.captured_at_90k

    @property
    def sequence(self) -> int:
        """Counts the camera's frames of this width and rate."""
        return self.frame.sequence

    @property
    def width(self) -> int:
        """Pixels."""
        return self.frame.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self.frame.height

    @property
    def skipped(self) -> int:
        """Frames that the callback did not get just before this one."""
        return self.frame.skipped

    @property
    def metadata(self) -> dict[str, Any]:
        """The facts, as ``video_frame_from_service`` has them."""
        frame = self.frame
        return {
            "camera_id": frame.camera_id,
            "timestamp": to_rfc3339(frame.captured_at_90k),
            "width": frame.width,
            "height": frame.height,
            "sequence": frame.sequence,
            "skipped": frame.skipped,
        }
