"""The process that transcodes: packets come on standard input, H.264 leaves on standard output.

    python gateway/transcode/worker.py

It is started by :mod:`gateway.transcode.process`, by its path: importing the gateway would cost more time than the
first pictures take. So this file imports nothing of it.

Theory of operation. Everything happens in one thread: a message is read, decoded, encoded, and written. A process that
is too slow reads slower than the camera sends, and the gateway drops packets before they come here. The picture is
scaled down to 720p at most and encoded without B-frames.

Rules:

1. A message is a header (:data:`HEADER`) and a payload. ``generation`` tells streams apart: another codec, another run
   of the camera. Presentation times are 90 kHz ticks, and those of the source picture.
2. A keyframe is made at the beginning of a generation, on request, and every :data:`GOP_S`. It has its parameter sets.
3. A hardware encoder that fails later (its sessions are limited, a driver is updated) is left for the next one that
   works, at once and with the picture in hand. The message about the encoder says what failed, and how.
4. A packet that cannot be decoded is skipped. Many in a row end the process: another decoder may do better.
5. The end of standard input ends the process: the gateway is gone.
"""

import json
import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any, BinaryIO

import av
from av.video.frame import PictureType, VideoFrame

HEADER = struct.Struct("<BIqI")
"""Kind, generation, presentation time in 90 kHz ticks, bytes of payload."""

CONFIGURE, DECODE, TRANSCODE, MAKE_KEYFRAME = range(1, 5)
"""To this process: a stream (JSON: ``codec``, ``parameter_sets`` in hexadecimal digits, ``frame_rate``), a packet that
is only decoded, a packet that is transcoded, the wish for a keyframe."""

ENCODER, KEYFRAME, FRAME = range(5, 8)
"""From this process: the encoder's name, the size and a clause on those before it (JSON), H.264 in Annex B."""

PAYLOAD_MAX_BYTES = 64 * 1024 * 1024

ENCODERS = ("h264_nvenc", "h264_qsv", "h264_vaapi", "h264_amf", "h264_v4l2m2m", "libx264", "libopenh264")
"""In order of preference: hardware first. PyAV gives an encoder pictures in memory only, so ``h264_vaapi`` works where
its libav uploads them; there, Quick Sync is the way to the same hardware of Intel."""

SOFTWARE = frozenset({"libx264", "libopenh264"})

OPTIONS: dict[str, dict[str, str]] = {
    "h264_nvenc": {"preset": "p3", "tune": "ull", "zerolatency": "1", "forced-idr": "1", "rc": "vbr", "delay": "0"},
    "h264_qsv": {"preset": "veryfast", "async_depth": "1", "look_ahead": "0", "forced_idr": "1"},
    "libx264": {
        "preset": "superfast",
        "tune": "zerolatency",
        "crf": "24",
        "forced-idr": "1",
        "x264-params": "log=-1:scenecut=0",
    },
}
"""Each without delay. Profile, rate and B-frames are set for all."""

DECODERS = {"av1": "libdav1d"}
"""FFmpeg's own decoder of AV1 needs hardware."""

LONG_SIDE, SHORT_SIDE = 1280, 720
"""Pixels of the largest picture."""

BITS_PER_S = 3_000_000
"""The most at 1280x720; less for smaller pictures."""

MAX_RATE = 30
"""Frames a second. Of a camera that sends more, frames are left out."""

GOP_S = 4
THREADS = max(1, min(4, (os.cpu_count() or 1) // 2))
UNDECODABLE_MAX = 250
"""Packets in a row: 10 s of most cameras."""

NICENESS = 10
TICKS = 90_000


def fit(width: int, height: int) -> tuple[int, int]:
    """The size of the transcoded picture: even sides, at most 720p, never larger than the source."""
    long, short = max(width, height), min(width, height)
    scale = min(Fraction(1), Fraction(LONG_SIDE, long), Fraction(SHORT_SIDE, short))
    return max(16, int(width * scale) & ~1), max(16, int(height * scale) & ~1)


def open_encoder(name: str, width: int, height: int, rate: Fraction) -> Any:
    """An encoder that has encoded nothing yet. Raises errors of libav."""
    context: Any = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    if name == "h264_qsv":
        context.pix_fmt = "nv12"
    context.framerate, context.time_base = rate, Fraction(1, TICKS)
    # Keyframes are made by time: cameras seldom keep the rate that they declare.
    context.gop_size = 100_000
    context.max_b_frames = 0
    context.bit_rate = max(200_000, BITS_PER_S * width * height // (LONG_SIDE * SHORT_SIDE))
    options = {"profile": "baseline", **OPTIONS.get(name, {})}
    if name == "libx264":
        # A limit beside the constant quality, of one second.
        kbps = context.bit_rate // 1000
        options["x264-params"] += f":vbv-maxrate={kbps}:vbv-bufsize={kbps}:threads={THREADS}"
        context.bit_rate = 0
    context.options = options
    return context


def trial(name: str, width: int = 640, height: int = 352) -> str | None:
    """Why an encoder cannot be used; ``None`` if it is there and really encodes a picture, as a keyframe."""
    try:
        context = open_encoder(name, width, height, Fraction(25))
        found: list[Any] = []
        for number in range(3):
            frame = VideoFrame(width, height, context.pix_fmt)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts = number * 3600
            found += context.encode(frame)
    except av.codec.codec.UnknownCodecError:
        return "not in this libav"
    except (av.FFmpegError, ValueError, TypeError) as error:
        return (getattr(error, "strerror", None) or type(error).__name__).lower()
    if not found or not found[0].is_keyframe or bytes(found[0])[:3] != b"\0\0\0":
        return "makes no keyframe"
    return None


class Encoders:
    """The encoders of this machine, best first. Those that have failed are not used again by this process."""

    def __init__(self) -> None:
        self._left = list(ENCODERS)
        self._failed: dict[str, str] = {}
        self.current = self._next()

    @property
    def refused(self) -> str:
        """Which hardware encoders cannot be used, and why; empty if there is none in this libav."""
        told = {name: why for name, why in self._failed.items() if why != "not in this libav"}
        return "; ".join(f"{name}: {why}" for name, why in told.items() if name not in SOFTWARE)

    def fail(self, error: Exception) -> None:
        """The current one has failed: take the next one. Raises ``error`` where that is none."""
        why = (getattr(error, "strerror", None) or type(error).__name__).lower()
        self._failed[self.current] = f"failed, {why}"
        try:
            self.current = self._next()
        except RuntimeError:
            raise error from None

    def _next(self) -> str:
        """The next one that works. Raises :class:`RuntimeError` where there is none."""
        while self._left:
            name = self._left.pop(0)
            why = trial(name)
            if why is None:
                return name
            self._failed[name] = why
        raise RuntimeError("this machine has no H.264 encoder that works")


class Transcoding:
    """One stream: decodes, scales, encodes. ``write`` gets what leaves: kind, generation, time, payload."""

    def __init__(
        self,
        generation: int,
        stream: dict[str, Any],
        encoders: Encoders,
        write: Callable[[int, int, int, bytes], None],
    ) -> None:
        self.wants_keyframe = True
        self._generation = generation
        self._encoders = encoders
        self._write = write
        self._rate = min(Fraction(stream.get("frame_rate") or 25), Fraction(MAX_RATE))
        self._decoder: Any = av.CodecContext.create(DECODERS.get(stream["codec"], stream["codec"]), "r")
        if stream["parameter_sets"]:
            self._decoder.extradata = bytes.fromhex(stream["parameter_sets"])
        # Threads by frame would hold pictures back.
        self._decoder.thread_type, self._decoder.thread_count = "SLICE", THREADS
        self._encoder: Any = None
        self._size = (0, 0)
        self._only_decoded: set[int] = set()
        self._last_pts: int | None = None
        self._keyframe_pts: int | None = None
        self._undecodable = 0

    def push(self, data: bytes, pts: int, *, is_shown: bool) -> None:
        """Take a packet. One that is not ``is_shown`` is decoded for those after it."""
        if not is_shown:
            self._only_decoded.add(pts)
        packet = av.Packet(data)
        packet.pts, packet.time_base = pts, Fraction(1, TICKS)
        try:
            frames = self._decoder.decode(packet)
        except av.FFmpegError:
            self._undecodable += 1
            if self._undecodable >= UNDECODABLE_MAX:
                raise
            return
        self._undecodable = 0
        for frame in frames:
            if frame.pts in self._only_decoded:
                self._only_decoded.discard(frame.pts)
            elif frame.pts is not None and self._is_due(frame.pts):
                self._encode(frame)

    def _is_due(self, pts: int) -> bool:
        """Not so for what is out of order, and above the rate."""
        return self._last_pts is None or pts - self._last_pts >= TICKS // (MAX_RATE + 3)

    def _encode(self, frame: Any) -> None:
        while True:
            try:
                packets = self._packets_of(frame)
                break
            except (av.FFmpegError, ValueError) as error:
                if self._encoders.current in SOFTWARE:
                    raise
                self._encoders.fail(error)
                self._encoder = None
        self._last_pts = frame.pts
        for packet in packets:
            kind = KEYFRAME if packet.is_keyframe else FRAME
            self._write(kind, self._generation, packet.pts, bytes(packet))

    def _packets_of(self, frame: Any) -> list[Any]:
        if self._encoder is None or self._size != (frame.width, frame.height):
            self._open(frame)
        pts = frame.pts
        scaled = frame.reformat(self._encoder.width, self._encoder.height, self._encoder.pix_fmt)
        scaled.pts, scaled.time_base, scaled.pict_type = pts, Fraction(1, TICKS), PictureType.NONE
        if self.wants_keyframe or self._keyframe_pts is None or pts - self._keyframe_pts >= GOP_S * TICKS:
            scaled.pict_type = PictureType.I
            self.wants_keyframe, self._keyframe_pts = False, pts
        packets: list[Any] = self._encoder.encode(scaled)
        return packets

    def _open(self, frame: Any) -> None:
        self._size = (frame.width, frame.height)
        width, height = fit(*self._size)
        name = self._encoders.current
        self._encoder = open_encoder(name, width, height, self._rate)
        # An encoder that cannot be opened must not be reported.
        self._encoder.open(strict=False)
        told = {"encoder": name, "width": width, "height": height, "refused": self._encoders.refused}
        self._write(ENCODER, self._generation, frame.pts, json.dumps(told).encode())
        self.wants_keyframe = True


def messages(stream: BinaryIO) -> Iterator[tuple[int, int, int, bytes]]:
    """The messages of a stream, up to its end."""
    while len(header := stream.read(HEADER.size)) == HEADER.size:
        kind, generation, pts, size = HEADER.unpack(header)
        payload = stream.read(size)
        if size > PAYLOAD_MAX_BYTES or len(payload) < size:
            return
        yield kind, generation, pts, payload


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Transcode what comes on ``source``, until it ends."""

    def write(kind: int, generation: int, pts: int, payload: bytes) -> None:
        target.write(HEADER.pack(kind, generation, pts, len(payload)) + payload)
        target.flush()

    encoders = Encoders()
    transcoding: Transcoding | None = None
    for kind, generation, pts, payload in messages(source):
        if kind == CONFIGURE:
            transcoding = Transcoding(generation, json.loads(payload), encoders, write)
        elif kind == MAKE_KEYFRAME and transcoding is not None:
            transcoding.wants_keyframe = True
        elif kind in (DECODE, TRANSCODE) and transcoding is not None:
            transcoding.push(payload, pts, is_shown=kind == TRANSCODE)


def main() -> None:
    """Run on the standard streams, at low priority."""
    os.nice(NICENESS)
    av.logging.set_level(av.logging.PANIC)
    target = os.fdopen(os.dup(1), "wb")
    # What a library prints must not come between the messages.
    os.dup2(2, 1)
    with suppress(BrokenPipeError):
        serve(sys.stdin.buffer, target)
    os._exit(0)


if __name__ == "__main__":
    main()
