"""Replay: coded packets of archive segments from any time on, and JPEG frames in real time.

Theory of operation. The index has a segment's fragments, so the file is never searched: the demuxer reads the init
segment and, directly after it, the fragments from the last keyframe before the requested time on, as if that were the
whole file. This works for growing, closed and truncated files, and costs the memory of a read buffer.

Rules:

1. Reading and decoding are blocking, and run in a thread.
2. Packets keep their media time; ``captured_at_90k`` is that plus the segment's start.
3. A replay plays in real time across segment borders, skips gaps, and shows no frame from before its start.
4. A replay near the live edge plays a little faster than real time until it reaches the live edge, and continues with
   live frames. One that is far behind keeps its distance.
"""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
from av.bitstream import BitStreamFilterContext

from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, Clock
from gateway.errors import NotFoundError, StorageError
from gateway.jpeg.codec import FrameDecoder, JpegEncoder
from gateway.jpeg.frame_rate import FrameRateLimiter
from gateway.jpeg.reader import JpegFrame
from gateway.media import AudioInfo, MediaKind, Packet, StreamInfo, VideoInfo
from hls.archive.data_dir import FILE_MODE, make_private_dir
from hls.archive.disk_error import read_error
from hls.archive.durable import replace_file
from hls.archive.fragment import Fragment
from hls.archive.segment import Segment
from hls.archive.segment_files import OpenFile, SegmentFiles, read_init

CATCH_UP_WITHIN_90K = 30 * CLOCK_RATE
CATCH_UP_SPEED = 1.25
"""Rule 4: a client that was disconnected for 10 s is at the live edge after 40 s; viewers hardly notice the speed."""

ARRIVED_90K = 2 * CLOCK_RATE
"""Nearer to the live edge than this, the next frames are not on disk yet, and live frames are used."""

THUMBNAIL_WIDTH = 320
"""Pixels; a row of a list shows no more."""


class _SegmentRange:
    """A file object without seek: the init segment, then one byte range of the segment's file."""

    def __init__(self, init: bytes, file: OpenFile, offset: int, end: int) -> None:
        self._init = init
        self._offset = offset
        self._end = end
        self._file = file

    def read(self, size: int) -> bytes:
        if self._init:
            data, self._init = self._init[:size], self._init[size:]
            return data
        data = self._file.read_at(min(size, self._end - self._offset), self._offset)
        self._offset += len(data)
        return data

    def close(self) -> None:
        self._file.close()


def fragments_from(fragments: Sequence[Fragment], media_90k: int) -> Sequence[Fragment]:
    """The fragments from the last one on that begins with a keyframe before ``media_90k``."""
    first = 0
    for number, fragment in enumerate(fragments):
        if fragment.start_90k > media_90k:
            break
        if fragment.is_keyframe:
            first = number
    return fragments[first:]


def stream_info(segment: Segment) -> StreamInfo:
    """The stream of a segment, for its packets. Parameter sets are in the keyframes."""
    audio = None
    if segment.audio_codec is not None:
        audio = AudioInfo(segment.audio_codec, segment.audio_codec_string or "", 0, 0)
    return StreamInfo(
        VideoInfo(segment.codec, segment.codec_string, segment.width, segment.height, parameter_sets=b""), audio
    )


def read_packets(files: SegmentFiles, segment: Segment, fragments: Sequence[Fragment]) -> Generator[Packet, None, None]:
    """The video packets of contiguous fragments, by :mod:`gateway.media`. Raises NotFoundError or StorageError."""
    if not fragments:
        return
    path = segment.path(files.data_dir)
    init = read_init(files.open, path, segment)
    info = stream_info(segment)
    try:
        file = _SegmentRange(init, files.open(path), fragments[0].offset, fragments[-1].offset + fragments[-1].size)
    except OSError as error:
        raise read_error(path, error) from None
    try:
        with av.open(file, "r", format="mp4") as container:
            video = container.streams.video[0]
            name = "null" if segment.codec == "av1" else f"{segment.codec}_mp4toannexb"
            to_annex_b = BitStreamFilterContext(name, video)
            for coded in container.demux(video):
                if coded.dts is None or coded.pts is None:
                    continue
                is_keyframe, pts, dts, duration = coded.is_keyframe, coded.pts, coded.dts, coded.duration or 0
                for filtered in to_annex_b.filter(coded):
                    yield Packet(
                        MediaKind.VIDEO,
                        bytes(filtered),
                        pts,
                        dts,
                        duration,
                        is_keyframe,
                        segment.start_90k + pts,
                        info,
                        segment.run,
                    )
    except (av.FFmpegError, IndexError) as error:
        raise StorageError(f"segment {segment.name} cannot be read: {type(error).__name__}") from None
    finally:
        file.close()


def make_thumbnail(files: SegmentFiles, segment: Segment, fragments: Sequence[Fragment]) -> Path:
    """The JPEG of a segment's first frame, made once and stored beside the file. Raises as :func:`read_packets`."""
    for folder in (files.data_dir, files.pictures):
        path = segment.path(folder).with_suffix(".jpg")
        if path.exists():
            return path
    decoder = FrameDecoder(segment.camera_id)
    for packet in read_packets(files, segment, fragments[:1]):
        picture = decoder.decode(packet)
        if picture is None:
            continue
        data, _, _ = JpegEncoder().encode(picture, THUMBNAIL_WIDTH)
        partial = path.with_suffix(f".{os.getpid()}.part")
        try:
            make_private_dir(path.parent)
            with open(partial, "wb", opener=lambda name, flags: os.open(name, flags, FILE_MODE)) as file:
                file.write(data)
            replace_file(partial, path, FILE_MODE)
        except OSError as error:
            raise StorageError(f"the thumbnail of {segment.name} cannot be written: {error.strerror}") from None
        return path
    raise NotFoundError(f"segment {segment.name} has no frame that can be shown")


class ReplaySource(Protocol):
    """What a replay needs of the archive."""

    files: SegmentFiles

    async def find_from(
        self, camera_id: str, time_90k: int, width: int | None, rendition: RenditionName | None
    ) -> tuple[Segment, Sequence[Fragment]] | None:
        """The segment that contains a time, or else the next one. ``width`` is that of the pictures, in pixels.

        With ``rendition``, of that stream alone.
        """
        ...

    def pin(self, segment: Segment) -> AbstractContextManager[None]:
        """Keep the segment's file while it is read."""
        ...


@dataclass(slots=True)
class _ReplayFrame:
    """A frame of a replay."""

    jpeg: tuple[bytes, int, int]
    captured_at_90k: int


class _SegmentFrames:
    """The frames of one segment from a time on, at the frame rate limit, one at a time, in a thread."""

    def __init__(
        self,
        files: SegmentFiles,
        segment: Segment,
        fragments: Sequence[Fragment],
        from_90k: int,
        pace: FrameRateLimiter,
        width: int | None,
        quality: int | None,
    ) -> None:
        self._packets = read_packets(files, segment, fragments_from(fragments, from_90k - segment.start_90k))
        self._decoder = FrameDecoder(segment.camera_id)
        self._encoder = JpegEncoder()
        self._from_90k = from_90k
        self._pace = pace
        self._width = width
        self._quality = quality
        self._lock = threading.Lock()
        """A reader that leaves closes the file while a thread may still be in :meth:`next`."""
        self.read_to_90k = from_90k
        """Capture time of the newest packet that was read."""

    def next(self) -> _ReplayFrame | None:
        """The next frame, or ``None`` at the end. Blocking."""
        with self._lock:
            for packet in self._packets:
                self.read_to_90k = max(self.read_to_90k, packet.captured_at_90k)
                picture = self._decoder.decode(packet)
                if picture is None or picture.captured_at_90k < self._from_90k:
                    continue
                if self._pace.take(picture.captured_at_90k):
                    jpeg = self._encoder.encode(picture, self._width, self._quality)
                    return _ReplayFrame(jpeg, picture.captured_at_90k)
            return None

    def close(self) -> None:
        """Close the file, after a frame that is being made. Blocking."""
        with self._lock:
            self._packets.close()


async def replay_jpeg(
    source: ReplaySource,
    executor: Executor,
    clock: Clock,
    camera_id: str,
    at_90k: int,
    frame_rate: float,
    width: int | None,
    live_edge_90k: Callable[[], int | None],
    quality: int | None = None,
    rendition: RenditionName | None = None,
) -> AsyncGenerator[JpegFrame, None]:
    """The recording as JPEG from a time on, by the module's rules, until its end or the live edge.

    ``quality`` is on libjpeg's scale; ``None`` is the usual. With ``rendition``, of that stream alone.

    Raises :class:`~gateway.errors.NotFoundError` before the first frame if nothing is recorded from that time on.
    """
    loop = asyncio.get_running_loop()
    pace = FrameRateLimiter(frame_rate)
    position_90k = at_90k
    sequence = 0
    due_s: float | None = None
    shown_90k = at_90k
    while True:
        found = await source.find_from(camera_id, position_90k, width, rendition)
        if found is None:
            if sequence == 0:
                raise NotFoundError(f"camera {camera_id} has no recording from that time on")
            return
        segment, fragments = found
        if segment.start_90k > position_90k + CLOCK_RATE:
            due_s = None  # rule 3: skip the gap
        from_90k = max(position_90k, segment.start_90k)
        frames = _SegmentFrames(source.files, segment, fragments, from_90k, pace, width, quality)
        with source.pin(segment):
            try:
                while (shown := await loop.run_in_executor(executor, frames.next)) is not None:
                    edge_90k = live_edge_90k()
                    behind_90k = edge_90k - shown.captured_at_90k if edge_90k is not None else CATCH_UP_WITHIN_90K
                    speed = CATCH_UP_SPEED if behind_90k < CATCH_UP_WITHIN_90K else 1.0
                    now_s = clock.monotonic()
                    if due_s is None:
                        due_s = now_s
                    else:
                        due_s += (shown.captured_at_90k - shown_90k) / CLOCK_RATE / speed
                        # After a slow reader, time continues from here, without catching up.
                        due_s = max(due_s, now_s - 1.0)
                    shown_90k = shown.captured_at_90k
                    if due_s > now_s:
                        await asyncio.sleep(due_s - now_s)
                    sequence += 1
                    data, to_width, to_height = shown.jpeg
                    yield JpegFrame(data, camera_id, shown.captured_at_90k, sequence, to_width, to_height)
            finally:
                await loop.run_in_executor(executor, frames.close)
        if frames.read_to_90k < position_90k + 1 and segment.end_reason is None:
            return
        position_90k = max(frames.read_to_90k + 1, from_90k + 1)
        if segment.end_reason is None:
            edge_90k = live_edge_90k()
            if edge_90k is None or edge_90k - position_90k < ARRIVED_90K:
                return
        elif position_90k < segment.end_90k:
            position_90k = segment.end_90k
