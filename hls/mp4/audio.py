"""Audio of fragmented MP4: AAC frames without gaps, whatever the camera sends or does not send.

Theory of operation. A browser plays only where it has every track that the init segment promises, so a gap in the audio
would stop the video. An :class:`AudioTrack` therefore lays AAC frames end to end on the media timeline: the camera's
AAC frames as they are, other codecs transcoded, and silence where there is nothing. Video never waits: a part takes the
audio that is there when it is closed, and the rest goes into the next one.

Rules:

1. AAC is not changed. Every other codec that FFmpeg decodes becomes AAC-LC; the others are left out.
2. Frames lie end to end. A frame that is off by at most ``JITTER_S`` is placed where the last one ended. Silence is
   inserted before a later one. A frame for a time that is already filled is dropped.
3. Audio may be ``LAG_MAX_S`` later than video. After that, silence fills the time up to the video until audio returns.
4. Decoder and encoder errors are counted, and treated as missing audio.
   Sound that is always late has been moved before (:mod:`gateway.capture.sound_delay`).
5. Audio is transcoded when a part takes it, all packets since the last part at once. While nobody hears it, it is
   silence instead. While only a recording needs it, it may wait for the part that completes a fragment: encoders of
   many cameras have no room in the caches of a processor, so that each costs least if it is seldom used.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import av

from gateway.clock import CLOCK_RATE
from gateway.codec.audio import AudioEncoder, AudioTranscoder
from gateway.media import AudioInfo, Packet
from hls.mp4.fragments import Sample

JITTER_S = 0.08
"""The time stamps of cameras vary by some ten milliseconds; a shift by less than this cannot be heard."""

LAG_MAX_S = 0.4
"""Less than the three parts that a player stays behind the live edge; later audio would be missing there."""

BATCH_MAX_PACKETS = 64
"""Packets that wait to be transcoded together, at most: more than a part or a fragment of 0.5 s has."""

AAC_FRAME = 1024
"""Samples in a frame of AAC-LC (ISO/IEC 14496-3)."""

LOW_RATE_HZ = 16_000
HIGH_RATE_HZ = 48_000
"""Transcoded audio has one of these rates. The lower one costs a third, and G.711 has nothing above 4 kHz anyway."""

BIT_RATE_BPS = 48_000
"""Per transcoded channel, for encoders that have no constant quality."""


def aac_transcoder(source: AudioInfo) -> AudioTranscoder:
    """Transcode ``source`` to AAC-LC. Raises ``av.FFmpegError`` or ``ValueError`` if that is not possible."""
    channels = min(source.channels, 2)
    rate_hz = LOW_RATE_HZ if source.sample_rate_hz <= LOW_RATE_HZ else HIGH_RATE_HZ
    return AudioTranscoder(
        source, "aac", rate_hz, channels, frame_samples=AAC_FRAME, bit_rate_bps=BIT_RATE_BPS * channels
    )


def fmp4_audio(source: AudioInfo | None) -> AudioInfo | None:
    """The audio that fMP4 has for ``source``: the same, AAC, or none."""
    if source is None or (source.codec == "aac" and source.extradata):
        return source
    return _transcoded_audio(source)


@lru_cache(maxsize=64)
def _transcoded_audio(source: AudioInfo) -> AudioInfo | None:
    try:
        return aac_transcoder(source).info
    except (av.FFmpegError, ValueError):
        return None


@lru_cache(maxsize=64)
def silent_frame(sample_rate_hz: int, channels: int) -> bytes | None:
    """An AAC frame of silence; ``None`` if the encoder does not support the rate, so that the track keeps its gaps."""
    try:
        encoder = AudioEncoder(
            "aac", sample_rate_hz, channels, frame_samples=AAC_FRAME, bit_rate_bps=BIT_RATE_BPS * channels
        )
        encoded = []
        for number in range(4):
            # Not from an array: numpy would take 11 MB in a gateway that needs it nowhere else.
            frame = av.AudioFrame(encoder.sample_format, encoder.layout, AAC_FRAME)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.sample_rate, frame.pts = sample_rate_hz, number * AAC_FRAME
            encoded.extend(encoder.encode(frame))
        # Not the first frame, which is the encoder's start.
        return encoded[-1].data
    except (av.FFmpegError, ValueError):
        return None


@dataclass(slots=True)
class AudioCounters:
    """What audio tracks dropped."""

    frames_dropped: int = 0
    """AAC frames whose time was already filled."""
    decode_errors: int = 0
    """Packets that could not be transcoded."""


@dataclass(frozen=True, slots=True)
class _Frame:
    at: int
    data: bytes
    samples: int
    level: int = 0


class AudioTrack:
    """One run's audio on the media timeline, from ``start_90k`` on; see the module.

    :func:`fmp4_audio` must have an answer for ``source``. ``offset_90k`` is added to the packets' time stamps.
    ``is_heard`` is asked for each part of a sound that has to be transcoded. One that ``is_silent`` gets no packets.
    """

    def __init__(
        self,
        source: AudioInfo,
        start_90k: int,
        offset_90k: int,
        counters: AudioCounters | None = None,
        is_heard: Callable[[], bool] = lambda: True,
        *,
        is_silent: bool = False,
    ) -> None:
        info = fmp4_audio(source)
        assert info is not None
        self.info = info
        self.counters = counters if counters is not None else AudioCounters()
        self._transcoder = aac_transcoder(source) if info is not source else None
        self._is_heard = is_heard
        self._offset_90k = offset_90k
        self.offset = self._position(offset_90k)
        """``offset_90k`` in samples."""
        self._next = self._position(start_90k)
        self._frames: deque[_Frame] = deque()
        self._waiting: list[tuple[bytes, int]] = []
        """Packets to be transcoded, each with its time: at most :data:`BATCH_MAX_PACKETS`."""
        self.is_silent = self._is_missing = is_silent
        self._is_aligned = False

    def feed(self, packet: Packet) -> None:
        """Take the camera's next audio packet of this run."""
        if not packet.data:
            self.counters.decode_errors += 1
            return
        if self._transcoder is None:
            self._add(self._position(packet.pts_90k + self._offset_90k), packet.data, packet.duration_90k)
            return
        self._waiting.append((packet.data, packet.pts_90k))
        if len(self._waiting) >= BATCH_MAX_PACKETS:
            self._transcode()

    def take(self, until_90k: int, *, may_wait: bool = False) -> list[Sample]:
        """The frames that begin before ``until_90k`` and were not taken yet. None, if they ``may_wait`` for the next
        call and have to be transcoded."""
        until = self._position(until_90k)
        if self._transcoder is not None:
            if not self._is_heard():
                self._waiting.clear()
                self._is_missing = True
                self._is_aligned = False
            elif may_wait:
                return []
        self._transcode()
        if until - self._next > LAG_MAX_S * self.info.sample_rate_hz:
            self._is_missing = True
            self._is_aligned = False
        if self._is_missing:
            self._fill(until)
        taken: list[Sample] = []
        while self._frames and self._frames[0].at < until:
            frame = self._frames.popleft()
            taken.append(Sample(frame.data, frame.at, frame.at, frame.samples, level=frame.level))
        return taken

    def waiting(self, until_90k: int) -> list[Sample]:
        """The frames that :meth:`take` would return now, without silence; they stay."""
        self._transcode()
        until = self._position(until_90k)
        return [
            Sample(frame.data, frame.at, frame.at, frame.samples, level=frame.level)
            for frame in self._frames
            if frame.at < until
        ]

    def _transcode(self) -> None:
        """Transcode what waits."""
        if self._transcoder is None or not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for joined, pts_90k in self._transcoder.joined(waiting):
            try:
                encoded = self._transcoder.transcode(joined, pts_90k)
            except (av.FFmpegError, ValueError):
                self.counters.decode_errors += 1
                continue
            for position, data in encoded:
                self._add(position + self.offset, data, 0, self._transcoder.level)

    def _add(self, at: int, data: bytes, duration_90k: int, level: int = 0) -> None:
        self._is_missing = False
        # High-Efficiency AAC has frames of twice the length.
        samples = 2 * AAC_FRAME if self._position(duration_90k) > 1.5 * AAC_FRAME else AAC_FRAME
        # All later frames follow the first one after silence, so it is placed as near to its time as possible.
        jitter = int(JITTER_S * self.info.sample_rate_hz) if self._is_aligned else samples // 2
        if at < self._next - jitter:
            self.counters.frames_dropped += 1
            return
        if at > self._next + jitter:
            self._fill(at)
        self._is_aligned = True
        self._frames.append(_Frame(self._next, data, samples, level))
        self._next += samples

    def _fill(self, until: int) -> None:
        """Insert silence up to less than a frame before ``until``."""
        silence = silent_frame(self.info.sample_rate_hz, self.info.channels)
        while until - self._next >= AAC_FRAME:
            if silence is None:
                self._next = until
                return
            self._frames.append(_Frame(self._next, silence, AAC_FRAME))
            self._next += AAC_FRAME

    def _position(self, ticks_90k: int) -> int:
        return ticks_90k * self.info.sample_rate_hz // CLOCK_RATE
