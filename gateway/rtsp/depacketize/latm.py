"""AAC over RTP as ``MP4A-LATM`` (RFC 6416 §6): one audioMuxElement, over one or several packets.

``cpresent`` of ``fmtp`` says whether the elements bring their configuration (StreamMuxConfig) in band. Its default is
yes, and cameras that do not write it mean no. So an element may have either form: that of the last one is tried first,
and the lengths in it have to fill it exactly.
"""

from gateway.codec import aac
from gateway.codec.bits import BitstreamError
from gateway.codec.latm import StreamMuxConfig, read_element
from gateway.rtsp.depacketize import Frame
from gateway.rtsp.depacketize.sound_clock import SoundClock

ELEMENT_MAX_BYTES = 64 * 1024
"""A second of AAC at eight times the usual bit rate."""


class LatmDepacketizer:
    """One track; see the module."""

    def __init__(self, clock_rate: int, mux: StreamMuxConfig | None = None, *, is_in_band: bool = False) -> None:
        """``mux`` is the ``config`` of ``fmtp``, if it has one that can be read."""
        self._clock_rate = clock_rate
        self._mux = mux
        self._is_in_band = is_in_band
        self._assumed: aac.AudioConfig | None = None
        self._clock = SoundClock()
        self._element = bytearray()
        self._is_skipping = False
        self.malformed = 0
        """Elements that were dropped for their form."""

    def assume(self, parsed: aac.AudioConfig) -> None:
        """The sound is this, whatever its description says."""
        self._assumed = parsed
        # What it has measured was of other frames.
        self._clock = SoundClock()

    def push(self, payload: memoryview, timestamp: int, *, marker: bool, lost: int) -> list[Frame]:
        if lost:
            self._element.clear()
            self._is_skipping = True
        if not self._is_skipping:
            self._element += payload
            if len(self._element) > ELEMENT_MAX_BYTES:
                self._element.clear()
                self._is_skipping = True
                self.malformed += 1
        if not marker:
            return []
        is_skipping, self._is_skipping = self._is_skipping, False
        element, self._element = bytes(self._element), bytearray()
        return [] if is_skipping or not element else self._frames(element, timestamp, lost)

    def _frames(self, element: bytes, timestamp: int, lost: int) -> list[Frame]:
        for is_in_band in (self._is_in_band, not self._is_in_band):
            try:
                mux, units = read_element(element, self._mux, is_in_band=is_in_band)
            except BitstreamError:
                continue
            self._mux, self._is_in_band = mux, is_in_band
            ticks = aac.ticks_per_frame(self._clock_rate, self._assumed or mux.parsed)
            time = self._clock.time(timestamp, len(units) * ticks, lost=lost)
            return [
                Frame(unit, time + number * ticks, ticks, follows_loss=lost > 0 and number == 0, config=mux.config)
                for number, unit in enumerate(units)
            ]
        self.malformed += 1
        return []
