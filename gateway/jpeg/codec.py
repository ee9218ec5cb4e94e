"""Decodes packets to frames, and encodes frames as JPEG. All calls block, so they belong on a thread of the caller.

The decoder uses one thread: with frame threading, each thread delays the output by one more frame. Colour conversion
and scaling are one pass of swscale, and OpenCV encodes the JPEG with libjpeg-turbo. At 1280x720 that took 2.2 ms of CPU
and FFmpeg's own MJPEG encoder 3.3 ms; at half the size both took the same.
"""

import logging
from collections import OrderedDict

import av
from av.codec.context import Flags
from av.video.reformatter import Interpolation, VideoReformatter

from gateway.codec.jpeg import has_huffman_tables
from gateway.errors import UnavailableError
from gateway.media import Packet, StreamInfo

log = logging.getLogger(__name__)

MJPEG = "mjpeg"

DECODERS = {"av1": "libdav1d"}
"""FFmpeg's own decoder of AV1 needs hardware."""

JPEG_QUALITY = 82
"""On libjpeg's scale. For pictures of cameras, a higher quality makes larger files without a visible difference."""

REORDER_MAX = 64
"""Frames whose capture time is remembered until the decoder returns them. H.264 delays 16 at most."""


class DecodedFrame:
    """One decoded frame, and when the camera captured it."""

    __slots__ = ("captured_at_90k", "frame")

    def __init__(self, frame: av.VideoFrame, captured_at_90k: int) -> None:
        self.frame = frame
        self.captured_at_90k = captured_at_90k

    @property
    def width(self) -> int:
        return self.frame.width

    @property
    def height(self) -> int:
        return self.frame.height


class CodedJpeg:
    """A picture of a camera that sends JPEG, in place of a :class:`DecodedFrame`. It is decoded only where it must."""

    __slots__ = ("_camera_id", "captured_at_90k", "data", "height", "width")

    def __init__(self, packet: Packet, camera_id: str) -> None:
        self.data = packet.data
        self.captured_at_90k = packet.captured_at_90k
        self.width, self.height = packet.info.video.width, packet.info.video.height
        self._camera_id = camera_id

    @property
    def frame(self) -> av.VideoFrame:
        """Decoded, each time anew. Raises :class:`~gateway.errors.UnavailableError`."""
        codec = av.CodecContext.create(MJPEG, "r")
        assert isinstance(codec, av.VideoCodecContext)
        try:
            frames = codec.decode(av.Packet(self.data))
        except av.FFmpegError:
            frames = []
        if not frames:
            raise UnavailableError(f"camera {self._camera_id} sends pictures that cannot be decoded", retry_after_s=5)
        return frames[-1]


Picture = DecodedFrame | CodedJpeg


class FrameDecoder:
    """Video packets in, frames out, across changes of the stream. A packet that cannot be decoded is skipped."""

    def __init__(self, camera_id: str) -> None:
        self.camera_id = camera_id
        self.errors = 0
        """Packets that could not be decoded."""
        self._codec: av.VideoCodecContext | None = None
        self._stream: tuple[int, StreamInfo] | None = None
        self._captured_at: OrderedDict[int, int] = OrderedDict()

    def decode(self, packet: Packet) -> Picture | None:
        """Feed one video packet. Returns the newest frame that came out of it, if any."""
        if packet.info.video.codec == MJPEG:
            return CodedJpeg(packet, self.camera_id)
        stream = (packet.run, packet.info)
        if self._codec is None or stream != self._stream:
            if not packet.is_keyframe:
                return None
            self._open(packet.info)
            self._stream = stream
        codec = self._codec
        assert codec is not None
        coded = av.Packet(packet.data)
        coded.pts = packet.pts_90k
        coded.dts = packet.dts_90k
        self._captured_at[packet.pts_90k] = packet.captured_at_90k
        if len(self._captured_at) > REORDER_MAX:
            self._captured_at.popitem(last=False)
        try:
            frames = codec.decode(coded)
        except av.FFmpegError as error:
            self.errors += 1
            log.warning(
                "camera %s: a frame cannot be decoded: %s", self.camera_id, error, extra={"camera": self.camera_id}
            )
            return None
        if not frames:
            return None
        frame = frames[-1]
        captured_at_90k = self._captured_at.pop(frame.pts if frame.pts is not None else -1, packet.captured_at_90k)
        return DecodedFrame(frame, captured_at_90k)

    def _open(self, info: StreamInfo) -> None:
        codec = av.CodecContext.create(DECODERS.get(info.video.codec, info.video.codec), "r")
        assert isinstance(codec, av.VideoCodecContext)
        codec.thread_type = "NONE"
        codec.flags |= Flags.low_delay
        if info.video.parameter_sets:
            codec.extradata = info.video.parameter_sets
        self._codec = codec
        self._captured_at.clear()


class JpegEncoder:
    """Frames in, JPEG out. Keep one for each stream of frames: its scaler is set up once for each size."""

    def __init__(self) -> None:
        # Imported when it is needed: it costs 60 MB.
        import cv2

        self._imencode = cv2.imencode
        self._quality_flag = cv2.IMWRITE_JPEG_QUALITY
        self._reformatter = VideoReformatter()

    def encode(self, frame: Picture, width: int | None = None, quality: int | None = None) -> tuple[bytes, int, int]:
        """The JPEG, its width and its height. ``width`` is in pixels; a frame is never enlarged.

        ``quality`` is on libjpeg's scale (1 to 100), ``None`` is :data:`JPEG_QUALITY`. Without one, a JPEG of that size
        is passed on as it is. Raises :class:`~gateway.errors.UnavailableError` for one that cannot
        be decoded.
        """
        to_width, to_height = scaled_size(frame.width, frame.height, width)
        is_same = (to_width, to_height) == (frame.width, frame.height)
        if isinstance(frame, CodedJpeg) and quality is None and is_same and has_huffman_tables(frame.data):
            return frame.data, to_width, to_height
        # One thread: those of swscale would wait for each other longer than they work.
        bgr = self._reformatter.reformat(
            frame.frame, to_width, to_height, "bgr24", interpolation=Interpolation.AREA, threads=1
        ).to_ndarray()
        _, data = self._imencode(".jpg", bgr, [self._quality_flag, quality or JPEG_QUALITY])
        return data.tobytes(), to_width, to_height


def scaled_size(width: int, height: int, to_width: int | None) -> tuple[int, int]:
    """The size at ``to_width``: never larger than the source, its aspect kept, both sides even (4:2:0)."""
    if to_width is None or to_width >= width:
        return width, height
    even_width = max(2, to_width - to_width % 2)
    return even_width, max(2, round(height * even_width / width / 2) * 2)
