"""TalkSound: RTP payloads of a talker in, payloads for the camera out. Sans-IO.

Rules:

1. What the camera takes as it comes is passed on, packet by packet. Anything else is decoded, resampled and encoded.
2. Times are the talker's: a pause is a step in them, and a packet that is lost leaves its place empty.
3. A packet that cannot be decoded is counted and left out; the next one gets a new decoder.
"""

from fractions import Fraction
from typing import NamedTuple

import av

from gateway.clock import CLOCK_RATE
from gateway.codec.audio import AudioTranscoder
from gateway.media import AudioInfo
from gateway.rtsp.rtp import TimestampUnwrapper
from gateway.talk.formats import TALK_CODECS, TalkChoice

PAYLOAD_MAX_BYTES = 1200
"""Of a packet to the camera: it fits into one datagram on any network. Larger ones of a talker are dropped."""

SAMPLES_MAX_S = 0.04
"""Encoded samples are sent in packets of at most so many seconds: small cameras have small buffers."""

FRAME_S = Fraction(1, 50)
"""Of codecs that have no frames of their own (RFC 3551 §4.2)."""

AAC_BIT_RATE_BPS = 64_000

OPUS_MAX_TICKS = 5760
"""A packet has at most 120 ms (RFC 6716 §3.2.5)."""

RTP_CLOCK_HZ = {"OPUS": 48_000, "G722": 8000, "PCMU": 8000, "PCMA": 8000}
"""Of what talkers send. That of G.722 is a mistake that stayed (RFC 3551 §4.5.2)."""

_SILENT = {"PCMU": frozenset(b"\xff\x7f"), "PCMA": frozenset(b"\xd5\x55")}
"""The octets of digital silence."""

_OPUS_SILENT_BYTES = 3
"""A frame that says that nothing is sent (DTX), or one of digital silence, is no longer."""

_FRAME_SAMPLES = {"aac": 1024, "opus": 960, "adpcm_g722": 320}
_G726_FRAME_SAMPLES = {2: 4096, 3: 2736, 4: 2048, 5: 1640}
"""Of FFmpeg's encoder, by the bits of a sample."""


class Voice(NamedTuple):
    """A payload for the camera: its time and duration in ticks of the camera's RTP clock."""

    at: int
    duration: int
    payload: bytes
    ends_frame: bool = True


def is_silence(codec: str, payload: bytes) -> bool:
    """Whether a packet has nothing but digital silence, as from a microphone that is muted, as far as that shows."""
    if codec == "OPUS":
        return len(payload) <= _OPUS_SILENT_BYTES
    return codec in _SILENT and _SILENT[codec].issuperset(payload)


class TalkSound:
    """See the module."""

    def __init__(self, choice: TalkChoice) -> None:
        self.faults = 0
        """Packets that could not be decoded, were too large, or of no duration that a packet may have."""
        self.choice = choice
        self._clock_hz = RTP_CLOCK_HZ[choice.codec]
        self._unwrapper = TimestampUnwrapper()
        self._transcoder: AudioTranscoder | None = None

    def take(self, payload: bytes, timestamp: int) -> list[Voice]:
        """A packet of the talker. Never raises."""
        at = self._unwrapper.unwrap(timestamp)
        if not payload or len(payload) > PAYLOAD_MAX_BYTES:
            self.faults += 1
            return []
        if self.choice.is_passed_through:
            is_opus = self.choice.codec == "OPUS"
            duration = opus_ticks(payload) if is_opus else len(payload)
            if not duration or (is_opus and duration > OPUS_MAX_TICKS):
                self.faults += 1
                return []
            return [Voice(at, duration, payload)]
        try:
            return self._encoded(payload, at)
        except (av.FFmpegError, ValueError):
            self.faults += 1
            self._transcoder = None
            return []

    def _encoded(self, payload: bytes, at: int) -> list[Voice]:
        format = self.choice.format
        if self._transcoder is None:
            self._transcoder = _transcoder(TALK_CODECS[self.choice.codec], format.info)
        made = self._transcoder
        frame_ticks = made.frame_samples * format.clock_rate // format.info.sample_rate_hz
        voices: list[Voice] = []
        for position, data in made.transcode(payload, at * CLOCK_RATE // self._clock_hz):
            begins = position * format.clock_rate // format.info.sample_rate_hz
            parts = format.packets.payloads(data, _part_bytes(format.info))
            ends = [offset or frame_ticks for _, offset in parts[1:]] + [frame_ticks]
            for number, ((part, offset), end) in enumerate(zip(parts, ends, strict=True), 1):
                voices.append(Voice(begins + offset, end - offset, part, number == len(parts)))
        return voices


def opus_ticks(payload: bytes) -> int:
    """The duration of an Opus packet in ticks of 48 kHz (RFC 6716 §3.1)."""
    config, code = payload[0] >> 3, payload[0] & 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config % 4]
    elif config < 16:
        frame = (480, 960)[config % 2]
    else:
        frame = (120, 240, 480, 960)[config % 4]
    count = (1, 2, 2, payload[1] & 0x3F if len(payload) > 1 else 0)[code]
    return frame * count


def _part_bytes(info: AudioInfo) -> int:
    bits = {"pcm_s16be": 16, "pcm_mulaw": 8, "pcm_alaw": 8, "adpcm_g722": 4}.get(info.codec)
    if info.codec.startswith("adpcm_g726"):
        bits = _g726_bits(info)
    if bits is None:
        return PAYLOAD_MAX_BYTES
    return min(PAYLOAD_MAX_BYTES, int(info.sample_rate_hz * info.channels * bits / 8 * SAMPLES_MAX_S))


def _transcoder(source: AudioInfo, target: AudioInfo) -> AudioTranscoder:
    bit_rate_bps = AAC_BIT_RATE_BPS
    if target.codec.startswith("adpcm_g726"):
        bits = _g726_bits(target)
        samples, bit_rate_bps = _G726_FRAME_SAMPLES[bits], bits * target.sample_rate_hz
    else:
        samples = _FRAME_SAMPLES.get(target.codec, round(target.sample_rate_hz * FRAME_S))
    rate_hz, channels = target.sample_rate_hz, target.channels
    return AudioTranscoder(source, target.codec, rate_hz, channels, frame_samples=samples, bit_rate_bps=bit_rate_bps)


def _g726_bits(info: AudioInfo) -> int:
    return info.extradata[0] if info.extradata else 4
