"""RtspSound: frames of sound, with what they really are.

Rules:

1. The format of sound is that in which it comes, of those that are announced or that it brings itself.
2. AAC that cannot be decoded is dropped and counted (:mod:`gateway.capture.aac_sound`).
3. G.711 of another rate than 8 kHz, or of two channels, is what it shows itself to be
   (:mod:`gateway.capture.g711_rate`).
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from gateway.capture.aac_sound import AacSound
from gateway.capture.counters import CaptureCounters
from gateway.capture.g711_rate import PLAIN_HZ, G711Rate, may_be_plain
from gateway.codec import aac
from gateway.media import AudioInfo
from gateway.rtsp.depacketize import Depacketizer, Frame
from gateway.rtsp.depacketize.aac import AacDepacketizer
from gateway.rtsp.depacketize.audio import SamplesDepacketizer
from gateway.rtsp.depacketize.latm import LatmDepacketizer
from gateway.rtsp.formats import FRAME_S, AudioFormat, aac_info

HELD_FRAMES_MAX = 20
"""Of the first packet of G.711 by rule 3, whose rate the second one shows. None is dropped. Some last two seconds."""

log = logging.getLogger(__name__)


class RtspSound:
    """See the module. ``on_frame`` gets a frame, its arrival in monotonic seconds, what it is, and the time base of its
    timestamp."""

    def __init__(
        self, on_frame: Callable[[Frame, float, AudioInfo, Fraction], None], counters: CaptureCounters, camera_id: str
    ) -> None:
        self._on_frame = on_frame
        self._counters = counters
        self._camera_id = camera_id
        self._aac: AacSound | None = None
        self._in_band: tuple[bytes, AudioInfo | None] = (b"", None)
        """An AudioSpecificConfig that came with sound, and what it says."""

    def taker(self, format: AudioFormat, depacketizer: Depacketizer) -> Callable[[Frame, float], None]:
        """What takes the frames of a format, and when they came."""
        if isinstance(depacketizer, AacDepacketizer | LatmDepacketizer):
            return lambda frame, now: self._take_aac(frame, now, format, depacketizer)
        if may_be_plain(format.info) and isinstance(depacketizer, SamplesDepacketizer):
            return self._g711_taker(format, depacketizer)
        base = Fraction(1, format.clock_rate)
        return lambda frame, now: self._on_frame(frame, now, format.info, base)

    def _g711_taker(self, format: AudioFormat, depacketizer: SamplesDepacketizer) -> Callable[[Frame, float], None]:
        info, base = format.info, Fraction(1, format.clock_rate)
        plain = replace(info, sample_rate_hz=PLAIN_HZ, channels=1)
        plain_base = base * info.sample_rate_hz * info.channels / PLAIN_HZ
        rate = G711Rate(info)
        held: list[Frame] = []

        def take(frame: Frame, now: float) -> None:
            was_plain = rate.is_plain
            rate.note(frame.timestamp, len(frame.data), now)
            held.append(frame)
            if not rate.is_compared and len(held) < HELD_FRAMES_MAX:
                return
            if rate.is_plain and not was_plain:
                self._tell(plain)
                depacketizer.frame_bytes = int(FRAME_S * PLAIN_HZ)
            for each in held:
                self._on_frame(each, now, *((plain, plain_base) if rate.is_plain else (info, base)))
            held.clear()

        return take

    def _take_aac(
        self, frame: Frame, now: float, format: AudioFormat, depacketizer: AacDepacketizer | LatmDepacketizer
    ) -> None:
        if frame.config and frame.config != self._in_band[0]:
            self._in_band = frame.config, aac_info(frame.config)
        declared = (self._in_band[1] if frame.config else None) or format.info
        if self._aac is None or self._aac.declared != declared:
            self._aac = AacSound(declared, format.clock_rate)
        sound, info, dropped = self._aac, self._aac.info, self._aac.dropped
        frames = sound.take(frame, now)
        self._counters.packets_unreadable += sound.dropped - dropped
        if sound.info != info and (parsed := aac.parse_config(sound.info.extradata)) is not None:
            self._tell(sound.info)
            depacketizer.assume(parsed)
        for each in frames:
            self._on_frame(each, now, sound.info, Fraction(1, format.clock_rate))

    def _tell(self, info: AudioInfo) -> None:
        log.info("its sound is %s, which it does not say", info, extra={"camera": self._camera_id})
