"""Coded packets, and the description of the stream that they belong to.

Rules, which every engine follows and every consumer relies on:

1. Video is Annex B (start codes), one access unit a packet, AUD and SEI allowed; of Motion JPEG one file a packet.
   Audio is one raw frame a packet (no ADTS).
2. ``pts_90k`` and ``dts_90k`` are integers of 90 kHz on one timeline per run; within a run and a kind ``dts_90k`` is
   strictly increasing, and ``pts_90k >= dts_90k``. Video and audio share the timeline.
3. ``captured_at_90k`` is the best estimate of when the camera captured the frame: 90 kHz ticks of the wall clock since
   the Unix epoch.
4. Every packet has its :class:`StreamInfo`. A change of codec, size or sequence parameter set makes a new, unequal
   object. The first packet that carries it is a keyframe. Parameter sets that change all the time make no new object:
   they are in the keyframes, and ``has_changing_sets`` says so.
5. ``run`` grows by one with each connection to the camera. The timelines of two runs are unrelated; only
   ``captured_at_90k`` continues.
6. The first video packet of a run is a keyframe.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction


class MediaKind(StrEnum):
    """Which track a packet belongs to."""

    VIDEO = "video"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """A video track.

    ``codec`` is FFmpeg's name (``h264``, ``hevc``, ``mjpeg``). ``parameter_sets`` are the SPS and PPS (and VPS) in
    Annex B, each after a four-byte start code. ``codec_string`` is that of RFC 6381 (``avc1.42e01f``). ``frame_rate``
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
class Metadata:
    """A document that a camera sent beside its pictures: XML, as the camera wrote it.

    The source of the format is the ONVIF Streaming Specification (§5.2.1).
    ``captured_at_90k`` and ``run`` are as those of packets.
    """

    document: bytes
    captured_at_90k: int
    run: int


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


@dataclass(frozen=True, slots=True)
class Packet:
    """One coded frame; see the module's rules. ``duration_90k`` is 0 where it is unknown."""

    kind: MediaKind
    data: bytes
    pts_90k: int
    dts_90k: int
    duration_90k: int
    is_keyframe: bool
    captured_at_90k: int
    info: StreamInfo
    run: int = 0

    @property
    def is_video(self) -> bool:
        return self.kind is MediaKind.VIDEO
