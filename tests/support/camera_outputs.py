"""What becomes of a camera: its RTP through the engine's core, and its packets into LL-HLS and a recording. No sockets.

:func:`receive` gives RTP packets with their times to the core of the engine, and :class:`Outputs` the packets to both
outputs; what they made is decoded with FFmpeg, and everything that FFmpeg has to say about it is an error.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.logging
import numpy as np

from gateway.capture.counters import CaptureCounters
from gateway.capture.rtsp_media import RtspMedia, TrackFormat
from gateway.capture.rtsp_run import TICK_S
from gateway.clock import CLOCK_RATE
from gateway.media import Packet
from gateway.rtsp.formats import audio_format, video_format
from gateway.rtsp.sdp import parse_sdp
from hls.archive.part_queue import QueuedPart
from hls.archive.recording import Recording
from hls.archive.segment import EndReason, Segment, SegmentWithFragments
from hls.live.window import LiveWindow
from hls.parts.part import Part, PartSamples
from hls.parts.source import RecordedParts
from hls.settings import FsyncMode
from tests.support.rtsp_camera import Sent

START_90K = 1_795_373_400 * CLOCK_RATE
"""The wall clock at time 0: a multiple of 600 s."""


QUIET = 0.01
"""The mean of a frame's absolute samples (1 is the loudest) up to which it is silence."""


class _Clock:
    """Wall clock and monotonic clock, set by what is received."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall_90k(self) -> int:
        return START_90K + round(self.now * CLOCK_RATE)


@dataclass(frozen=True)
class Received:
    """A packet of the engine, and when it came."""

    packet: Packet
    at_s: float


def receive(
    description: str, media: Iterable[Sent], counters: CaptureCounters | None = None
) -> tuple[list[Received], RtspMedia]:
    """Give ``media`` to the core of the engine, track by track as in ``description``."""
    clock = _Clock()
    found: list[Received] = []
    formats = []
    for section in parse_sdp(description.encode(), "rtsp://camera/").media:
        known = video_format(section) if section.kind == "video" else audio_format(section)
        assert known is not None
        formats.append(TrackFormat(known))
    core = RtspMedia(formats, lambda packet: found.append(Received(packet, clock.now)), clock, run=1, counters=counters)
    for sent in media:
        while sent.at_s - clock.now > TICK_S:
            clock.now += TICK_S
            core.expire(clock.now)
        clock.now = sent.at_s
        take = core.receive_control if sent.is_control else core.receive
        take(sent.track, memoryview(sent.data), sent.at_s)
    return found, core


@dataclass(frozen=True)
class Decoded:
    """What FFmpeg makes of a file. Times are in seconds; ``errors`` is what it complained about.

    ``audio_s`` is how much sound there is, ``heard_s`` how much of it is no silence.
    """

    times: list[float]
    sizes: set[tuple[int, int]]
    audio_tracks: int
    audio_s: float
    heard_s: float
    errors: list[str]

    @property
    def frame_rate(self) -> float:
        """Frames a second, over all of them."""
        return (len(self.times) - 1) / (self.times[-1] - self.times[0])

    def rate_after(self, seconds: float) -> float:
        """Frames a second of what is presented after the first seconds."""
        late = [time for time in self.times if time >= self.times[0] + seconds]
        return (len(late) - 1) / (late[-1] - late[0])


def decode(source: bytes | Path) -> Decoded:
    """Decode all tracks of a file."""
    times: list[float] = []
    sizes: set[tuple[int, int]] = set()
    samples_s = heard_s = Fraction(0)
    tracks = 0
    raised: list[str] = []
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture(local=False) as said:
            opened = io.BytesIO(source) if isinstance(source, bytes) else str(source)
            with av.open(opened, "r") as container:
                tracks = len(container.streams.audio)
                for frame in container.decode():
                    if isinstance(frame, av.VideoFrame):
                        assert frame.time is not None
                        times.append(frame.time)
                        sizes.add((frame.width, frame.height))
                    elif isinstance(frame, av.AudioFrame):
                        lasts_s = Fraction(frame.samples, frame.sample_rate)
                        samples_s += lasts_s
                        heard_s += lasts_s * bool(np.abs(frame.to_ndarray()).mean() > QUIET)
    except av.FFmpegError as error:
        raised.append(str(error))
    finally:
        av.logging.set_level(level)
    errors = [*raised, *(text.strip() for *_, text in said)]
    return Decoded(sorted(times), sizes, tracks, float(samples_s), float(heard_s), errors)


class _Parts:
    """The parts of a live playlist, from the first on, in their order. The window itself is compiled code."""

    def __init__(self, window: LiveWindow) -> None:
        self._window = window
        self._version = -1
        self._seen: set[str] = set()
        self.parts: list[Part] = []

    def collect(self) -> None:
        """Take those that are new. Call it after each packet: the window forgets old ones."""
        if self._window.version == self._version:
            return
        self._version = self._window.version
        buffer = self._window._buffer
        for segment in (*buffer.segments, *([buffer.open_segment] if buffer.open_segment is not None else [])):
            for each in segment.parts:
                if each.name not in self._seen:
                    self._seen.add(each.name)
                    self.parts.append(each.part)


@dataclass(frozen=True)
class Outputs:
    """LL-HLS, one entry between two discontinuities, and the recorded files."""

    live: list[Decoded]
    files: list[Decoded]
    segments: list[Segment]
    playlist: str


def outputs(received: Sequence[Received], data_dir: Path, segment_s: int = 600) -> Outputs:
    """Feed the packets to a live playlist and to a recording, and decode both."""
    window = LiveWindow(START_90K)
    made = _Parts(window)
    recording = Recording("door", data_dir, segment_s, FsyncMode.NEVER)
    closed: list[SegmentWithFragments] = []

    def write(part: PartSamples) -> None:
        result = recording.write([QueuedPart(part)])
        assert result.error is None
        closed.extend(result.closed)

    source = RecordedParts()
    source.attach(write, (), 0.0)
    for each in received:
        window.feed(each.packet, each.at_s)
        made.collect()
        source.feed(each.packet, each.at_s, window.segmenter)
    rest = source.open_samples()
    if rest is not None:
        write(rest)
    closed += recording.finish(EndReason.STOPPED).closed
    live: list[bytearray] = []
    for part in made.parts:
        if part.is_discontinuity or not live:
            live.append(bytearray(part.muxer.init))
        live[-1] += part.data
    segments = [each.segment for each in closed]
    files = sorted(data_dir.rglob("*.mp4"))
    assert len(files) == len(segments)
    return Outputs(
        [decode(bytes(each)) for each in live],
        [decode(path) for path in files],
        segments,
        window.media_playlist().body.decode() if window.targets is not None else "",
    )
