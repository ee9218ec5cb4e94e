"""Fragmented MP4: the init segment of a stream, and fragments (``moof`` and ``mdat``) of its packets.

Theory of operation. FFmpeg's muxer does the work. It writes complete files, so each fragment has its own muxer, whose
header is discarded; that costs 0.07 ms, and the fragment has exactly the given samples. No state is kept between
fragments, so a fragment depends on its samples alone.

Rules:

1. The time scale of video is 90 kHz, that of audio its sample rate. ``tfdt`` is the decode time of a track's first
   sample on the caller's timeline.
2. Sample durations are the caller's, who knows where the next sample begins.
3. Annex B becomes length-prefixed. Parameter sets are only in the sample entry, because the entry is ``avc1`` or
   ``hvc1`` (ISO/IEC 14496-15 §5.3.2). Those that a camera repeats in its keyframes are removed.
4. Audio is AAC; see :mod:`hls.mp4.audio`.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from gateway.clock import CLOCK_RATE
from gateway.codec.annexb import nal_offsets
from gateway.codec.parameter_sets import NAL_SYNTAX
from gateway.media import StreamInfo

VIDEO_TIME_BASE = Fraction(1, CLOCK_RATE)

# ``frag_custom`` lets us end fragments, ``frag_discont`` with ``make_non_negative`` writes true decode times.
# ``use_editlist=0``: otherwise the muxer takes the first sample's presentation time for its decode time.
# ``max_interleave_delta=0``: nothing is written before the end anyway, and a silent track must not warn or wait.
_FRAGMENT_OPTIONS = {
    "movflags": "empty_moov+default_base_moof+frag_custom+frag_discont+skip_trailer",
    "avoid_negative_ts": "make_non_negative",
    "use_editlist": "0",
    "max_interleave_delta": "0",
    "video_track_timescale": str(CLOCK_RATE),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One coded frame in a track's time base: 90 kHz for video, the sample rate for audio."""

    data: bytes
    dts: int
    pts: int
    duration: int
    is_keyframe: bool = True


def declare_streams(container: OutputContainer, info: StreamInfo) -> tuple[VideoStream, AudioStream | None]:
    """Add the tracks of ``info`` to an MP4 container; they take packets as :mod:`gateway.media` has them."""
    codec = "h264" if info.video.codec == "h264" else "hevc"
    template = _video_template(codec, info.video.width, info.video.height)
    video = container.add_stream_from_template(template.streams.video[0], opaque=True)
    video.codec_context.extradata = info.video.parameter_sets
    video.time_base = VIDEO_TIME_BASE
    if codec == "hevc":
        video.codec_context.codec_tag = "hvc1"
    if info.audio is None:
        return video, None
    template = _audio_template(info.audio.sample_rate_hz)
    audio = container.add_stream_from_template(template.streams.audio[0], opaque=True)
    audio.codec_context.extradata = info.audio.extradata
    audio.time_base = Fraction(1, info.audio.sample_rate_hz)
    return video, audio


class FragmentMuxer:
    """Init segment and fragments of one :class:`~gateway.media.StreamInfo`."""

    def __init__(self, info: StreamInfo) -> None:
        self.info = info
        self.init = self._mux((), (), 1)
        """``ftyp`` and ``moov``."""
        self.init_id = hashlib.sha256(self.init).hexdigest()[:16]
        """The same for equal init segments, in any process: a name that may be cached without limit."""

    def fragment(self, video: Sequence[Sample], audio: Sequence[Sample], sequence: int) -> bytes:
        """One ``moof`` and ``mdat`` of these samples, without a track that has none. ``sequence`` goes to ``mfhd``."""
        data = self._mux(video, audio, sequence)
        return data[len(self.init) :]

    def _mux(self, video: Sequence[Sample], audio: Sequence[Sample], sequence: int) -> bytes:
        buffer = io.BytesIO()
        options = {**_FRAGMENT_OPTIONS, "fragment_index": str(sequence & 0x7FFFFFFF)}
        with av.open(buffer, "w", format="mp4", options=options) as container:
            video_stream, audio_stream = declare_streams(container, self.info)
            container.start_encoding()
            for sample in video:
                data = sample.data
                if sample.is_keyframe:
                    data = without_parameter_sets(data, self.info.video.codec)
                container.mux_one(media_packet(data, sample, video_stream))
            if audio_stream is not None:
                for sample in audio:
                    container.mux_one(media_packet(sample.data, sample, audio_stream))
        return buffer.getvalue()


def without_parameter_sets(data: bytes, codec: str) -> bytes:
    """The access unit (Annex B) without SPS, PPS and VPS. Reads up to the first slice."""
    syntax = NAL_SYNTAX["h264" if codec == "h264" else "hevc"]
    kept: list[bytes] = []
    kept_from: int | None = None
    for offset in nal_offsets(data):
        # A three-byte start code needs no zero before it; trailing zeros belong to no NAL unit (ITU-T H.264 B.1.1).
        start = offset - 3
        if kept_from is not None:
            kept.append(data[kept_from:start])
        nal_type = syntax.type_of(data, offset)
        kept_from = None if syntax.is_parameter_set(nal_type) else start
        if nal_type in syntax.slices:
            break
    if kept_from is not None:
        kept.append(data[kept_from:])
    return b"".join(kept) if kept else data


def media_packet(data: bytes, sample: Sample, stream: VideoStream | AudioStream) -> "av.Packet[Any]":
    packet = av.Packet(data)
    packet.stream = stream
    assert stream.time_base is not None
    packet.time_base = stream.time_base
    packet.dts = sample.dts
    packet.pts = sample.pts
    packet.duration = sample.duration
    packet.is_keyframe = sample.is_keyframe
    return packet


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
