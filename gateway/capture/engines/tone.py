"""Tone: the audio of the fake camera, a short tone at each whole second of its timeline."""

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np

from gateway.clock import CLOCK_RATE
from gateway.media import AudioInfo, MediaKind, Packet, StreamInfo

AUDIO_CODECS = {"aac": "aac", "1": "aac", "alaw": "pcm_alaw"}
"""libav's encoders, by their name in a URL."""

_PITCH_HZ = 880
_LENGTH_S = 0.08
_LOUDNESS = 0.1


class Tone:
    """AAC of 48 kHz or G.711 A-law of 8 kHz, mono."""

    def __init__(self, codec: str, run: int) -> None:
        self._run = run
        self._rate_hz = 48_000 if codec == "aac" else 8000
        context = av.CodecContext.create(codec, "w")
        assert isinstance(context, av.AudioCodecContext)
        context.sample_rate = self._rate_hz
        context.layout = "mono"
        context.format = "fltp" if codec == "aac" else "s16"
        context.time_base = Fraction(1, self._rate_hz)
        if codec == "aac":
            context.bit_rate = 64_000
            # The AudioSpecificConfig goes into the description and not into each frame, as in RTSP.
            context.flags |= av.codec.context.Flags.global_header
        context.open()
        self._context = context
        # 20 ms where the codec has no frame size, as in telephony.
        self._frame_samples = context.frame_size or self._rate_hz // 50
        self._sample = 0
        string = "mp4a.40.2" if codec == "aac" else "alaw"
        self.info = AudioInfo(codec, string, self._rate_hz, 1, bytes(context.extradata or b""))

    def until(self, pts_90k: int, captured_at_90k: int, info: StreamInfo) -> Iterator[Packet]:
        """The audio frames that end before a video frame's time, which was captured at ``captured_at_90k``."""
        while (self._sample + self._frame_samples) * CLOCK_RATE <= pts_90k * self._rate_hz:
            frame = self._frame()
            for raw in self._context.encode(frame):
                # The first frame of an AAC encoder is priming, before time 0.
                if raw.pts is None or raw.pts < 0:
                    continue
                at_90k = raw.pts * CLOCK_RATE // self._rate_hz
                yield Packet(
                    kind=MediaKind.AUDIO,
                    data=bytes(raw),
                    pts_90k=at_90k,
                    dts_90k=at_90k,
                    duration_90k=self._frame_samples * CLOCK_RATE // self._rate_hz,
                    is_keyframe=True,
                    captured_at_90k=captured_at_90k - (pts_90k - at_90k),
                    info=info,
                    run=self._run,
                )

    def _frame(self) -> av.AudioFrame:
        times = (self._sample + np.arange(self._frame_samples)) / self._rate_hz
        wave = np.where(times % 1 < _LENGTH_S, _LOUDNESS * np.sin(2 * np.pi * _PITCH_HZ * times), 0.0)
        samples = wave.astype(np.float32) if self._rate_hz == 48_000 else (wave * 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format=self._context.format.name, layout="mono")
        frame.sample_rate = self._rate_hz
        frame.pts = self._sample
        frame.time_base = Fraction(1, self._rate_hz)
        self._sample += self._frame_samples
        return frame
