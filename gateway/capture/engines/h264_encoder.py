"""H264Encoder: encodes frames as packets, for sources that have frames instead of a coded stream."""

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from gateway.clock import CLOCK_RATE, seconds_90k
from gateway.codec.parameter_sets import find_parameter_sets, video_info
from gateway.errors import CaptureError
from gateway.media import AudioInfo, MediaKind, Packet, StreamInfo

MAX_GOP = 100_000
"""Frames. It is so large that the encoder makes no keyframe by its own rules."""

Planes = NDArray[np.uint8]
"""A frame in I420, shape (height * 3 / 2, width), which libx264 takes without conversion."""


class H264Encoder:
    """Live H.264, constrained baseline: one packet for each frame, each keyframe with its parameter sets."""

    def __init__(
        self, width: int, height: int, rate: Fraction, gop_s: float, run: int = 0, audio: AudioInfo | None = None
    ) -> None:
        """``width`` and ``height`` in pixels, both even; ``rate`` in frames a second; a keyframe every ``gop_s``
        seconds."""
        self.info: StreamInfo | None = None
        """The coded stream, known from the first packet on."""
        self._rate = rate
        self._run = run
        self._audio = audio
        context = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.framerate, context.time_base = rate, Fraction(1, CLOCK_RATE)
        # Keyframes are made by time: cameras seldom keep the rate that they declare.
        context.gop_size = MAX_GOP
        context.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "crf": "25",
            "forced-idr": "1",
            "x264-params": f"log=-1:scenecut=0:keyint={MAX_GOP}:threads=1",
        }
        self._context = context
        self._gop_90k = seconds_90k(gop_s)
        self._keyframe_at_90k: int | None = None

    def encode(self, planes: Planes, pts_90k: int, captured_at_90k: int) -> Iterator[Packet]:
        """The packet of a frame. Raises :class:`~gateway.errors.CaptureError` where the encoder fails."""
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = pts_90k, Fraction(1, CLOCK_RATE)
        if self._keyframe_at_90k is None or pts_90k >= self._keyframe_at_90k + self._gop_90k:
            frame.pict_type = av.video.frame.PictureType.I
            self._keyframe_at_90k = pts_90k
        try:
            encoded = self._context.encode(frame)
        except av.FFmpegError as error:
            raise CaptureError(f"a frame could not be encoded: {error.strerror}") from None
        for raw in encoded:
            data = bytes(raw)
            if self.info is None:
                sets = find_parameter_sets("h264", data)
                assert sets is not None, "the first packet of libx264 carries its parameter sets"
                self.info = StreamInfo(video_info("h264", sets, self._rate)[0], self._audio)
            yield Packet(
                kind=MediaKind.VIDEO,
                data=data,
                pts_90k=pts_90k,
                dts_90k=pts_90k,
                duration_90k=round(CLOCK_RATE / self._rate),
                is_keyframe=raw.is_keyframe,
                captured_at_90k=captured_at_90k,
                info=self.info,
                run=self._run,
            )
