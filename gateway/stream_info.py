"""StreamInfo: the tracks of a stream. :mod:`gateway.media` has the rules; other modules import it from there."""

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """A video track.

    ``codec`` is FFmpeg's name (``h264``, ``hevc``, ``mpeg4``, ``av1``, ``mjpeg``). ``parameter_sets`` are the SPS and
    PPS (and VPS) in Annex B, each after a four-byte start code; of AV1 the sequence header, an OBU; of MPEG-4 what the
    source says in their place.
    ``codec_string`` is that of RFC 6381 (``avc1.42e01f``). ``frame_rate``
    is the declared one, or ``None``. ``has_b_frames`` says whether decoding order may differ from presentation order.

    ``has_changing_sets`` says that keyframes bring parameter sets other than ``parameter_sets``, which a consumer must
    not remove from them. Neither this nor the frame rate counts when two are compared.
    """

    codec: str
    codec_string: str
    width: int
    height: int
    parameter_sets: bytes
    frame_rate: Fraction | None = field(default=None, compare=False)
    has_b_frames: bool = False
    has_changing_sets: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """An audio track. ``codec`` is FFmpeg's name (``aac``, ``pcm_alaw``, ``pcm_mulaw``, ``opus``…).

    ``extradata`` is the configuration of the decoder, empty where there is none: for AAC the AudioSpecificConfig, for
    ``adpcm_g726`` and ``adpcm_g726le`` one byte with the bits of a sample.
    """

    codec: str
    codec_string: str
    sample_rate_hz: int
    channels: int
    extradata: bytes = b""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """The tracks that a camera sends at present."""

    video: VideoInfo
    audio: AudioInfo | None = None
