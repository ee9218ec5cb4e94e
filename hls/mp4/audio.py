"""Audio as fragmented MP4 carries it: AAC frames in a row without a hole, whatever the camera sends or fails to send.

Theory of operation. A browser plays only where it has every track that the init segment promises; so a hole in the
audio would stop the video. An :class:`AudioTrack` therefore lays AAC frames end to end on the media timeline: those of
the camera as they are, those of any other codec transcoded, and silence where there is nothing. Video never waits: a
part takes what audio there is when it is cut, and the rest goes into the next one.

Rules:

1. AAC passes untouched. Everything else that FFmpeg decodes becomes AAC-LC; what it does not decode is left out.
2. Frames lie end to end. A frame that is off by no more than ``JITTER_S`` goes where the last one ended; one that is
   later than that is preceded by silence, and one that comes for a time that is already taken is dropped.
3. Audio may be ``LAG_MAX_S`` later than video. Then silence takes its place, up to the video and for as long as nothing
   comes.
4. Faults of a decoder or encoder are counted and otherwise the same as nothing.
"""

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import av
import numpy as np

from gateway.clock import CLOCK_RATE
from gateway.media import AudioInfo, Packet
from hls.mp4.fragments import Sample

JITTER_S = 0.08
"""Time stamps of cameras tremble by some ten milliseconds; what is less than this nobody hears as a shift."""

LAG_MAX_S = 0.4
"""Less than the three parts that a player stays behind the live edge: later audio would be missing there."""

AAC_FRAME = 1024
"""Samples in a frame of AAC-LC (ISO/IEC 14496-3)."""

LOW_RATE_HZ = 16_000
HIGH_RATE_HZ = 48_000
"""What is transcoded becomes one of these. The lower costs a third, and G.711 has nothing above 4 kHz anyway."""

BIT_RATE_BPS = 48_000
"""Of a transcoded channel: speech and street noise, with room."""

_LAYOUTS = {1: "mono", 2: "stereo"}


class AacEncoder:
    """Frames of raw samples in, AAC-LC frames out."""

    def __init__(self, sample_rate_hz: int, channels: int) -> None:
        context = av.CodecContext.create("aac", "w")
        assert isinstance(context, av.AudioCodecContext)
        context.sample_rate, context.layout, context.format = sample_rate_hz, _LAYOUTS[channels], "fltp"
        context.bit_rate = BIT_RATE_BPS * channels
        context.time_base = Fraction(1, sample_rate_hz)
        context.open()
        self._context = context
        self.info = AudioInfo("aac", "mp4a.40.2", sample_rate_hz, channels, bytes(context.extradata or b""))

    def encode(self, frame: av.AudioFrame) -> list[tuple[int, bytes]]:
        """AAC frames that are done, each with the position of its first sample."""
        return [(packet.pts or 0, bytes(packet)) for packet in self._context.encode(frame)]


class Transcoder:
    """Packets of any audio codec in, AAC frames out. Raises ``av.FFmpegError`` or ``ValueError`` for what cannot be."""

    def __init__(self, source: AudioInfo) -> None:
        channels = min(source.channels, 2)
        rate_hz = LOW_RATE_HZ if source.sample_rate_hz <= LOW_RATE_HZ else HIGH_RATE_HZ
        decoder = av.CodecContext.create(source.codec, "r")
        assert isinstance(decoder, av.AudioCodecContext)
        decoder.sample_rate, decoder.layout = source.sample_rate_hz, _LAYOUTS[channels]
        if source.extradata:
            decoder.extradata = source.extradata
        self._decoder = decoder
        self._resampler = av.AudioResampler("fltp", _LAYOUTS[channels], rate_hz, AAC_FRAME)
        self._encoder = AacEncoder(rate_hz, channels)
        self.info = self._encoder.info

    def feed(self, packet: Packet) -> list[tuple[int, bytes]]:
        """AAC frames that are done, each with the position of its first sample, in the run's time."""
        coded = av.Packet(packet.data)
        coded.time_base = Fraction(1, CLOCK_RATE)
        coded.pts = coded.dts = packet.pts_90k
        done: list[tuple[int, bytes]] = []
        for decoded in self._decoder.decode(coded):
            decoded.pts, decoded.time_base = packet.pts_90k, Fraction(1, CLOCK_RATE)
            for frame in self._resampler.resample(decoded):
                done.extend(self._encoder.encode(frame))
        return done


def carried_audio(source: AudioInfo | None) -> AudioInfo | None:
    """What fMP4 carries in place of ``source``: itself, AAC, or nothing."""
    if source is None or (source.codec == "aac" and source.extradata):
        return source
    return _transcoded_info(source)


@lru_cache(maxsize=64)
def _transcoded_info(source: AudioInfo) -> AudioInfo | None:
    try:
        return Transcoder(source).info
    except (av.FFmpegError, ValueError, KeyError):
        return None


@lru_cache(maxsize=64)
def _silent_frame(sample_rate_hz: int, channels: int) -> bytes | None:
    """An AAC frame of silence; ``None`` where the encoder knows no such rate, and the track must do with holes."""
    try:
        encoder = AacEncoder(sample_rate_hz, channels)
        done: list[tuple[int, bytes]] = []
        for number in range(4):
            samples = np.zeros((channels, AAC_FRAME), np.float32)
            frame = av.AudioFrame.from_ndarray(samples, "fltp", _LAYOUTS[channels])
            frame.sample_rate, frame.pts = sample_rate_hz, number * AAC_FRAME
            done.extend(encoder.encode(frame))
        # The first frame holds the encoder's start.
        return done[-1][1]
    except (av.FFmpegError, ValueError, KeyError):
        return None


@dataclass(frozen=True, slots=True)
class _Frame:
    at: int
    data: bytes
    samples: int


class AudioTrack:
    """One run's audio on the media timeline, from ``start_90k`` on; see the module. ``source`` can be carried."""

    def __init__(self, source: AudioInfo, start_90k: int, offset_90k: int) -> None:
        carried = carried_audio(source)
        assert carried is not None
        self.info = carried
        self.frames_dropped = 0
        self.faults = 0
        self._transcoder = Transcoder(source) if carried is not source else None
        self._offset_90k = offset_90k
        self._next = self._position(start_90k)
        self._frames: deque[_Frame] = deque()
        self._is_missing = False
        self._is_in_step = False

    def feed(self, packet: Packet) -> None:
        """Take the camera's next audio packet of this run."""
        if self._transcoder is None:
            self._add(self._position(packet.pts_90k + self._offset_90k), packet.data, packet.duration_90k)
            return
        try:
            done = self._transcoder.feed(packet)
        except (av.FFmpegError, ValueError):
            self.faults += 1
            return
        for position, data in done:
            self._add(position + self._position(self._offset_90k), data, 0)

    def take(self, until_90k: int) -> list[Sample]:
        """The frames that begin before ``until_90k`` and were not taken yet."""
        until = self._position(until_90k)
        if until - self._next > LAG_MAX_S * self.info.sample_rate_hz:
            self._is_missing = True
            self._is_in_step = False
        if self._is_missing:
            self._fill(until)
        taken: list[Sample] = []
        while self._frames and self._frames[0].at < until:
            frame = self._frames.popleft()
            taken.append(Sample(frame.data, frame.at, frame.at, frame.samples))
        return taken

    def _add(self, at: int, data: bytes, duration_90k: int) -> None:
        self._is_missing = False
        # High-Efficiency AAC has frames of twice the length.
        samples = 2 * AAC_FRAME if self._position(duration_90k) > 1.5 * AAC_FRAME else AAC_FRAME
        # The first frame after silence sets the beat for all that follow, and is put as near as can be.
        jitter = int(JITTER_S * self.info.sample_rate_hz) if self._is_in_step else samples // 2
        if at < self._next - jitter:
            self.frames_dropped += 1
            return
        if at > self._next + jitter:
            self._fill(at)
        self._is_in_step = True
        self._frames.append(_Frame(self._next, data, samples))
        self._next += samples

    def _fill(self, until: int) -> None:
        """Silence up to ``until``, to within a frame."""
        silence = _silent_frame(self.info.sample_rate_hz, self.info.channels)
        while until - self._next >= AAC_FRAME:
            if silence is None:
                self._next = until
                return
            self._frames.append(_Frame(self._next, silence, AAC_FRAME))
            self._next += AAC_FRAME

    def _position(self, ticks_90k: int) -> int:
        return ticks_90k * self.info.sample_rate_hz // CLOCK_RATE
