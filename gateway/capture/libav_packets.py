"""PacketConverter: makes liveedge's packets of libav's, by the rules of :mod:`gateway.media`.

Rules:

1. Nothing is passed on before a video keyframe whose parameter sets are known, in-band or from the session description.
   In-band ones win: a session description is out of date once a camera is reconfigured.
2. A keyframe whose parameter sets differ begins a new :class:`~gateway.media.StreamInfo`.
3. Presentation times tell whether a stream has B-frames. The SPS is believed until one whole GOP was seen: many cameras
   could reorder and never do. Without B-frames, decoding time is presentation time.
4. Audio that cannot be decoded is left out: AAC without its AudioSpecificConfig.
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, TypeAlias

import av
from av.container import InputContainer

from gateway.capture.access_units import AccessUnit, AccessUnitAssembler
from gateway.capture.counters import CaptureCounters
from gateway.capture.timeline import ArrivalTime, SourceTime, Timeline, Timestamps
from gateway.clock import CLOCK_RATE
from gateway.codec import aac
from gateway.codec.parameter_sets import ParameterSets, find_parameter_sets, video_info
from gateway.codec.sps import MAX_FRAME_RATE
from gateway.errors import NoVideoError
from gateway.media import AudioInfo, MediaKind, Packet, StreamInfo

RawPacket: TypeAlias = "av.Packet[Any]"

VIDEO_CODECS = frozenset({"h264", "hevc"})

_CODEC_STRINGS = {"opus": "opus", "pcm_alaw": "alaw", "pcm_mulaw": "ulaw", "mp3": "mp4a.40.34"}
"""Sample entries of ISO media files (RFC 6381 §3.3). Other codecs go by libav's name."""

MAX_REORDER_S = 1
"""Seconds. A presentation time further back than this is a jump and not a B-frame: at most 16 frames are reordered
(H.264 §A.3)."""

UNDECLARED_REORDER = 2
"""Frames. By how many a stream with B-frames reorders whose SPS does not say: two levels of B-frames need as many."""


class PacketConverter:
    """The tracks of one opened source."""

    def __init__(
        self, container: InputContainer, run: int, host_and_port: str, counters: CaptureCounters | None = None
    ) -> None:
        """Choose the tracks. ``host_and_port`` is for errors. Raises :class:`~gateway.errors.NoVideoError`."""
        self.video = _choose_video(container, host_and_port)
        self.audio, self._audio_info = _choose_audio(container)
        self.info: StreamInfo | None = None
        """The stream at present; ``None`` before the first usable keyframe."""
        self._timeline = Timeline(counters)
        self._run = run
        self._codec = self.video.codec_context.name
        self._declared_rate = _plausible(self.video.average_rate)
        if self._declared_rate:
            self._timeline.expect(MediaKind.VIDEO, round(CLOCK_RATE / self._declared_rate))
        extradata = self.video.codec_context.extradata or b""
        self._sets: ParameterSets | None = find_parameter_sets(self._codec, extradata)
        self._time_base = self.video.time_base or Fraction(1, CLOCK_RATE)
        self._assembler = AccessUnitAssembler(self._codec, float(self._time_base), counters)
        self._reorder = 0
        self._has_reordered = False
        self._newest_pts: int | None = None

    @property
    def is_low_latency(self) -> bool:
        """Whether frames are passed on before the next one begins."""
        return self._assembler.is_low_latency

    @property
    def streams(self) -> list["av.VideoStream | av.AudioStream"]:
        """The tracks to demux."""
        return [self.video] if self.audio is None else [self.video, self.audio]

    def convert(self, raw: RawPacket, wall_90k: int, monotonic: float) -> Iterator[Packet]:
        """The packets that one of libav's completes, which arrived at these clocks."""
        arrival = ArrivalTime(wall_90k, monotonic)
        if raw.stream is self.audio:
            yield from self._convert_audio(raw, arrival)
            return
        for unit in self._assembler.push(bytes(raw), raw.pts, arrival):
            yield from self._convert_video(unit)

    def _convert_video(self, unit: AccessUnit) -> Iterator[Packet]:
        self._observe_order(unit)
        if unit.is_keyframe:
            self._read_parameter_sets(unit.data)
        time = SourceTime(unit.pts, None, self._time_base)
        times = self._timeline.timestamp(MediaKind.VIDEO, time, unit.arrival, self._reorder)
        if self.info is not None:
            yield self._packet(MediaKind.VIDEO, unit.data, times, is_keyframe=unit.is_keyframe, info=self.info)

    def _convert_audio(self, raw: RawPacket, arrival: ArrivalTime) -> Iterator[Packet]:
        time = SourceTime(raw.pts, raw.dts, raw.time_base or Fraction(1, CLOCK_RATE), raw.duration or 0)
        times = self._timeline.timestamp(MediaKind.AUDIO, time, arrival)
        if self.info is not None:
            yield self._packet(MediaKind.AUDIO, bytes(raw), times, is_keyframe=True, info=self.info)

    def _packet(
        self, kind: MediaKind, data: bytes, times: Timestamps, *, is_keyframe: bool, info: StreamInfo
    ) -> Packet:
        return Packet(
            kind=kind,
            data=data,
            pts_90k=times.pts_90k,
            dts_90k=times.dts_90k,
            duration_90k=times.duration_90k,
            is_keyframe=is_keyframe,
            captured_at_90k=times.captured_at_90k,
            info=info,
            run=self._run,
        )

    def _observe_order(self, unit: AccessUnit) -> None:
        """Notice where presentation order differs from decoding order."""
        if unit.pts is None:
            return
        if unit.is_keyframe or self._newest_pts is None:
            # A step back from GOP to GOP comes from the camera's clock, and not from a B-frame.
            self._newest_pts = unit.pts
            return
        back = self._newest_pts - unit.pts
        self._newest_pts = max(self._newest_pts, unit.pts)
        if 0 < back * self._time_base < MAX_REORDER_S:
            self._has_reordered = True
            self._reorder = self._reorder or UNDECLARED_REORDER

    def _read_parameter_sets(self, data: bytes) -> None:
        """Read from a keyframe what the stream is from here on."""
        sets = find_parameter_sets(self._codec, data) or self._sets
        if sets is None:
            return
        if self.info is not None and sets == self._sets:
            # A whole GOP was seen: what it did counts, and not what the SPS would have allowed.
            has_b_frames = self._has_reordered
            if has_b_frames == self.info.video.has_b_frames:
                return
            video = replace(self.info.video, has_b_frames=has_b_frames)
        else:
            video, sps = video_info(self._codec, sets, self._declared_rate)
            self._sets = sets
            self._reorder = sps.max_reorder or 0
            self._has_reordered = False
        self._reorder = self._reorder if video.has_b_frames else 0
        if video.frame_rate:
            self._timeline.expect(MediaKind.VIDEO, round(CLOCK_RATE / video.frame_rate))
        self.info = StreamInfo(video, self._audio_info)


def _choose_video(container: InputContainer, host_and_port: str) -> "av.VideoStream":
    """The first track with a codec that liveedge passes on."""
    for stream in container.streams.video:
        if _codec_name(stream) in VIDEO_CODECS:
            return stream
    names = ", ".join(filter(None, map(_codec_name, container.streams.video)))
    if names:
        raise NoVideoError(
            f"the camera at {host_and_port} sends {names}, and only H.264 and H.265 can be passed on; set its stream to"
            " H.264, or use CAPTURE_ENGINE=opencv, which encodes any codec as H.264"
        )
    raise NoVideoError(
        f"the camera at {host_and_port} sends no video; use the URL of a stream that has video, or switch it on"
    )


def _choose_audio(container: InputContainer) -> "tuple[av.AudioStream | None, AudioInfo | None]":
    """The first track that can be decoded (rule 4)."""
    for stream in container.streams.audio:
        codec = _codec_name(stream)
        extradata = stream.codec_context.extradata or b"" if codec else b""
        if not codec:
            continue
        string = aac.codec_string(extradata) if codec == "aac" else _CODEC_STRINGS.get(codec, codec)
        if string is None:
            continue
        context = stream.codec_context
        return stream, AudioInfo(codec, string, context.sample_rate or 0, context.channels, extradata)
    return None, None


def _codec_name(stream: "av.VideoStream | av.AudioStream") -> str | None:
    """libav's name of a track's codec, or ``None`` for one that it does not know."""
    context: av.CodecContext | None = stream.codec_context
    return None if context is None else context.name


def _plausible(rate: Fraction | None) -> Fraction | None:
    return rate if rate is not None and 1 <= rate <= MAX_FRAME_RATE else None
