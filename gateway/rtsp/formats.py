"""Payload formats: which tracks of a session description liveedge takes, and what each of them needs.

The codec names are FFmpeg's, as in :mod:`gateway.media`.
"""

import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from gateway.codec import aac
from gateway.codec.bits import BitReader, BitstreamError
from gateway.media import AudioInfo
from gateway.rtsp.depacketize import Depacketizer
from gateway.rtsp.depacketize.audio import (
    AacDepacketizer,
    G711Depacketizer,
    LatmDepacketizer,
    PacketAudioDepacketizer,
)
from gateway.rtsp.depacketize.h264 import H264Depacketizer
from gateway.rtsp.depacketize.h265 import H265Depacketizer
from gateway.rtsp.depacketize.jpeg import JpegDepacketizer
from gateway.rtsp.depacketize.metadata import ENCODINGS, MetadataDepacketizer
from gateway.rtsp.sdp import Format, Media

SETS_MAX_BYTES = 64 * 1024
"""Parameter sets of a session description, decoded."""


JOIN_S = 0.1
"""How much G.711 is joined while nobody waits for it, in seconds: as much as one reading of such a camera brings."""


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """A video track that can be captured.

    ``parameter_sets`` are those of the session description, NAL units without start codes. ``make`` makes the track's
    depacketizer.
    """

    codec: str
    payload_type: int
    clock_rate: int
    parameter_sets: tuple[bytes, ...]
    make: Callable[[], Depacketizer]


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """An audio track that can be captured."""

    info: AudioInfo
    payload_type: int
    clock_rate: int
    make: Callable[[], Depacketizer]


def video_format(media: Media) -> VideoFormat | None:
    """The first format of a video section that is known, or ``None``."""
    for found in media.formats:
        maker = _VIDEO.get(found.encoding)
        if maker is not None:
            return maker(found)
    return None


@dataclass(frozen=True, slots=True)
class MetadataFormat:
    """A track of ONVIF metadata."""

    payload_type: int
    clock_rate: int
    make: Callable[[], Depacketizer]


def metadata_format(media: Media) -> MetadataFormat | None:
    """The first format of a section that is ONVIF metadata of a kind that is known, or ``None``."""
    for found in media.formats:
        is_compressed = ENCODINGS.get(found.encoding)
        if is_compressed is not None:
            return MetadataFormat(
                found.payload_type, found.clock_rate, partial(MetadataDepacketizer, is_compressed=is_compressed)
            )
    return None


def is_known_video(encoding: str) -> bool:
    """Whether there is a depacketizer for video of this encoding name."""
    return encoding in _VIDEO


def audio_format(media: Media) -> AudioFormat | None:
    """The first format of an audio section that is known and complete, or ``None``.

    AAC without its AudioSpecificConfig cannot be decoded by anybody, and so is left out.
    """
    for found in media.formats:
        maker = _AUDIO.get(found.encoding)
        made = maker(found) if maker is not None else None
        if made is not None:
            return made
    return None


def _h264(found: Format) -> VideoFormat:
    sets = _decoded(found.parameters.get("sprop-parameter-sets", ""))
    return VideoFormat("h264", found.payload_type, found.clock_rate, sets, lambda: H264Depacketizer(sets))


def _h265(found: Format) -> VideoFormat:
    parameters = found.parameters
    texts = [parameters.get(name, "") for name in ("sprop-vps", "sprop-sps", "sprop-pps")]
    has_donl = _number(parameters.get("sprop-max-don-diff")) > 0
    return VideoFormat(
        "hevc",
        found.payload_type,
        found.clock_rate,
        tuple(unit for text in texts for unit in _decoded(text)),
        lambda: H265Depacketizer(has_donl=has_donl),
    )


def _jpeg(found: Format) -> VideoFormat:
    return VideoFormat("mjpeg", found.payload_type, found.clock_rate, (), JpegDepacketizer)


def _mpeg4_generic(found: Format) -> AudioFormat | None:
    config = _hex(found.parameters.get("config", ""))
    parsed = aac.parse_config(config)
    if parsed is None:
        return None
    ticks = _ticks_per_frame(found.clock_rate, parsed)
    sizes = [_number(found.parameters.get(name)) for name in ("sizelength", "indexlength", "indexdeltalength")]
    # A camera that gives none of them means AAC-hbr (RFC 3640 §3.3.6).
    size_bits, index_bits, delta_bits = sizes if 0 < sizes[0] <= 16 and max(sizes[1:]) <= 16 else (13, 3, 3)
    return AudioFormat(
        _aac_info(config, parsed),
        found.payload_type,
        found.clock_rate,
        lambda: AacDepacketizer(
            size_bits=size_bits, index_bits=index_bits, delta_bits=delta_bits, ticks_per_frame=ticks
        ),
    )


def _latm(found: Format) -> AudioFormat | None:
    if found.parameters.get("cpresent", "1") != "0":
        return None
    config = _config_of_mux(_hex(found.parameters.get("config", "")))
    parsed = aac.parse_config(config) if config is not None else None
    if config is None or parsed is None:
        return None
    ticks = _ticks_per_frame(found.clock_rate, parsed)
    return AudioFormat(_aac_info(config, parsed), found.payload_type, found.clock_rate, lambda: LatmDepacketizer(ticks))


def _aac_info(config: bytes, parsed: aac.AudioConfig) -> AudioInfo:
    return AudioInfo("aac", aac.codec_string(config) or "", parsed.sample_rate_hz, parsed.channels, config)


def _ticks_per_frame(clock_rate: int, parsed: aac.AudioConfig) -> int:
    """A frame's duration in the RTP clock, which is not always the config's sample rate."""
    return max(1, round(Fraction(parsed.frame_samples * clock_rate, parsed.sample_rate_hz)))


def _config_of_mux(mux: bytes) -> bytes | None:
    """The AudioSpecificConfig in a StreamMuxConfig (ISO/IEC 14496-3 §1.7.3.1) of one program and one layer."""
    try:
        bits = BitReader(mux, has_emulation_prevention=False)
        # Frames of one element follow each other, as several would.
        if bits.u(1) or not bits.u(1) or (bits.u(6), bits.u(4), bits.u(3))[1:] != (0, 0):
            return None
        # Object type, sampling frequency index, channels, and three flags of GASpecificConfig: what AAC-LC has.
        return bits.u(16).to_bytes(2, "big")
    except BitstreamError:
        return None


def _samples(
    codec: str, string: str, ticks_per_byte: Fraction | int, rate_hz: int = 0, extradata: bytes = b""
) -> Callable[[Format], AudioFormat]:
    def make(found: Format) -> AudioFormat:
        return AudioFormat(
            AudioInfo(codec, string, rate_hz or found.clock_rate, found.channels, extradata),
            found.payload_type,
            found.clock_rate,
            lambda: PacketAudioDepacketizer(Fraction(ticks_per_byte) / found.channels),
        )

    return make


def _g711(codec: str, string: str) -> Callable[[Format], AudioFormat]:
    def make(found: Format) -> AudioFormat:
        return AudioFormat(
            AudioInfo(codec, string, found.clock_rate, found.channels),
            found.payload_type,
            found.clock_rate,
            lambda: G711Depacketizer(found.channels, int(JOIN_S * found.clock_rate)),
        )

    return make


def _g726(bits: int, codec: str = "adpcm_g726le") -> Callable[[Format], AudioFormat]:
    """G.726 by the bits of a sample, the first in the lowest bits (RFC 3551 §4.5.4), which FFmpeg calls ``le``.

    With ``AAL2`` before its name, the first is in the highest bits (ITU-T I.366.2 annex E).
    """
    return _samples(codec, "", Fraction(8, bits), extradata=bytes((bits,)))


_VIDEO: dict[str, Callable[[Format], VideoFormat]] = {"H264": _h264, "H265": _h265, "JPEG": _jpeg}

_AUDIO: dict[str, Callable[[Format], AudioFormat | None]] = {
    "MPEG4-GENERIC": _mpeg4_generic,
    "MP4A-LATM": _latm,
    "PCMA": _g711("pcm_alaw", "alaw"),
    "PCMU": _g711("pcm_mulaw", "ulaw"),
    # Its RTP clock is 8000 although it samples at 16,000 (RFC 3551 §4.5.2).
    "G722": _samples("adpcm_g722", "", 1, 16_000),
    "G726-16": _g726(2),
    "G726-24": _g726(3),
    "G726-32": _g726(4),
    "G726-40": _g726(5),
    "AAL2-G726-16": _g726(2, "adpcm_g726"),
    "AAL2-G726-24": _g726(3, "adpcm_g726"),
    "AAL2-G726-32": _g726(4, "adpcm_g726"),
    "AAL2-G726-40": _g726(5, "adpcm_g726"),
    "L16": _samples("pcm_s16be", "", Fraction(1, 2)),
    "OPUS": _samples("opus", "opus", 0, 48_000),
}


def _decoded(text: str) -> tuple[bytes, ...]:
    """NAL units in base64, between commas; what cannot be read is left out."""
    units: list[bytes] = []
    for part in text.split(",")[:64]:
        compact = re.sub(r"[^A-Za-z0-9+/]", "", part)
        unit = b64decode(compact + "=" * (-len(compact) % 4)) if len(compact) % 4 != 1 else b""
        # Against RFC 6184 §8.1, some cameras leave a start code before it.
        unit = re.sub(rb"\A\x00\x00\x00?\x01", b"", unit)
        if unit and sum(len(other) for other in units) + len(unit) <= SETS_MAX_BYTES:
            units.append(unit)
    return tuple(units)


def _hex(text: str) -> bytes:
    return bytes.fromhex(text) if re.fullmatch(r"(?:[0-9A-Fa-f]{2}){1,256}", text) else b""


def _number(text: str | None) -> int:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,6}", text) else 0
