"""An endless source of packets: a short piece of real H.264 (and AAC or G.711) in a loop, on a timeline of the test."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

import av
import numpy as np

from gateway.clock import CLOCK_RATE
from gateway.media import AudioInfo, MediaKind, Packet, StreamInfo, VideoInfo

START_90K = 1_795_287_000 * CLOCK_RATE
"""2026-11-21T18:50:00Z."""

AAC = AudioInfo("aac", "mp4a.40.2", 48_000, 1, b"\x11\x88\x56\xe5\x00")
PCMA = AudioInfo("pcm_alaw", "pcma", 8_000, 1)
PCMU = AudioInfo("pcm_mulaw", "pcmu", 8_000, 1)


@dataclass(frozen=True)
class Shape:
    """The settings of the camera. ``frame_90k`` is the time between two frames; a GOP has ``gop`` frames."""

    width: int = 160
    height: int = 120
    frame_90k: int = 6000
    gop: int = 30
    audio: AudioInfo | None = None

    @property
    def info(self) -> StreamInfo:
        """The same object for equal shapes, as an engine returns it."""
        return _info(self)


@dataclass
class PacketSource:
    """One run of a camera: each call of :meth:`frame` is the next frame. The test sets the times."""

    shape: Shape = field(default_factory=Shape)
    run: int = 1
    first_dts_90k: int = 0
    number: int = 0

    def frame(self, captured_at_90k: int, dts_90k: int | None = None, *, lead_90k: int = 0) -> Packet:
        """The next frame; its pts is ``lead_90k`` after its dts."""
        if dts_90k is None:
            dts_90k = self.first_dts_90k + self.number * self.shape.frame_90k
        data, is_keyframe = _loop(self.shape.width, self.shape.height, self.shape.gop)[self.number % self.shape.gop]
        self.number += 1
        duration_90k = self.shape.frame_90k
        pts_90k = dts_90k + lead_90k
        return Packet(
            MediaKind.VIDEO,
            data,
            pts_90k,
            dts_90k,
            duration_90k,
            is_keyframe,
            captured_at_90k,
            self.shape.info,
            self.run,
        )

    def frames(self, count: int, captured_at_90k: int = START_90K) -> Iterator[Packet]:
        """``count`` regular frames. The first frame of the run is captured at ``captured_at_90k``."""
        for _ in range(count):
            yield self.frame(captured_at_90k + self.number * self.shape.frame_90k)

    def with_sound(self, count: int, captured_at_90k: int = START_90K) -> Iterator[Packet]:
        """``count`` frames and the audio of the same time, in the order in which a camera sends them."""
        assert self.shape.audio is not None
        start_90k = self.first_dts_90k + self.number * self.shape.frame_90k
        end_90k = start_90k + count * self.shape.frame_90k
        sound = [packet for packet in self.sound(end_90k, captured_at_90k) if packet.pts_90k >= start_90k]
        yield from sorted([*self.frames(count, captured_at_90k), *sound], key=lambda packet: packet.dts_90k)

    def sound(self, until_90k: int, captured_at_90k: int = START_90K) -> Iterator[Packet]:
        """The audio packets of the run that begin before ``until_90k``, in the time of the run."""
        audio = self.shape.audio
        assert audio is not None
        samples = 1024 if audio.codec == "aac" else 160
        tones = _tone(audio)
        number = 0
        while (at_90k := number * samples * CLOCK_RATE // audio.sample_rate_hz) < until_90k - self.first_dts_90k:
            pts_90k = self.first_dts_90k + at_90k
            yield Packet(
                MediaKind.AUDIO,
                tones[number % len(tones)],
                pts_90k,
                pts_90k,
                samples * CLOCK_RATE // audio.sample_rate_hz,
                True,
                captured_at_90k + at_90k,
                self.shape.info,
                self.run,
            )
            number += 1


@cache
def _info(shape: Shape) -> StreamInfo:
    keyframe, _ = _loop(shape.width, shape.height, shape.gop)[0]
    units = [unit.rstrip(b"\0") for unit in keyframe.split(b"\0\0\1") if unit.strip(b"\0")]
    sets = [unit for unit in units if unit[0] & 0x1F in (7, 8)]
    video = VideoInfo(
        codec="h264",
        codec_string=f"avc1.{sets[0][1:4].hex()}",
        width=shape.width,
        height=shape.height,
        parameter_sets=b"".join(b"\0\0\0\1" + unit for unit in sets),
        frame_rate=Fraction(CLOCK_RATE, shape.frame_90k).limit_denominator(1001),
    )
    return StreamInfo(video, shape.audio)


@cache
def _loop(width: int, height: int, gop: int) -> tuple[tuple[bytes, bool], ...]:
    """One closed GOP; its last picture is the brightest."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, 15)
    encoder.gop_size = gop
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "threads": "1", "sc_threshold": "0"}
    packets: list[tuple[bytes, bool]] = []
    for number in range(gop):
        luma = np.full((height, width), 40 + 200 * number // gop, np.uint8)
        chroma = np.full((height // 2, width), 128, np.uint8)
        frame = av.VideoFrame.from_ndarray(np.vstack([luma, chroma]), "yuv420p")
        frame.pts = number
        packets.extend((bytes(packet), packet.is_keyframe) for packet in encoder.encode(frame))
    return tuple(packets)


@cache
def _tone(audio: AudioInfo) -> tuple[bytes, ...]:
    """A second of a sine, coded."""
    names = {"aac": "fltp", "pcm_alaw": "s16", "pcm_mulaw": "s16"}
    encoder = av.CodecContext.create(audio.codec, "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = audio.sample_rate_hz, "mono", names[audio.codec]
    size = 1024 if audio.codec == "aac" else 160
    coded: list[bytes] = []
    for number in range(audio.sample_rate_hz // size):
        phase = np.arange(number * size, (number + 1) * size) * 2 * np.pi * 440 / audio.sample_rate_hz
        wave = np.sin(phase) * 0.5
        samples = wave.astype(np.float32) if audio.codec == "aac" else (wave * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), names[audio.codec], "mono")
        frame.sample_rate, frame.pts = audio.sample_rate_hz, number * size
        coded.extend(bytes(packet) for packet in encoder.encode(frame))
    return tuple(coded)
