"""AAC (ISO/IEC 14496-3): what its AudioSpecificConfig says, and codec strings (RFC 6381 §3.3)."""

from dataclasses import dataclass
from fractions import Fraction

from gateway.codec.bits import BitReader, BitstreamError

CONFIG_MIN_BYTES = 2
"""The shortest AudioSpecificConfig (§1.6.2.1): object type, sampling frequency index, channel configuration."""

SAMPLE_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
"""By samplingFrequencyIndex (table 1.18)."""

RATES_WITH_SAME_TABLES = (
    (96000, 88200),
    (64000,),
    (48000, 44100),
    (32000,),
    (24000, 22050),
    (16000, 12000, 11025),
    (8000, 7350),
)
"""Sample rates whose frames have the same syntax (§4.5.4, tables of scale factor bands)."""

_EXPLICIT_RATE = 15
_CHANNELS = (0, 1, 2, 3, 4, 5, 6, 8)
_ESCAPE_OBJECT_TYPE = 31
_AAC_LC, _SBR, _PS = 2, 5, 29
_SCE, _CPE, _DSE, _FIL = 0, 1, 4, 6
"""id_syn_ele (§4.4.2.1, table 4.85)."""
_GENERAL_AUDIO = frozenset({1, 2, 3, 4, 6, 7, 17, 19, 20, 21, 22, 23})

_ELEMENTS_MAX_BYTES = 600
"""Of a frame that are searched for its first element: two data elements of the largest size."""


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """An AudioSpecificConfig. With SBR, ``sample_rate_hz`` is that of the core, in which frames are counted."""

    object_type: int
    sample_rate_hz: int
    channels: int
    frame_samples: int
    has_channel_configuration: bool = True


def parse_config(config: bytes) -> AudioConfig | None:
    """What an AudioSpecificConfig (§1.6.2.1) says; ``None`` where it cannot be read or makes no sense."""
    if len(config) < CONFIG_MIN_BYTES:
        return None
    try:
        return _parse(BitReader(config, has_emulation_prevention=False))
    except BitstreamError:
        return None


def read_config(bits: BitReader, length: int | None = None) -> tuple[bytes, AudioConfig]:
    """The AudioSpecificConfig that begins here, in whole octets, and what it says. ``length`` in bits is known of some.

    Raises :class:`~gateway.codec.bits.BitstreamError` where it cannot be read, and where it does not say its length.
    """
    start = bits.copy()
    parsed = _parse(bits)
    if length is None:
        if parsed.object_type not in (_AAC_LC, 1, 3, 4):
            raise BitstreamError("the length of such a configuration is not known")
        # dependsOnCoreCoder with its delay, extensionFlag (§4.4.1).
        if bits.flag():
            bits.u(14)
        if bits.flag() or not parsed.has_channel_configuration:
            raise BitstreamError("the length of such a configuration is not known")
        length = start.left - bits.left
    elif length < start.left - bits.left:
        raise BitstreamError("it is shorter than what is in it")
    else:
        bits.u(length - (start.left - bits.left))
    padding = -length % 8
    return (start.u(length) << padding).to_bytes((length + padding) // 8, "big"), parsed


def ticks_per_frame(clock_rate: int, parsed: AudioConfig) -> int:
    """A frame's duration in an RTP clock, which is not always the config's sample rate."""
    return max(1, round(Fraction(parsed.frame_samples * clock_rate, parsed.sample_rate_hz)))


def codec_string(config: bytes) -> str | None:
    """The codec string for an AudioSpecificConfig; ``None`` where it is too short to be one."""
    if len(config) < CONFIG_MIN_BYTES:
        return None
    # audioObjectType is the first five bits (§1.6.2.1).
    return f"mp4a.40.{config[0] >> 3}"


def config_of(sample_rate_hz: int, channels: int) -> bytes:
    """The AudioSpecificConfig of AAC-LC with these properties; empty where there is none."""
    if sample_rate_hz not in SAMPLE_RATES_HZ or channels not in _CHANNELS[1:]:
        return b""
    value = 2 << 11 | SAMPLE_RATES_HZ.index(sample_rate_hz) << 7 | _CHANNELS.index(channels) << 3
    return value.to_bytes(2, "big")


def without_adts(frame: bytes) -> bytes:
    """A frame without its ADTS header (ISO/IEC 13818-7 §6.2), if it has one."""
    if len(frame) > 9 and frame[0] == 0xFF and frame[1] & 0xF6 == 0xF0:
        size = (frame[3] & 3) << 11 | frame[4] << 3 | frame[5] >> 5
        if size == len(frame):
            return frame[7 if frame[1] & 1 else 9 :]
    return frame


def first_channels(frame: bytes) -> int | None:
    """The channels of a frame's first element that is sound (§4.4.2.1); ``None`` where that is not known."""
    bits = BitReader(frame, has_emulation_prevention=False, max_bytes=_ELEMENTS_MAX_BYTES)
    try:
        while True:
            kind = bits.u(3)
            if kind in (_SCE, _CPE):
                return 1 if kind == _SCE else 2
            if kind == _FIL:
                count = bits.u(4)
                count += bits.u(8) - 1 if count == 15 else 0
            elif kind == _DSE:
                bits.u(4)
                is_aligned = bits.flag()
                count = bits.u(8)
                count += bits.u(8) if count == 255 else 0
                bits.u(bits.left % 8 if is_aligned else 0)
            else:
                return None
            bits.u(8 * count)
    except BitstreamError:
        return None


def _parse(bits: BitReader) -> AudioConfig:
    object_type = _object_type(bits)
    rate_hz = _rate(bits)
    channels = bits.u(4)
    if object_type in (_SBR, _PS):
        _rate(bits)
        object_type = _object_type(bits)
    is_short = object_type in _GENERAL_AUDIO and bits.flag()
    if channels >= len(_CHANNELS) or rate_hz == 0:
        raise BitstreamError("it has no such channels or sample rate")
    # Channel configuration 0 is described by a program config element, which cameras do not send.
    return AudioConfig(object_type, rate_hz, _CHANNELS[channels] or 1, 960 if is_short else 1024, channels > 0)


def _object_type(bits: BitReader) -> int:
    kind = bits.u(5)
    return 32 + bits.u(6) if kind == _ESCAPE_OBJECT_TYPE else kind


def _rate(bits: BitReader) -> int:
    index = bits.u(4)
    if index == _EXPLICIT_RATE:
        return bits.u(24)
    if index >= len(SAMPLE_RATES_HZ):
        raise BitstreamError("the index of its sample rate is reserved")
    return SAMPLE_RATES_HZ[index]
