"""Fragmented MP4: the init segment of a stream, and fragments (``moof`` and ``mdat``) of its packets.

Theory of operation. FFmpeg's muxer writes the init segment, once a stream. Fragments are written here, with ``struct``:
a fragment of six frames costs 15 µs, where a muxer of FFmpeg for each fragment cost 440 µs. Nothing is remembered
between two fragments, so that a fragment depends on its samples alone.

Rules:

1. The time scale of video is 90 kHz, that of audio its sample rate. ``tfdt`` is the decode time of a track's first
   sample on the caller's timeline.
2. Sample durations are the caller's, who knows where the next sample begins.
3. Annex B becomes length-prefixed. Parameter sets are only in the sample entry, because the entry is ``avc1`` or
   ``hvc1`` (ISO/IEC 14496-15 §5.3.2). Those that a camera repeats in its keyframes are removed. AV1 keeps its sequence
   headers, and loses its temporal delimiters.
4. Audio is AAC; see :mod:`hls.mp4.audio`.
"""

import hashlib
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from gateway.clock import CLOCK_RATE
from gateway.codec import av1
from gateway.codec.annexb import nal_units
from gateway.codec.parameter_sets import NAL_SYNTAX
from gateway.media import AudioInfo, StreamInfo

VIDEO_TIME_BASE = Fraction(1, CLOCK_RATE)

VIDEO_TRACK_ID, AUDIO_TRACK_ID = 1, 2
"""As FFmpeg numbers the tracks of :func:`declare_streams`."""

# ``use_editlist=0``: the timeline is the decode times' own.
_HEADER_OPTIONS = {
    "movflags": "empty_moov+default_base_moof+frag_custom+skip_trailer",
    "use_editlist": "0",
    "video_track_timescale": str(CLOCK_RATE),
}

# ISO/IEC 14496-12: size and type of a box (§4.2); with version and flags (§4.2) and the fields of each.
_BOX = struct.Struct(">I4s")
_MFHD = struct.Struct(">I4sII")
_TFHD = struct.Struct(">I4sII")
_TFDT = struct.Struct(">I4sIQ")
_TRUN = struct.Struct(">I4sIII")
_RECORD = struct.Struct(">IIIi")
_TRAF_BYTES = _BOX.size + _TFHD.size + _TFDT.size + _TRUN.size

_DEFAULT_BASE_IS_MOOF = 0x020000
_TRUN_FIELDS = 0x000F01
"""data-offset; duration, size, flags and composition time offset of each sample (§8.8.8.1)."""

SYNC_SAMPLE, NON_SYNC_SAMPLE = 0x0200_0000, 0x0101_0000
"""``sample_depends_on`` and ``sample_is_non_sync_sample`` (§8.8.3.1)."""


class Sample(NamedTuple):
    """One coded frame in a track's time base: 90 kHz for video, the sample rate for audio.

    ``keeps_sets``: parameter sets in it are not those of the sample entry, and stay. ``level``: how loud the sound is
    that was decoded for it, see :mod:`gateway.codec.loudness`; 0 where none was.
    """

    data: bytes
    dts: int
    pts: int
    duration: int
    is_keyframe: bool = True
    keeps_sets: bool = False
    level: int = 0


VIDEO_CODECS = frozenset({"h264", "hevc", "av1"})
"""Video that is written to MP4, for HLS and recordings, by FFmpeg's names."""


def refusal(info: StreamInfo, label: str, what: str) -> str | None:
    """Why ``what`` (HLS, a recording) cannot have this video, as a sentence; ``None`` if it can."""
    codec = info.video.codec
    if codec in VIDEO_CODECS:
        return None
    return (
        f"camera {label} sends {codec}, which browsers do not play from MP4, so that there is no {what}; set the camera"
        " to H.264, or use CAPTURE_ENGINE=opencv for it, which encodes any codec as H.264"
    )


def declare_streams(container: OutputContainer, info: StreamInfo) -> tuple[VideoStream, AudioStream | None]:
    """Add the tracks of ``info`` to an MP4 container; they take packets as :mod:`gateway.media` has them."""
    codec = info.video.codec
    template = _video_template(codec, info.video.width, info.video.height)
    video = container.add_stream_from_template(template.streams.video[0], opaque=True)
    video.codec_context.extradata = info.video.parameter_sets
    video.time_base = VIDEO_TIME_BASE
    if codec == "hevc":
        video.codec_context.codec_tag = "hvc1"
    return video, _declare_audio(container, info.audio) if info.audio is not None else None


def _declare_audio(container: OutputContainer, info: AudioInfo) -> AudioStream:
    template = _audio_template(info.sample_rate_hz)
    audio = container.add_stream_from_template(template.streams.audio[0], opaque=True)
    audio.codec_context.extradata = info.extradata
    audio.time_base = Fraction(1, info.sample_rate_hz)
    return audio


def audio_init(info: AudioInfo) -> bytes:
    """``ftyp`` and ``moov`` of a track of AAC alone."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options=_HEADER_OPTIONS) as container:
        _declare_audio(container, info)
        container.start_encoding()
    return buffer.getvalue()


class FragmentMuxer:
    """Init segment and fragments of one :class:`~gateway.media.StreamInfo`. ``init``: the one that it had before."""

    def __init__(self, info: StreamInfo, init: bytes | None = None) -> None:
        self.info = info
        self.init = init if init is not None else _init_segment(info)
        """``ftyp`` and ``moov``."""
        self.init_id = hashlib.sha256(self.init).hexdigest()[:16]
        """The same for equal init segments, in any process: a name that may be cached without limit."""

    def fragment(self, video: Sequence[Sample], audio: Sequence[Sample], sequence: int) -> bytes:
        """One ``moof`` and ``mdat`` of these samples, without a track that has none. ``sequence`` goes to ``mfhd``."""
        return fragment(self.tracks(video, audio), sequence)

    def tracks(self, video: Sequence[Sample], audio: Sequence[Sample]) -> "list[FragmentTrack]":
        """The tracks of a fragment of these samples, without one that has none."""
        tracks: list[FragmentTrack] = []
        if video:
            codec = self.info.video.codec
            data = [sample_data(each.data, codec, keeps_sets=each.keeps_sets or not each.is_keyframe) for each in video]
            tracks.append(FragmentTrack(VIDEO_TRACK_ID, video, data))
        if audio and self.info.audio is not None:
            tracks.append(FragmentTrack(AUDIO_TRACK_ID, audio, [each.data for each in audio]))
        return tracks


@dataclass(frozen=True, slots=True)
class FragmentTrack:
    """A track's samples in one fragment, and their bytes as they stand in ``mdat``."""

    track_id: int
    samples: Sequence[Sample]
    data: Sequence[bytes]


def fragment(tracks: Sequence[FragmentTrack], sequence: int) -> bytes:
    """One ``moof`` and ``mdat``. The media data end with it, track after track."""
    return b"".join(fragment_pieces(tracks, sequence))


def fragment_pieces(tracks: Sequence[FragmentTrack], sequence: int) -> list[bytes]:
    """:func:`fragment` in pieces: the boxes before the media data, and the data of each sample."""
    size = _BOX.size + sum(sum(map(len, track.data)) for track in tracks)
    head = _moof(tracks, sequence) + _BOX.pack(size, b"mdat")
    return [head, *(piece for track in tracks for piece in track.data)]


@lru_cache(maxsize=256)
def _init_segment(info: StreamInfo) -> bytes:
    """``ftyp`` and ``moov``. Kept, because each file of a recording begins with it."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options=_HEADER_OPTIONS) as container:
        declare_streams(container, info)
        container.start_encoding()
    return buffer.getvalue()


def _moof(tracks: Sequence[FragmentTrack], sequence: int) -> bytes:
    """A ``moof`` box (§8.8.4) whose media data follows in ``mdat``, track after track."""
    sizes = [_TRAF_BYTES + _RECORD.size * len(track.samples) for track in tracks]
    size = _BOX.size + _MFHD.size + sum(sizes)
    parts = [_BOX.pack(size, b"moof"), _MFHD.pack(_MFHD.size, b"mfhd", 0, sequence & 0x7FFFFFFF)]
    data_offset = size + _BOX.size
    for track, traf_size in zip(tracks, sizes, strict=True):
        samples = track.samples
        parts.append(_BOX.pack(traf_size, b"traf"))
        parts.append(_TFHD.pack(_TFHD.size, b"tfhd", _DEFAULT_BASE_IS_MOOF, track.track_id))
        parts.append(_TFDT.pack(_TFDT.size, b"tfdt", 1 << 24, samples[0].dts))
        run_size = _TRUN.size + _RECORD.size * len(samples)
        parts.append(_TRUN.pack(run_size, b"trun", 1 << 24 | _TRUN_FIELDS, len(samples), data_offset))
        for sample, data in zip(samples, track.data, strict=True):
            flags = SYNC_SAMPLE if sample.is_keyframe else NON_SYNC_SAMPLE
            parts.append(_RECORD.pack(sample.duration, len(data), flags, sample.pts - sample.dts))
            data_offset += len(data)
    return b"".join(parts)


def sample_data(data: bytes, codec: str, *, keeps_sets: bool) -> bytes:
    """An access unit as a sample: a length of four bytes before each NAL unit (ISO/IEC 14496-15 §4.3.2), with or
    without SPS, PPS and VPS. Of AV1 the OBUs, which have their sizes."""
    if codec == "av1":
        return av1.sample(data)
    units = nal_units(data)
    if not keeps_sets:
        syntax = NAL_SYNTAX["h264" if codec == "h264" else "hevc"]
        # A unit of nothing else keeps them, because a sample must not be empty.
        units = [unit for unit in units if not syntax.is_parameter_set(syntax.type_of(unit, 0))] or units
    return b"".join([part for unit in units for part in (len(unit).to_bytes(4, "big"), unit)])


# PyAV makes a stream for muxing, with a codec context that takes extradata, only from another stream: these containers
# have one and no packets. They are read and never changed.
@lru_cache(maxsize=64)
def _video_template(codec: str, width: int, height: int) -> InputContainer:
    return _template(codec, {"width": width, "height": height, "time_base": VIDEO_TIME_BASE})


@lru_cache(maxsize=16)
def _audio_template(sample_rate_hz: int) -> InputContainer:
    return _template("aac", {"rate": sample_rate_hz, "time_base": Fraction(1, sample_rate_hz)})


def _template(codec: str, parameters: dict[str, Any]) -> InputContainer:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"movflags": "empty_moov+default_base_moof"}) as container:
        container.add_mux_stream(codec, **parameters)
        container.start_encoding()
    buffer.seek(0)
    return av.open(buffer, "r")
