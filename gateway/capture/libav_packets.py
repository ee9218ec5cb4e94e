"""PacketConverter: makes liveedge's packets of libav's: chooses the tracks, puts their pieces together.

The rules of the packets are those of :class:`~gateway.capture.packets.PacketBuilder`. Audio that cannot be decoded is
left out: AAC without its AudioSpecificConfig.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, TypeAlias

import av
from av.container import InputContainer

from gateway.capture import camera_errors
from gateway.capture.access_units import AccessUnitAssembler
from gateway.capture.counters import CaptureCounters
from gateway.capture.packets import VIDEO_CODECS, PacketBuilder
from gateway.capture.timeline import ArrivalTime, SourceTime
from gateway.capture.url import CameraUrl
from gateway.clock import CLOCK_RATE
from gateway.codec import aac
from gateway.media import AudioInfo, Packet, StreamInfo

RawPacket: TypeAlias = "av.Packet[Any]"

_CODEC_STRINGS = {"opus": "opus", "pcm_alaw": "alaw", "pcm_mulaw": "ulaw", "mp3": "mp4a.40.34"}
"""Sample entries of ISO media files (RFC 6381 §3.3). Other codecs go by libav's name."""


class PacketConverter:
    """The tracks of one opened source."""

    def __init__(
        self, container: InputContainer, run: int, url: CameraUrl, counters: CaptureCounters | None = None
    ) -> None:
        """Choose the tracks. ``url`` is for errors. Raises :class:`~gateway.errors.NoVideoError`."""
        self.video = _choose_video(container, url)
        self.audio, audio_info = _choose_audio(container)
        codec = self.video.codec_context.name
        self._time_base = self.video.time_base or Fraction(1, CLOCK_RATE)
        self._assembler = AccessUnitAssembler(codec, float(self._time_base), counters)
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
        return self._assembler.is_low_latency

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
            packet = self._builder.audio(bytes(raw), time, arrival)
            if packet is not None:
                yield packet
            return
        for unit in self._assembler.push(bytes(raw), raw.pts, arrival):
            packet = self._builder.video(
                unit.data, unit.pts, self._time_base, unit.arrival, is_keyframe=unit.is_keyframe
            )
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
