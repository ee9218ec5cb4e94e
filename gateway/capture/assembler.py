"""Assembler: libav's packets made into ours, by the rules of :mod:`gateway.media`.

Rules:

1. Nothing comes out before a video keyframe whose parameter sets are known, in-band or from the session description.
   In-band ones win: session descriptions go stale when a camera is reconfigured.
2. Parameter sets that change in a keyframe make a new :class:`~gateway.media.StreamInfo` from that keyframe on.
3. Whether a stream has B-frames is told by its presentation times. Its SPS is believed until a whole GOP was seen:
   cameras that could reorder and never do are many. Without B-frames, decoding time is presentation time.
4. Audio that nobody could decode, AAC without its AudioSpecificConfig, is left out.
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, TypeAlias

import av
from av.container import InputContainer

from gateway.capture.access_units import AccessUnit, AccessUnits
from gateway.capture.timeline import Arrival, SourceTime, Stamp, Timeline
from gateway.clock import CLOCK_RATE
from gateway.codec import aac
from gateway.codec.parameter_sets import ParameterSets, find_parameter_sets, video_info
from gateway.codec.sps import MAX_FRAME_RATE
from gateway.errors import NoVideoError
from gateway.media import AudioInfo, MediaKind, Packet, StreamInfo

RawPacket: TypeAlias = "av.Packet[Any]"

VIDEO_CODECS = frozenset({"h264", "hevc"})

_CODEC_STRINGS = {"opus": "opus", "pcm_alaw": "alaw", "pcm_mulaw": "ulaw", "mp3": "mp4a.40.34"}
"""Sample entries of ISO media files (RFC 6381 §3.3); others go by libav's name."""

MAX_REORDER_S = 1
"""A presentation time further back than this, in seconds, is a jump and no B-frame: 16 frames are the most (H.264
§A.3)."""

UNTOLD_REORDER = 2
"""Frames by which a stream with B-frames reorders that does not tell: as much as two levels of B-frames need."""


class Assembler:
    """The tracks of one opened source."""

    def __init__(self, container: InputContainer, run: int, where: str) -> None:
        """Choose the tracks. ``where`` names the camera in errors. Raises :class:`~gateway.errors.NoVideoError`."""
        self.video = _choose_video(container, where)
        self.audio, self._audio_info = _choose_audio(container)
        self.info: StreamInfo | None = None
        """The stream at present; ``None`` before the first usable keyframe."""
        self.timeline = Timeline()
        self._run = run
        self._codec = self.video.codec_context.name
        self._declared_rate = _plausible(self.video.average_rate)
        if self._declared_rate:
            self.timeline.expect(MediaKind.VIDEO, round(CLOCK_RATE / self._declared_rate))
        extradata = self.video.codec_context.extradata or b""
        self._sets: ParameterSets | None = find_parameter_sets(self._codec, extradata)
        self._time_base = self.video.time_base or Fraction(1, CLOCK_RATE)
        self._units = AccessUnits(self._codec, float(self._time_base))
        self._reorder = 0
        self._order_seen = False
        self._newest_pts: int | None = None

    @property
    def is_prompt(self) -> bool:
        """Whether pictures are let go before the next one begins."""
        return self._units.is_trusted

    @property
    def streams(self) -> list["av.VideoStream | av.AudioStream"]:
        """What is to be demuxed."""
        return [self.video] if self.audio is None else [self.video, self.audio]

    def assemble(self, raw: RawPacket, wall_90k: int, monotonic: float) -> Iterator[Packet]:
        """Our packets of one of libav's, which arrived at these clocks: none before a keyframe or in mid-picture."""
        arrival = Arrival(wall_90k, monotonic)
        if raw.stream is self.audio:
            yield from self._assemble_audio(raw, arrival)
            return
        for unit in self._units.push(bytes(raw), raw.pts, arrival):
            yield from self._assemble_video(unit)

    def _assemble_video(self, unit: AccessUnit) -> Iterator[Packet]:
        self._observe_order(unit)
        if unit.is_keyframe:
            self._read_parameter_sets(unit.data)
        time = SourceTime(unit.pts, None, self._time_base)
        stamp = self.timeline.stamp(MediaKind.VIDEO, time, unit.arrival, self._reorder)
        if self.info is not None:
            yield self._packet(MediaKind.VIDEO, unit.data, stamp, is_keyframe=unit.is_keyframe, info=self.info)

    def _assemble_audio(self, raw: RawPacket, arrival: Arrival) -> Iterator[Packet]:
        time = SourceTime(raw.pts, raw.dts, raw.time_base or Fraction(1, CLOCK_RATE), raw.duration or 0)
        stamp = self.timeline.stamp(MediaKind.AUDIO, time, arrival)
        if self.info is not None:
            yield self._packet(MediaKind.AUDIO, bytes(raw), stamp, is_keyframe=True, info=self.info)

    def _packet(self, kind: MediaKind, data: bytes, stamp: Stamp, *, is_keyframe: bool, info: StreamInfo) -> Packet:
        return Packet(
            kind=kind,
            data=data,
            pts_90k=stamp.pts_90k,
            dts_90k=stamp.dts_90k,
            duration_90k=stamp.duration_90k,
            is_keyframe=is_keyframe,
            captured_at_90k=stamp.captured_at_90k,
            info=info,
            run=self._run,
        )

    def _observe_order(self, unit: AccessUnit) -> None:
        """See whether presentation order differs from decoding order."""
        if unit.pts is None:
            return
        if unit.is_keyframe or self._newest_pts is None:
            # What steps back from GOP to GOP is the camera's clock, and no B-frame.
            self._newest_pts = unit.pts
            return
        back = self._newest_pts - unit.pts
        self._newest_pts = max(self._newest_pts, unit.pts)
        if 0 < back * self._time_base < MAX_REORDER_S:
            self._order_seen = True
            self._reorder = self._reorder or UNTOLD_REORDER

    def _read_parameter_sets(self, data: bytes) -> None:
        """Learn from a keyframe what the stream is from here on."""
        sets = find_parameter_sets(self._codec, data) or self._sets
        if sets is None:
            return
        if self.info is not None and sets == self._sets:
            # A whole GOP has passed: what was seen counts, and what the SPS would have allowed does not.
            has_b_frames = self._order_seen
            if has_b_frames == self.info.video.has_b_frames:
                return
            video = replace(self.info.video, has_b_frames=has_b_frames)
        else:
            video, sps = video_info(self._codec, sets, self._declared_rate)
            self._sets = sets
            self._reorder = sps.max_reorder or 0
            self._order_seen = False
        self._reorder = self._reorder if video.has_b_frames else 0
        if video.frame_rate:
            self.timeline.expect(MediaKind.VIDEO, round(CLOCK_RATE / video.frame_rate))
        self.info = StreamInfo(video, self._audio_info)


def _choose_video(container: InputContainer, where: str) -> "av.VideoStream":
    """The first track that liveedge carries."""
    for stream in container.streams.video:
        if _codec_name(stream) in VIDEO_CODECS:
            return stream
    names = ", ".join(filter(None, map(_codec_name, container.streams.video)))
    if names:
        raise NoVideoError(
            f"the camera at {where} sends {names}, and only H.264 and H.265 can be passed on; set its stream to H.264,"
            " or use CAPTURE_ENGINE=opencv, which makes H.264 of anything"
        )
    raise NoVideoError(f"the camera at {where} sends no video; take the URL of a stream that has some, or switch it on")


def _choose_audio(container: InputContainer) -> "tuple[av.AudioStream | None, AudioInfo | None]":
    """The first track that can be described; AAC without its AudioSpecificConfig cannot be decoded by anyone."""
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
