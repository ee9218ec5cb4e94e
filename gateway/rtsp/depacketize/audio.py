"""Audio over RTP: AAC (RFC 3640, RFC 6416), and codecs whose packets are frames (RFC 3551, RFC 7587)."""

from collections.abc import Callable
from fractions import Fraction

from gateway.codec.bits import BitReader, BitstreamError
from gateway.rtsp.depacketize import Frame

AAC_FRAME = 1024
"""Samples of an AAC frame (ISO/IEC 14496-3 §4.5.1.1), in which RTP clocks of AAC count."""

AAC_FRAME_MAX_BYTES = 8192
"""6144 bits a channel and eight channels (§4.5.1.1), doubled."""

FRAMES_MAX = 64
"""Frames of one packet: more than a second of AAC."""

ADTS_HEADER_BYTES = 7


class PacketAudioDepacketizer:
    """Codecs whose RTP payload is a frame or a run of samples: G.711, G.722, G.726, L16, Opus.

    ``ticks_per_byte`` gives the duration of a payload: a byte of G.711 is one tick of its clock. It is 0 for a codec
    whose frames have no fixed ratio of bytes to time.
    """

    def __init__(self, ticks_per_byte: Fraction | int) -> None:
        self._ticks_per_byte = Fraction(ticks_per_byte)
        self.malformed = 0
        """Payloads that were dropped for their form."""

    def push(self, payload: memoryview, timestamp: int, *, marker: bool, lost: int) -> list[Frame]:
        del marker
        if not payload:
            return []
        duration = int(len(payload) * self._ticks_per_byte)
        return [Frame(bytes(payload), timestamp, duration, follows_loss=lost > 0)]


class G711Depacketizer:
    """G.711 (RFC 3551 §4.5.14), whose payload is samples and nothing else: payloads that follow each other are one.

    While :attr:`joins` returns true, payloads are joined until they last ``join_ticks`` in units of the RTP clock. A
    frame costs the same, whatever its size.
    """

    def __init__(self, channels: int, join_ticks: int) -> None:
        self.joins: Callable[[], bool] = lambda: False
        """Asked for each payload, whether the sound may wait."""
        self.malformed = 0
        """Payloads that were dropped for their form."""
        self._channels = channels
        self._join_ticks = join_ticks
        self._data = bytearray()
        self._start = 0
        self._follows_loss = False

    def push(self, payload: memoryview, timestamp: int, *, marker: bool, lost: int) -> list[Frame]:
        del marker
        if not payload:
            return []
        frames: list[Frame] = []
        if self._data and (lost or timestamp != self._start + len(self._data) // self._channels):
            frames.append(self._frame())
        if not self._data:
            self._start, self._follows_loss = timestamp, lost > 0
        self._data += payload
        if not self.joins() or len(self._data) >= self._join_ticks * self._channels:
            frames.append(self._frame())
        return frames

    def _frame(self) -> Frame:
        data, self._data = bytes(self._data), bytearray()
        return Frame(data, self._start, len(data) // self._channels, follows_loss=self._follows_loss)


class AacDepacketizer:
    """MPEG-4 AAC in ``mpeg4-generic`` packets (RFC 3640 §3.2, §3.3.6).

    ``size_bits``, ``index_bits`` and ``delta_bits`` are ``sizelength``, ``indexlength`` and ``indexdeltalength`` of
    ``fmtp``; their defaults are those of AAC-hbr, which is what cameras send, also where they forget to say so.
    ``ticks_per_frame`` is the duration of a frame in the track's RTP clock.
    """

    def __init__(
        self, *, size_bits: int = 13, index_bits: int = 3, delta_bits: int = 3, ticks_per_frame: int = AAC_FRAME
    ) -> None:
        self._size_bits = size_bits
        self._index_bits = index_bits
        self._delta_bits = delta_bits
        self._ticks_per_frame = ticks_per_frame
        self._fragment = bytearray()
        self._fragment_size = 0
        self._fragment_time = 0
        self.malformed = 0
        """Payloads that were dropped for their form."""

    def push(self, payload: memoryview, timestamp: int, *, marker: bool, lost: int) -> list[Frame]:
        if lost:
            self._fragment.clear()
        if len(payload) >= ADTS_HEADER_BYTES and payload[0] == 0xFF and payload[1] & 0xF6 == 0xF0:
            # Against RFC 3640, some cameras send ADTS frames as they are.
            return self._adts(payload, timestamp, lost)
        try:
            sizes, start = self._headers(payload)
        except BitstreamError:
            self.malformed += 1
            return []
        data = payload[start:]
        if len(sizes) == 1 and (sizes[0] > len(data) or self._fragment):
            return self._add_fragment(data, sizes[0], timestamp, marker=marker, lost=lost)
        self._fragment.clear()
        frames: list[Frame] = []
        place = 0
        for number, size in enumerate(sizes):
            if size == 0 or place + size > len(data):
                self.malformed += 1
                break
            time = timestamp + number * self._ticks_per_frame
            unit = _without_adts(data[place : place + size])
            frames.append(Frame(bytes(unit), time, self._ticks_per_frame, follows_loss=lost > 0 and not frames))
            place += size
        return frames

    def _headers(self, payload: memoryview) -> tuple[list[int], int]:
        """The sizes of the access units in a packet, and where the first begins (RFC 3640 §3.2.1)."""
        if len(payload) < 2:
            raise BitstreamError("it ends too early")
        bits_left = payload[0] << 8 | payload[1]
        start = 2 + (bits_left + 7) // 8
        if start > len(payload):
            raise BitstreamError("it ends too early")
        bits = BitReader(bytes(payload[2:start]), has_emulation_prevention=False)
        sizes: list[int] = []
        while len(sizes) < FRAMES_MAX:
            need = self._size_bits + (self._delta_bits if sizes else self._index_bits)
            if bits_left < need or need == 0:
                break
            bits_left -= need
            sizes.append(bits.u(self._size_bits))
            bits.u(need - self._size_bits)
        if not sizes:
            raise BitstreamError("no access unit")
        return sizes, start

    def _add_fragment(self, data: memoryview, size: int, timestamp: int, *, marker: bool, lost: int) -> list[Frame]:
        """A frame over several packets, each with the size of the whole (RFC 3640 §3.2.3)."""
        if size > AAC_FRAME_MAX_BYTES:
            self.malformed += 1
            return []
        if not self._fragment or timestamp != self._fragment_time:
            self._fragment.clear()
            self._fragment_size, self._fragment_time = size, timestamp
        self._fragment += data
        if len(self._fragment) < self._fragment_size and not marker:
            return []
        frame = bytes(self._fragment[: self._fragment_size])
        is_whole = len(self._fragment) >= self._fragment_size
        self._fragment.clear()
        if not is_whole:
            self.malformed += 1
            return []
        return [Frame(frame, timestamp, self._ticks_per_frame, follows_loss=lost > 0)]

    def _adts(self, payload: memoryview, timestamp: int, lost: int) -> list[Frame]:
        frames: list[Frame] = []
        place = 0
        while place + ADTS_HEADER_BYTES <= len(payload) and len(frames) < FRAMES_MAX:
            size = (payload[place + 3] & 3) << 11 | payload[place + 4] << 3 | payload[place + 5] >> 5
            if payload[place] != 0xFF or size < ADTS_HEADER_BYTES or place + size > len(payload):
                self.malformed += 1
                break
            time = timestamp + len(frames) * self._ticks_per_frame
            unit = _without_adts(payload[place : place + size])
            frames.append(Frame(bytes(unit), time, self._ticks_per_frame, follows_loss=lost > 0 and not frames))
            place += size
        return frames


class LatmDepacketizer:
    """MPEG-4 AAC in ``MP4A-LATM`` packets (RFC 6416 §6): one audioMuxElement, over one or several packets.

    Only what cameras send is read: one program, one layer, ``StreamMuxConfig`` out of band (``cpresent=0``).
    """

    def __init__(self, ticks_per_frame: int = AAC_FRAME) -> None:
        self._ticks_per_frame = ticks_per_frame
        self._element = bytearray()
        self._is_skipping = False
        self.malformed = 0
        """Elements that were dropped for their form."""

    def push(self, payload: memoryview, timestamp: int, *, marker: bool, lost: int) -> list[Frame]:
        if lost:
            self._element.clear()
            self._is_skipping = True
        if not self._is_skipping:
            self._element += payload
            if len(self._element) > FRAMES_MAX * AAC_FRAME_MAX_BYTES:
                self._element.clear()
                self._is_skipping = True
                self.malformed += 1
        if not marker:
            return []
        is_skipping, self._is_skipping = self._is_skipping, False
        element, self._element = self._element, bytearray()
        return [] if is_skipping else self._frames(element, timestamp, lost)

    def _frames(self, element: bytearray, timestamp: int, lost: int) -> list[Frame]:
        frames: list[Frame] = []
        place = 0
        while place < len(element) and len(frames) < FRAMES_MAX:
            # PayloadLengthInfo (ISO/IEC 14496-3 §1.7.3.1): bytes of 255, and a smaller one.
            size = 0
            while place < len(element) and element[place] == 255:
                size, place = size + 255, place + 1
            if place >= len(element):
                self.malformed += 1
                break
            size, place = size + element[place], place + 1
            if size == 0 or place + size > len(element):
                self.malformed += 1
                break
            time = timestamp + len(frames) * self._ticks_per_frame
            data = bytes(element[place : place + size])
            frames.append(Frame(data, time, self._ticks_per_frame, follows_loss=lost > 0 and not frames))
            place += size
        return frames


def _without_adts(frame: memoryview) -> memoryview:
    """A frame without the ADTS header that some cameras leave before it."""
    if len(frame) > ADTS_HEADER_BYTES and frame[0] == 0xFF and frame[1] & 0xF6 == 0xF0:
        size = (frame[3] & 3) << 11 | frame[4] << 3 | frame[5] >> 5
        if size == len(frame):
            return frame[ADTS_HEADER_BYTES if frame[1] & 1 else ADTS_HEADER_BYTES + 2 :]
    return frame
