"""Sound over RTP whose packets are samples or frames and nothing else: G.711, G.722, G.726, L16, Opus (RFC 3551, 7587).

Some cameras send a second of samples at once. Such packets are split: consumers take sound when it is there, and frames
of at most :attr:`SamplesDepacketizer` ``frame_bytes`` keep it near its time.
"""

from collections.abc import Callable
from fractions import Fraction

from gateway.rtsp.depacketize import Frame
from gateway.rtsp.depacketize.sound_clock import SoundClock

PACKET_MAX_BYTES = 1 << 20
"""Five seconds of uncompressed stereo."""


class SamplesDepacketizer:
    """Codecs whose payload is a run of samples: payloads that follow each other are one.

    ``ticks_per_byte`` is the duration of a byte in the RTP clock. Frames have ``frame_bytes`` at most, a whole number
    of sample groups of the codec. While :attr:`joins` returns true, payloads are joined until they have as many; that
    is only possible where a decoder keeps no state (``can_join``). A frame costs the same, whatever its size.
    """

    def __init__(self, ticks_per_byte: Fraction | int, frame_bytes: int, *, can_join: bool = False) -> None:
        self.joins: Callable[[], bool] = lambda: False
        """Asked for each payload, whether the sound may wait."""
        self.malformed = 0
        """Payloads that were dropped for their form."""
        self._ticks_per_byte = ticks_per_byte.as_integer_ratio()
        self.frame_bytes = frame_bytes
        self._can_join = can_join
        self._clock = SoundClock()
        self._data = bytearray()
        self._start = 0
        self._follows_loss = False

    def push(self, payload: memoryview, timestamp: int, *, marker: bool, lost: int) -> list[Frame]:
        del marker
        if not payload:
            # It keeps a NAT open.
            return []
        if len(payload) > PACKET_MAX_BYTES:
            self.malformed += 1
            return []
        time = self._clock.time(timestamp, self._ticks(len(payload)), lost=lost)
        frames: list[Frame] = []
        if self._data and (lost or time != self._start + self._ticks(len(self._data))):
            frames += self._take(len(self._data))
        if not self._data:
            self._start, self._follows_loss = time, lost > 0
        self._data += payload
        while len(self._data) > self.frame_bytes:
            frames += self._take(self.frame_bytes)
        if len(self._data) == self.frame_bytes or not (self._can_join and self.joins()):
            frames += self._take(len(self._data))
        return frames

    def _ticks(self, size: int) -> int:
        ticks, octets = self._ticks_per_byte
        return size * ticks // octets

    def _take(self, size: int) -> list[Frame]:
        data = bytes(self._data[:size])
        del self._data[:size]
        frame = Frame(data, self._start, self._ticks(size), follows_loss=self._follows_loss)
        self._start, self._follows_loss = self._start + self._ticks(size), False
        return [frame]


class PacketDepacketizer:
    """Codecs whose payload is one frame: Opus (RFC 7587 §4.2). Its duration is in its bits, and nobody needs it."""

    def __init__(self) -> None:
        self.malformed = 0
        """Payloads that were dropped for their form."""

    def push(self, payload: memoryview, timestamp: int, *, marker: bool, lost: int) -> list[Frame]:
        del marker
        return [Frame(bytes(payload), timestamp, follows_loss=lost > 0)] if payload else []
