"""Payload formats: which tracks of a session description liveedge takes, and what each of them needs.

The codec names are FFmpeg's, as in :mod:`gateway.media`.
"""

import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

from gateway.codec import aac
from gateway.codec.latm import parse_mux_config
from gateway.media import AudioInfo
from gateway.rtsp.depacketize import Depacketizer
from gateway.rtsp.depacketize.aac import AacDepacketizer
from gateway.rtsp.depacketize.audio import PacketDepacketizer, SamplesDepacketizer
from gateway.rtsp.depacketize.h264 import H264Depacketizer
from gateway.rtsp.depacketize.h265 import H265Depacketizer
from gateway.rtsp.depacketize.jpeg import JpegDepacketizer
from gateway.rtsp.depacketize.latm import LatmDepacketizer
from gateway.rtsp.depacketize.metadata import ENCODINGS, MetadataDepacketizer
from gateway.rtsp.sdp import Format, Media

SETS_MAX_BYTES = 64 * 1024
"""Parameter sets of a session description, decoded."""


FRAME_S = 0.1
"""The longest frame of sound that is samples, in seconds: less than WebRTC may send in a packet. While nobody waits for
it, G.711 is joined to as much, which is what one reading of such a camera brings."""


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """A video track that can be captured.

    ``parameter_sets`` are those of the session description, NAL units without start codes. ``make`` makes the track's
    depacketizer. ``others`` are the formats that the track may have in its place, where the description is wrong.
    """

    codec: str
    payload_type: int
    clock_rate: int
    parameter_sets: tuple[bytes, ...]
    make: Callable[[], Depacketizer]
    others: "tuple[VideoFormat, ...]" = ()

    @property
    def payload_types(self) -> tuple[int, ...]:
        return (self.payload_type,)


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """An audio track that can be captured.

    ``info`` is what the session description says; what the stream itself says comes with its frames. Without
    ``is_certain`` it is a guess. ``others`` are the formats in which the camera may send the track's sound as well.
    """

    info: AudioInfo
    payload_type: int
    clock_rate: int
    make: Callable[[], Depacketizer]
    is_certain: bool = True
    is_announced: bool = True
    others: "tuple[AudioFormat, ...]" = ()

    @property
    def payload_types(self) -> tuple[int, ...]:
        """Those that the section has."""
        return (self.payload_type, *(each.payload_type for each in self.others if each.is_announced))


def video_format(media: Media) -> VideoFormat | None:
    """The first format of a video section that is known, or ``None``.

    One of H.264 that has the parameter sets of H.265 alone, or the reverse, is what these say.
    """
    for found in media.formats:
        maker = _VIDEO.get(found.encoding)
        if maker is not None:
            declared = maker(found)
            all_formats = [declared, *(other(found) for other in _VIDEO.values() if other is not maker)]
            if found.encoding != "JPEG" and not declared.parameter_sets:
                all_formats.sort(key=lambda each: not each.parameter_sets)
            return replace(all_formats[0], others=tuple(all_formats[1:]))
    return None


@dataclass(frozen=True, slots=True)
class MetadataFormat:
    """A track of ONVIF metadata."""

    payload_type: int
    clock_rate: int
    make: Callable[[], Depacketizer]

    @property
    def payload_types(self) -> tuple[int, ...]:
        return (self.payload_type,)


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
    """The formats of an audio section that are known, the first one with the ``others``; ``None`` where there is none.

    Besides those that are announced there are PCMU and PCMA with their static payload types (RFC 3551 §6), which need
    no announcement.
    """
    announced: list[AudioFormat] = []
    for found in media.formats:
        maker = _AUDIO.get(found.encoding)
        made = maker(found) if maker is not None else None
        if made is not None:
            announced.append(made)
    if not announced:
        return None
    types = {each.payload_type for each in media.formats}
    static = [replace(_G711[each](_STATIC[each]), is_announced=False) for each in _G711 if each not in types]
    return replace(announced[0], others=(*announced[1:], *static))


def aac_info(config: bytes) -> AudioInfo | None:
    """The sound of an AudioSpecificConfig; ``None`` where it cannot be read."""
    parsed = aac.parse_config(config)
    return _aac_info(config, parsed) if parsed is not None else None


def _h264(found: Format) -> VideoFormat:
    sets = _decoded(found.parameters.get("sprop-parameter-sets", ""))
    return VideoFormat("h264", found.payload_type, found.clock_rate, sets, lambda: H264Depacketizer(sets))


def _h265(found: Format) -> VideoFormat:
    parameters = found.parameters
    texts = [parameters.get(name, "") for name in ("sprop-vps", "sprop-sps", "sprop-pps")]
    has_donl = _number(parameters.get("sprop-max-don-diff")) > 0
    sets = tuple(unit for text in texts for unit in _decoded(text))
    return VideoFormat(
        "hevc",
        found.payload_type,
        found.clock_rate,
        sets,
        lambda: H265Depacketizer(sets, has_donl=has_donl),
    )


def _jpeg(found: Format) -> VideoFormat:
    return VideoFormat("mjpeg", found.payload_type, found.clock_rate, (), JpegDepacketizer)


def _mpeg4_generic(found: Format) -> AudioFormat | None:
    config, is_certain = _hex(found.parameters.get("config", "")), True
    parsed = aac.parse_config(config)
    if parsed is None:
        config, is_certain = _guessed_config(found), False
        parsed = aac.parse_config(config)
    if parsed is None:
        return None
    ticks = aac.ticks_per_frame(found.clock_rate, parsed)
    names = ("sizelength", "indexlength", "indexdeltalength")
    sizes = [_number(found.parameters.get(name)) for name in names]
    # A camera that gives none of them mostly means AAC-hbr (RFC 3640 §3.3.6).
    size_bits, index_bits, delta_bits = sizes if 0 < sizes[0] <= 16 and max(sizes[1:]) <= 16 else (13, 3, 3)
    is_hbr = found.parameters.get("mode", "").lower() == "aac-hbr"
    return AudioFormat(
        _aac_info(config, parsed),
        found.payload_type,
        found.clock_rate,
        lambda: AacDepacketizer(
            size_bits=size_bits,
            index_bits=index_bits,
            delta_bits=delta_bits,
            ticks_per_frame=ticks,
            clock_rate=found.clock_rate,
            has_headers=is_hbr or any(name in found.parameters for name in names),
        ),
        is_certain,
    )


def _latm(found: Format) -> AudioFormat | None:
    mux = parse_mux_config(_hex(found.parameters.get("config", "")))
    config = mux.config if mux is not None else _guessed_config(found)
    parsed = aac.parse_config(config)
    if parsed is None:
        return None
    # Without ``cpresent`` it is 1 (RFC 6416 §6.3), but then there is no ``config``.
    is_in_band = found.parameters.get("cpresent", "0" if mux is not None else "1") != "0"
    return AudioFormat(
        _aac_info(config, parsed),
        found.payload_type,
        found.clock_rate,
        lambda: LatmDepacketizer(found.clock_rate, mux, is_in_band=is_in_band),
        mux is not None,
    )


def _guessed_config(found: Format) -> bytes:
    """AAC-LC as ``rtpmap`` describes it, which is what cameras send."""
    return aac.config_of(found.clock_rate, found.channels) or aac.config_of(16_000, min(found.channels, 2))


def _aac_info(config: bytes, parsed: aac.AudioConfig) -> AudioInfo:
    return AudioInfo("aac", aac.codec_string(config) or "", parsed.sample_rate_hz, parsed.channels, config)


def _samples(
    codec: str,
    string: str,
    bits: int,
    *,
    samples_per_tick: int = 1,
    extradata: bytes = b"",
    can_join: bool = False,
) -> Callable[[Format], AudioFormat]:
    """A codec with ``bits`` a sample. A group of samples is a whole number of bytes, and is not divided."""

    def make(found: Format) -> AudioFormat:
        rate_hz = found.clock_rate * samples_per_tick
        ticks_per_byte = Fraction(8, bits * found.channels * samples_per_tick)
        group_bytes = max(1, bits // 8) * found.channels if bits % 8 == 0 or bits == 4 else bits * found.channels
        frame_bytes = max(1, int(FRAME_S * found.clock_rate / ticks_per_byte / group_bytes)) * group_bytes
        return AudioFormat(
            AudioInfo(codec, string, rate_hz, found.channels, extradata),
            found.payload_type,
            found.clock_rate,
            lambda: SamplesDepacketizer(ticks_per_byte, frame_bytes, can_join=can_join),
        )

    return make


def _g722(found: Format) -> AudioFormat:
    """Its RTP clock is 8000 although it samples at 16,000 (RFC 3551 §4.5.2). Some cameras write 16,000."""
    return _samples("adpcm_g722", "", 4, samples_per_tick=2)(replace(found, clock_rate=8000))


def _opus(found: Format) -> AudioFormat:
    return AudioFormat(
        AudioInfo("opus", "opus", found.clock_rate, found.channels),
        found.payload_type,
        found.clock_rate,
        PacketDepacketizer,
    )


def _g726(bits: int, codec: str = "adpcm_g726le") -> Callable[[Format], AudioFormat]:
    """G.726 by the bits of a sample, the first in the lowest bits (RFC 3551 §4.5.4), which FFmpeg calls ``le``.

    With ``AAL2`` before its name, the first is in the highest bits (ITU-T I.366.2 annex E).
    """
    return _samples(codec, "", bits, extradata=bytes((bits,)))


_VIDEO: dict[str, Callable[[Format], VideoFormat]] = {"H264": _h264, "H265": _h265, "JPEG": _jpeg}

_PCMU = _samples("pcm_mulaw", "ulaw", 8, can_join=True)
_PCMA = _samples("pcm_alaw", "alaw", 8, can_join=True)

_G711 = {0: _PCMU, 8: _PCMA}
_STATIC = {0: Format(0, "PCMU", 8000), 8: Format(8, "PCMA", 8000)}

_AUDIO: dict[str, Callable[[Format], AudioFormat | None]] = {
    "MPEG4-GENERIC": _mpeg4_generic,
    "MP4A-LATM": _latm,
    "PCMA": _PCMA,
    "PCMU": _PCMU,
    "G722": _g722,
    "G726-16": _g726(2),
    "G726-24": _g726(3),
    "G726-32": _g726(4),
    "G726-40": _g726(5),
    "AAL2-G726-16": _g726(2, "adpcm_g726"),
    "AAL2-G726-24": _g726(3, "adpcm_g726"),
    "AAL2-G726-32": _g726(4, "adpcm_g726"),
    "AAL2-G726-40": _g726(5, "adpcm_g726"),
    "L16": _samples("pcm_s16be", "", 16),
    "OPUS": _opus,
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
