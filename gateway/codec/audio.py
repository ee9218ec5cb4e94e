"""Audio transcoding: decode audio, resample it and encode it as another codec.

WebRTC needs Opus (RFC 7874 §3), HLS and recordings need AAC, and the loudspeakers of cameras take what their makers
chose. All use :class:`AudioTranscoder`, with PyAV.

Rules:

1. Time passes through: a coded frame's position follows from the ``pts_90k`` of the packets that it was made of. Jitter
   and gaps of the camera appear in the positions; smoothing them is the caller's task.
2. Positions include the encoder's delay. The first frame of AAC begins 1024 samples before the first packet, and that
   of Opus 120 samples before it.
3. Only mono and stereo are encoded. A source with more channels becomes stereo.
4. Packets of G.711 that follow each other are decoded and encoded as one: they are samples and nothing else, and a
   packet of 20 ms costs as much as one of a second. Mono for an encoder of floats is decoded by tables, and resampled
   by the encoder's own resampler alone.
5. AAC has a constant quality and no constant bit rate. To hold a rate, FFmpeg's encoder encodes most frames several
   times: that took twice as long for speech, and three times for a tone. What the source cannot have, above half its
   sample rate, is not searched for.
6. Mono AAC is encoded with FFmpeg's fast coder, in half the time and with less noise than with the other. That one
   quantizes with one fixed step: too fine, so that loud tones do not fit into its numbers and are cut. So samples get
   :data:`AAC_ATTENUATION_BITS` smaller before it, and each frame's ``global_gain`` larger after it.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import av

from gateway.clock import CLOCK_RATE
from gateway.codec.g711 import SAMPLES, G711Decoder
from gateway.codec.loudness import loudness
from gateway.media import AudioInfo

_LAYOUTS = {1: "mono", 2: "stereo"}

G711 = frozenset(SAMPLES)
"""Codecs of one byte a sample and channel."""

JOIN_JITTER_90K = CLOCK_RATE // 50
"""Packets whose time differs by up to this from the end of the one before follow it, rule 4."""


AAC_QUALITY = 120
"""FFmpeg's ``global_quality``, about ``-q:a 1``: 20 to 40 kbit/s for G.711."""


AAC_ATTENUATION_BITS = 3
"""18 dB, rule 6. A square wave of full scale is not cut with 12 dB; with 24 dB, a quiet room becomes noisy."""

_GAIN_STEPS_PER_BIT = 4
"""A step of ``global_gain`` is 1.5 dB (ISO/IEC 14496-3 §4.6.2.3.3)."""


@dataclass(frozen=True, slots=True)
class _Encoder:
    """How FFmpeg encodes a codec."""

    name: str
    codec_string: str
    sample_format: str
    options: Mapping[str, str] = field(default_factory=dict)


_ENCODERS: Mapping[str, _Encoder] = {
    "aac": _Encoder("aac", "mp4a.40.2", "fltp", {"flags": "+qscale", "global_quality": str(AAC_QUALITY)}),
    "opus": _Encoder("libopus", "opus", "s16", {"application": "lowdelay"}),
    "pcm_mulaw": _Encoder("pcm_mulaw", "ulaw", "s16"),
    "pcm_alaw": _Encoder("pcm_alaw", "alaw", "s16"),
    "pcm_s16be": _Encoder("pcm_s16be", "", "s16"),
    "adpcm_g722": _Encoder("g722", "", "s16"),
    "adpcm_g726": _Encoder("g726", "", "s16"),
    "adpcm_g726le": _Encoder("g726le", "", "s16"),
}
"""By FFmpeg's names of the codecs. The bits of a sample of G.726 follow from the bit rate."""

_FAST_AAC = {"aac_coder": "fast", "flags": "+qscale+bitexact"}
"""Rule 6. ``bitexact``: no frame begins with the encoder's name, before ``global_gain``."""


class EncodedAudioFrame(NamedTuple):
    """One coded frame. ``position`` is its first sample's time, in samples of the encoder's rate."""

    position: int
    data: bytes


class AudioEncoder:
    """Raw samples in, coded frames of ``frame_samples`` out. ``cutoff_hz``: there is nothing above in AAC (rule 5).

    ``codec`` is one of :data:`_ENCODERS`, ``channels`` is 1 or 2. Frames to encode have the attributes
    ``sample_format``, ``layout`` and ``sample_rate_hz``, and a ``pts`` in samples. Their full scale is
    :attr:`full_scale`. Raises ``av.FFmpegError`` or ``ValueError``.
    """

    def __init__(
        self,
        codec: str,
        sample_rate_hz: int,
        channels: int,
        *,
        frame_samples: int,
        bit_rate_bps: int,
        cutoff_hz: int | None = None,
    ) -> None:
        if codec not in _ENCODERS:
            raise ValueError(f"there is no encoder for {codec}")
        encoder = _ENCODERS[codec]
        self.sample_format = encoder.sample_format
        self.layout = _layout(channels)
        self.sample_rate_hz = sample_rate_hz
        self.frame_samples = frame_samples
        context = av.CodecContext.create(encoder.name, "w")
        assert isinstance(context, av.AudioCodecContext)
        context.sample_rate, context.layout, context.format = sample_rate_hz, self.layout, self.sample_format
        context.bit_rate = bit_rate_bps
        context.time_base = Fraction(1, sample_rate_hz)
        options = dict(encoder.options)
        self._is_attenuated = codec == "aac" and channels == 1
        if self._is_attenuated:
            options |= _FAST_AAC
        if codec == "opus":
            options["frame_duration"] = f"{frame_samples * 1000 / sample_rate_hz:g}"
        elif cutoff_hz is not None and cutoff_hz < sample_rate_hz // 2:
            options["cutoff"] = str(cutoff_hz)
        context.options = options
        context.open()
        if context.frame_size not in (0, frame_samples):  # 0: samples, of which any number is a frame
            raise ValueError(f"{codec} has frames of {context.frame_size} samples, not {frame_samples}")
        self._context = context
        self.info = AudioInfo(codec, encoder.codec_string, sample_rate_hz, channels, bytes(context.extradata or b""))
        """The coded audio, with what its decoder needs (AudioSpecificConfig, OpusHead) as ``extradata``."""

    @property
    def full_scale(self) -> float:
        """By what samples are multiplied before they are encoded: rule 6."""
        return 0.5**AAC_ATTENUATION_BITS if self._is_attenuated else 1.0

    def encode(self, frame: av.AudioFrame) -> list[EncodedAudioFrame]:
        """The coded frames that are complete."""
        packets = self._context.encode(frame)
        if self._is_attenuated:
            return [EncodedAudioFrame(packet.pts or 0, _amplified(bytes(packet))) for packet in packets]
        return [EncodedAudioFrame(packet.pts or 0, bytes(packet)) for packet in packets]


def _amplified(mono: bytes) -> bytes:
    """A frame of AAC with one channel, louder by what was attenuated. It is a ``single_channel_element``: three bits
    of its type and four of its tag, which are 0, then the eight of ``global_gain`` (ISO/IEC 14496-3 §4.4.2.1)."""
    gain = (mono[0] << 8 | mono[1]) >> 1 & 0xFF
    louder = min(255, gain + _GAIN_STEPS_PER_BIT * AAC_ATTENUATION_BITS)
    return (louder << 1 | mono[1] & 1).to_bytes(2, "big") + mono[2:]


class AudioTranscoder:
    """Packets of any codec that FFmpeg decodes in, coded frames out.

    ``codec``, ``sample_rate_hz``, ``channels``, ``frame_samples`` and ``bit_rate_bps`` describe the output; see
    :class:`AudioEncoder`. Raises ``av.FFmpegError`` or ``ValueError`` where source or output are not supported.
    """

    def __init__(
        self,
        source: AudioInfo,
        codec: str,
        sample_rate_hz: int,
        channels: int,
        *,
        frame_samples: int,
        bit_rate_bps: int,
    ) -> None:
        self.level = 0
        """The loudest that :meth:`transcode` decoded last, see :mod:`gateway.codec.loudness`."""
        self._source = source
        self._encoder = AudioEncoder(
            codec,
            sample_rate_hz,
            channels,
            frame_samples=frame_samples,
            bit_rate_bps=bit_rate_bps,
            cutoff_hz=source.sample_rate_hz // 2,
        )
        self._g711: G711Decoder | None = None
        if source.codec in G711 and source.channels == 1 and self._encoder.sample_format == "fltp":
            self._g711 = G711Decoder(source.codec, source.sample_rate_hz, self._encoder.full_scale)
            return
        self._decoder = _decoder(source)
        self._resampler = av.AudioResampler(
            self._encoder.sample_format,
            self._encoder.layout,
            sample_rate_hz,
            frame_samples,
            {"rematrix_volume": str(self._encoder.full_scale)} if self._encoder.full_scale != 1.0 else None,
        )

    @property
    def info(self) -> AudioInfo:
        """The coded audio; see :attr:`AudioEncoder.info`."""
        return self._encoder.info

    @property
    def frame_samples(self) -> int:
        """Of each coded frame, in samples of the encoder's rate."""
        return self._encoder.frame_samples

    def transcode(self, data: bytes, pts_90k: int) -> list[EncodedAudioFrame]:
        """Take one packet whose first sample is at ``pts_90k``; returns the coded frames that are complete.

        Raises ``av.FFmpegError`` or ``ValueError`` for a packet that cannot be decoded. The next one may be given.
        """
        if not data:
            # FFmpeg takes an empty packet as the end of the stream, and no packets after it.
            raise ValueError("an audio packet is empty")
        done: list[EncodedAudioFrame] = []
        level = 0
        for samples, their_level in self._samples(data, pts_90k):
            level = max(level, their_level)
            done.extend(self._encoder.encode(samples))
        if done:
            self.level = level
        return done

    def _samples(self, data: bytes, pts_90k: int) -> Iterator[tuple[av.AudioFrame, int]]:
        """Frames for the encoder, each with its level."""
        if self._g711 is not None:
            samples = self._g711.decode(data)
            samples.pts, samples.time_base = pts_90k, Fraction(1, CLOCK_RATE)
            yield samples, self._g711.level(data)
            return
        coded = av.Packet(data)
        coded.time_base = Fraction(1, CLOCK_RATE)
        coded.pts = coded.dts = pts_90k
        for decoded in self._decoder.decode(coded):
            decoded.pts, decoded.time_base = pts_90k, Fraction(1, CLOCK_RATE)
            pts_90k += decoded.samples * CLOCK_RATE // decoded.sample_rate
            for frame in self._resampler.resample(decoded):
                yield frame, loudness(frame, self._encoder.full_scale)

    def joined(self, packets: Sequence[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
        """The packets (data, time in 90 kHz) as :meth:`transcode` takes them at the least cost, by rule 4."""
        if self._source.codec not in G711:
            yield from packets
            return
        bytes_per_s = self._source.sample_rate_hz * self._source.channels
        run: list[bytes] = []
        first_90k = size = 0
        for data, pts_90k in packets:
            ends_90k = first_90k + size * CLOCK_RATE // bytes_per_s
            if run and (not data or abs(pts_90k - ends_90k) > JOIN_JITTER_90K):
                yield b"".join(run), first_90k
                run = []
            if not data:
                # Its error must be seen.
                yield data, pts_90k
                continue
            if not run:
                first_90k, size = pts_90k, 0
            run.append(data)
            size += len(data)
        if run:
            yield b"".join(run), first_90k


def _decoder(source: AudioInfo) -> av.AudioCodecContext:
    if source.codec in ("adpcm_g726", "adpcm_g726le"):
        return _g726_decoder(source)
    decoder = av.CodecContext.create(source.codec, "r")
    if not isinstance(decoder, av.AudioCodecContext):
        raise ValueError(f"{source.codec} is not an audio codec")  # noqa: TRY004  (one type for all bad arguments)
    decoder.sample_rate = source.sample_rate_hz
    decoder.layout = _layout(min(source.channels, 2))
    if source.extradata:
        decoder.extradata = source.extradata
    return decoder


def _g726_decoder(source: AudioInfo) -> av.AudioCodecContext:
    """PyAV cannot set ``bits_per_coded_sample``, which this decoder needs; FFmpeg's demuxer of raw G.726 does."""
    if source.channels != 1 or len(source.extradata) != 1:
        raise ValueError("G.726 has one channel, and its samples have a number of bits")
    options = {"code_size": str(source.extradata[0]), "sample_rate": str(source.sample_rate_hz)}
    container = av.open(io.BytesIO(bytes(1024)), format=source.codec.removeprefix("adpcm_"), options=options)
    decoder: av.AudioCodecContext = container.streams.audio[0].codec_context
    return decoder


def _layout(channels: int) -> str:
    if channels not in _LAYOUTS:
        raise ValueError(f"audio with {channels} channels is not supported")
    return _LAYOUTS[channels]
