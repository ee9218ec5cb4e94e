"""A camera's audio for WebRTC: G.711 and Opus as they are, all else as Opus, encoded once for all viewers.

Theory of operation. :class:`AudioSource` turns the camera's audio packets into RTP payloads with timestamps of the
codec's clock, on the fan-out's timeline. What needs another codec goes through :class:`OpusEncoder`, which exists only
while a viewer has audio. 20 ms of it cost about 0.2 ms of CPU, on the event loop: less than handing it to a thread.

A fault here is audio's alone: it is logged once, the encoder is made anew for the next packet, and video goes on.
"""

import logging
from collections.abc import Iterator
from fractions import Fraction

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.resampler import AudioResampler

from gateway.clock import CLOCK_RATE
from gateway.media import AudioInfo, Packet
from gateway.webrtc.sdp.answer import AudioCodec, native_codec

log = logging.getLogger(__name__)

OPUS_RATE_HZ = 48_000
OPUS_FRAME_SAMPLES = 960
"""20 ms, what WebRTC uses (RFC 7587 §4.2)."""

OPUS_BIT_RATE = 48_000
"""Speech and the sounds of a street in mono; a tenth of the smallest video."""

DRIFT_MAX_90K = CLOCK_RATE // 5
"""When samples and timestamps differ by 0.2 s, packets were lost: start anew rather than let lips lag."""


class OpusEncoder:
    """Decodes a camera's audio and encodes it as Opus. Raises ``av.FFmpegError`` and ``ValueError``."""

    def __init__(self, audio: AudioInfo) -> None:
        decoder = av.CodecContext.create(audio.codec, "r")
        encoder = av.CodecContext.create("libopus", "w")
        assert isinstance(decoder, AudioCodecContext)
        assert isinstance(encoder, AudioCodecContext)
        if audio.extradata:
            decoder.extradata = audio.extradata
        decoder.sample_rate = audio.sample_rate_hz
        decoder.layout = "stereo" if audio.channels == 2 else "mono"
        encoder.sample_rate = OPUS_RATE_HZ
        encoder.layout = "stereo"
        encoder.format = "s16"
        encoder.bit_rate = OPUS_BIT_RATE
        encoder.time_base = Fraction(1, OPUS_RATE_HZ)
        encoder.options = {"application": "lowdelay", "frame_duration": "20"}
        self._decoder, self._encoder = decoder, encoder
        self._resampler = AudioResampler("s16", "stereo", OPUS_RATE_HZ, OPUS_FRAME_SAMPLES)
        self._start_90k: int | None = None
        self._samples = 0

    def encode(self, data: bytes, at_90k: int) -> Iterator[tuple[bytes, int]]:
        """One coded frame that begins at ``at_90k``; yields Opus payloads with their times in 48 kHz."""
        for frame in self._decoder.decode(av.Packet(data)):
            expected = None if self._start_90k is None else self._start_90k + self._decoded * CLOCK_RATE // OPUS_RATE_HZ
            if expected is None or abs(expected - at_90k) > DRIFT_MAX_90K:
                self._start_90k, self._samples, self._decoded = at_90k, 0, 0
            self._decoded += frame.samples * OPUS_RATE_HZ // frame.sample_rate
            frame.pts = None
            for resampled in self._resampler.resample(frame):
                resampled.pts = None
                for packet in self._encoder.encode(resampled):
                    assert self._start_90k is not None
                    yield bytes(packet), self._start_90k * OPUS_RATE_HZ // CLOCK_RATE + self._samples
                    self._samples += OPUS_FRAME_SAMPLES

    _decoded = 0
    """Samples at 48 kHz that came in since the start."""


class AudioSource:
    """Audio packets in, RTP payloads of ``codec`` out."""

    def __init__(self, codec: AudioCodec) -> None:
        self.codec = codec
        self._info: AudioInfo | None = None
        self._encoder: OpusEncoder | None = None
        self.faults = 0

    def payloads(self, packet: Packet, at_90k: int) -> list[tuple[bytes, int]]:
        """Payloads and their timestamps in the codec's clock. Never raises.

        ``at_90k`` is the packet's place on the fan-out's timeline.
        """
        audio = packet.info.audio
        if audio is None:
            return []
        if native_codec(audio) is self.codec and audio.codec in _NATIVE:
            return [(packet.data, at_90k * self.codec.clock_rate // CLOCK_RATE)]
        if self.codec is not AudioCodec.OPUS:
            return []
        try:
            if self._encoder is None or audio != self._info:
                self._encoder, self._info = OpusEncoder(audio), audio
            return list(self._encoder.encode(packet.data, at_90k))
        except (av.FFmpegError, ValueError) as error:
            self.faults += 1
            if self.faults & (self.faults - 1) == 0:
                log.warning("audio could not be turned into Opus (fault %d): %s", self.faults, error)
            self._encoder = None
            return []


_NATIVE = frozenset({"pcm_alaw", "pcm_mulaw", "opus"})
