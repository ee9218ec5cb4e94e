"""PacketConverter: makes liveedge's packets of libav's: chooses the tracks, puts their pieces together.

RTSP comes in RTP payloads, which are put together here (:mod:`gateway.capture.access_units`). Everything else comes in
whole frames, in Annex B or with lengths (``avcC``, ``hvcC``), which libav's own filter converts.

The rules of the packets are those of :class:`~gateway.capture.packets.PacketBuilder`. Audio that cannot be decoded is
left out: AAC without its AudioSpecificConfig.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, TypeAlias

import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer

from gateway.capture import camera_errors
from gateway.capture.access_units import AccessUnitAssembler
from gateway.capture.counters import CaptureCounters
from gateway.capture.packets import SIZE_OF, VIDEO_CODECS, PacketBuilder, begins_anew
from gateway.capture.timeline import ArrivalTime, SourceTime
from gateway.capture.url import CameraUrl
from gateway.clock import CLOCK_RATE
from gateway.codec import aac, av1
from gateway.media import AudioInfo, Packet, StreamInfo

RawPacket: TypeAlias = "av.Packet[Any]"

_CODEC_STRINGS = {"opus": "opus", "pcm_alaw": "alaw", "pcm_mulaw": "ulaw", "mp3": "mp4a.40.34"}
"""Sample entries of ISO media files (RFC 6381 §3.3). Other codecs go by libav's name."""


class PacketConverter:
    """The tracks of one opened source."""

    def __init__(
        self,
        container: InputContainer,
        run: int,
        url: CameraUrl,
        counters: CaptureCounters | None = None,
        *,
        has_whole_frames: bool = False,
    ) -> None:
        """Choose the tracks. ``url`` is for errors. Raises :class:`~gateway.errors.NoVideoError`."""
        self.video = _choose_video(container, url)
        self.audio, audio_info = _choose_audio(container)
        codec = _codec_name(self.video) or ""
        self._codec = codec
        self._time_base = self.video.time_base or Fraction(1, CLOCK_RATE)
        self._assembler = None if codec in SIZE_OF else AccessUnitAssembler(codec, float(self._time_base), counters)
        """``None`` for codecs of which libav makes whole pictures in any case."""
        self._has_whole_frames = has_whole_frames
        self._annexb: BitStreamFilterContext | None = None
        if has_whole_frames and codec not in SIZE_OF:
            self._annexb = BitStreamFilterContext(f"{codec}_mp4toannexb", self.video)
        self._builder = PacketBuilder(
            codec,
            run,
            parameter_sets=self.video.codec_context.extradata or b"",
            frame_rate=self.video.average_rate,
            audio=audio_info,
            counters=counters,
        )

    @property
    def info(self) -> StreamInfo | None:
        """The stream at present; ``None`` before the first usable keyframe."""
        return self._builder.info

    @property
    def is_low_latency(self) -> bool:
        """Whether frames are passed on before the next one begins."""
        return self._assembler is not None and self._assembler.is_low_latency

    @property
    def streams(self) -> list["av.VideoStream | av.AudioStream"]:
        """The tracks to demux."""
        return [self.video] if self.audio is None else [self.video, self.audio]

    def convert(self, raw: RawPacket, wall_90k: int, monotonic: float) -> Iterator[Packet]:
        """The packets that one of libav's completes, which arrived at these clocks."""
        arrival = ArrivalTime(wall_90k, monotonic)
        packet: Packet | None
        if raw.stream is self.audio:
            time = SourceTime(raw.pts, raw.dts, raw.time_base or Fraction(1, CLOCK_RATE), raw.duration or 0)
            data = aac.without_adts(bytes(raw)) if self._has_whole_frames else bytes(raw)
            packet = self._builder.audio(data, time, arrival)
            if packet is not None:
                yield packet
            return
        if self._annexb is not None:
            yield from self._whole_frames(self._annexb, raw, arrival)
            return
        if self._assembler is None:
            data = bytes(raw)
            is_keyframe = begins_anew(self._codec, data)
            packet = self._builder.video(data, raw.pts, self._time_base, arrival, is_keyframe=is_keyframe)
            if packet is not None:
                yield packet
            return
        for unit in self._assembler.push(bytes(raw), raw.pts, arrival):
            packet = self._builder.video(
                unit.data, unit.pts, self._time_base, unit.arrival, is_keyframe=unit.is_keyframe
            )
            if packet is not None:
                yield packet

    def _whole_frames(self, annexb: BitStreamFilterContext, raw: RawPacket, arrival: ArrivalTime) -> Iterator[Packet]:
        for each in annexb.filter(raw):
            packet = self._builder.video(bytes(each), each.pts, self._time_base, arrival, is_keyframe=each.is_keyframe)
            if packet is not None:
                yield packet


def _choose_video(container: InputContainer, url: CameraUrl) -> "av.VideoStream":
    """The first track with a codec that liveedge passes on."""
    for stream in container.streams.video:
        if _codec_name(stream) in VIDEO_CODECS:
            return stream
    names = ", ".join(filter(None, map(_codec_name, container.streams.video)))
    raise camera_errors.unusable_codec(url, names)


def _choose_audio(container: InputContainer) -> "tuple[av.AudioStream | None, AudioInfo | None]":
    """The first track that can be decoded (rule 4)."""
    for stream in container.streams.audio:
        codec = _codec_name(stream)
        if not codec:
            continue
        extradata = stream.codec_context.extradata or b""
        if codec == "aac" and not extradata:
            # MPEG-TS has it in the header of each frame, and libav has read one.
            extradata = aac.config_of(stream.codec_context.sample_rate or 0, stream.codec_context.channels)
        string = aac.codec_string(extradata) if codec == "aac" else _CODEC_STRINGS.get(codec, codec)
        if string is None:
            continue
        context = stream.codec_context
        return stream, AudioInfo(codec, string, context.sample_rate or 0, context.channels, extradata)
    return None, None


def _codec_name(stream: "av.VideoStream | av.AudioStream") -> str | None:
    """libav's name of a track's codec, or ``None`` for one that it does not know."""
    context: av.CodecContext | None = stream.codec_context
    return None if context is None else av1.LIBAV_DECODERS.get(context.name, context.name)
