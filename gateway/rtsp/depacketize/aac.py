"""AAC over RTP as ``mpeg4-generic`` (RFC 3640), and as ADTS, which some cameras send in its place.

Rules:

1. A payload says by its own lengths how it is packed: access units that fill it exactly. The packings are tried in the
   order of :class:`_Packing`, the one that fitted last first, because not all cameras do as their ``fmtp`` says.
2. A payload that fits none is a part of an access unit, if its header says so (RFC 3640 §3.2.3). Otherwise it is
   dropped, unless nothing has fitted yet for :data:`TRIAL` payloads: then such a camera sends access units alone.
3. What ADTS says of the sound is passed on (:attr:`~gateway.rtsp.depacketize.Frame.config`): it is in the stream, and
   the session description is often wrong or has nothing.
"""

from enum import Enum

from gateway.codec import aac
from gateway.codec.bits import BitReader, BitstreamError
from gateway.rtsp.depacketize import Frame
from gateway.rtsp.depacketize.sound_clock import SoundClock

AAC_FRAME = 1024
"""Samples of an AAC frame (ISO/IEC 14496-3 §4.5.1.1), in which RTP clocks of AAC count."""

AAC_FRAME_MAX_BYTES = 8192
"""6144 bits a channel and eight channels (§4.5.1.1), doubled."""

FRAMES_MAX = 64
"""Frames of one packet: more than a second of AAC."""

TRIAL = 3
"""Rule 2."""

ADTS_HEADER_BYTES = 7


class _Packing(Enum):
    """How access units lie in a payload."""

    BITS = 1
    """RFC 3640: AU-headers-length counts bits."""
    BYTES = 2
    """The same with a length in bytes."""
    BARE = 3
    """An access unit and nothing else, as where ``fmtp`` has no lengths (§3.2.1: then there is no header section)."""


class AacDepacketizer:
    """MPEG-4 AAC in ``mpeg4-generic`` packets (RFC 3640 §3.2, §3.3.6); see the module.

    ``size_bits``, ``index_bits`` and ``delta_bits`` are ``sizelength``, ``indexlength`` and ``indexdeltalength`` of
    ``fmtp``; their defaults are those of AAC-hbr, which is what cameras send, also where they forget to say so.
    ``ticks_per_frame`` is the duration of a frame in the track's RTP clock of ``clock_rate``. ``has_headers`` tells
    whether ``fmtp`` says any of the lengths.
    """

    def __init__(
        self,
        *,
        size_bits: int = 13,
        index_bits: int = 3,
        delta_bits: int = 3,
        ticks_per_frame: int = AAC_FRAME,
        clock_rate: int = 0,
        has_headers: bool = True,
    ) -> None:
        self._size_bits = size_bits
        self._index_bits = index_bits
        self._delta_bits = delta_bits
        self._ticks_per_frame = ticks_per_frame
        self._clock_rate = clock_rate
        self._clock = SoundClock()
        self._packing: _Packing | None = None
        self._misfits = 0 if has_headers else TRIAL
        self._marks = False
        """Whether a marker was ever set: some cameras set none."""
        self._bare = bytearray()
        """The parts of an access unit without headers."""
        self._fragment = bytearray()
        self._fragment_size = 0
        self._fragment_time = 0
        self._follows_loss = False
        self.malformed = 0
        """Payloads that were dropped for their form."""

    def assume(self, parsed: aac.AudioConfig) -> None:
        """The sound is this, whatever its description says."""
        self._ticks_per_frame = aac.ticks_per_frame(self._clock_rate, parsed)
        # What it has measured was of other frames.
        self._clock = SoundClock()

    def push(self, payload: memoryview, timestamp: int, *, marker: bool, lost: int) -> list[Frame]:
        if lost:
            self._fragment.clear()
            self._bare.clear()
            self._follows_loss = True
        if not payload:
            # It keeps a NAT open.
            return []
        self._marks |= marker
        if self._packing is _Packing.BARE and self._marks:
            payload = self._joined(payload)
            if not marker:
                return []
            self._bare.clear()
        if _is_adts(payload) and not self._fragment:
            # Against RFC 3640, some cameras send ADTS frames as they are.
            return self._frames(_adts_units(payload), timestamp)
        units = self._units(payload)
        if units is not None:
            self._fragment.clear()
            return self._frames(units, timestamp)
        fragment = self._fragment_of(payload)
        if fragment is not None:
            return self._add_fragment(*fragment, timestamp, marker=marker)
        self._fragment.clear()
        self.malformed += 1
        if self._packing is None:
            self._misfits += 1
        return []

    def _joined(self, payload: memoryview) -> memoryview:
        """A payload behind the parts of its access unit that came before it."""
        self._bare += payload
        joined = memoryview(bytes(self._bare))
        if len(joined) > AAC_FRAME_MAX_BYTES:
            self._bare.clear()
        return joined

    def _units(self, payload: memoryview) -> list[memoryview] | None:
        """The access units of a payload, by the packing that fits (rule 1)."""
        if self._fragment:
            return None
        order = [packing for packing in _Packing if packing is not self._packing]
        for packing in order if self._packing is None else [self._packing, *order]:
            if packing is _Packing.BARE:
                if self._packing is packing or (self._packing is None and self._misfits >= TRIAL):
                    self._packing = packing
                    return [payload] if len(payload) <= AAC_FRAME_MAX_BYTES else None
                continue
            units = self._by_headers(payload, in_bytes=packing is _Packing.BYTES)
            if units is not None:
                self._packing = packing
                return units
        return None

    def _by_headers(self, payload: memoryview, *, in_bytes: bool) -> list[memoryview] | None:
        """The access units if they fill the payload exactly."""
        try:
            sizes, place = self._headers(payload, in_bytes=in_bytes)
        except BitstreamError:
            return None
        if place + sum(sizes) != len(payload) or not all(sizes):
            return None
        units: list[memoryview] = []
        for size in sizes:
            units.append(payload[place : place + size])
            place += size
        return units

    def _headers(self, payload: memoryview, *, in_bytes: bool) -> tuple[list[int], int]:
        """The sizes of the access units in a packet, and where the first begins (RFC 3640 §3.2.1)."""
        if len(payload) < 2:
            raise BitstreamError("it ends too early")
        bits_left = (payload[0] << 8 | payload[1]) * (8 if in_bytes else 1)
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

    def _fragment_of(self, payload: memoryview) -> tuple[memoryview, int] | None:
        """A part of an access unit, and the size of the whole, which each part repeats (RFC 3640 §3.2.3)."""
        for in_bytes in (False, True):
            try:
                sizes, start = self._headers(payload, in_bytes=in_bytes)
            except BitstreamError:
                continue
            is_part = len(sizes) == 1 and (sizes[0] > len(payload) - start or bool(self._fragment))
            if is_part and 0 < sizes[0] <= AAC_FRAME_MAX_BYTES:
                return payload[start:], sizes[0]
        return None

    def _add_fragment(self, data: memoryview, size: int, timestamp: int, *, marker: bool) -> list[Frame]:
        if not self._fragment or timestamp != self._fragment_time:
            self._fragment.clear()
            self._fragment_size, self._fragment_time = size, timestamp
        self._fragment += data
        if len(self._fragment) < self._fragment_size and not marker:
            return []
        unit = memoryview(bytes(self._fragment[: self._fragment_size]))
        is_whole = len(self._fragment) >= self._fragment_size
        self._fragment.clear()
        if not is_whole:
            self.malformed += 1
            return []
        return self._frames([unit], timestamp)

    def _frames(self, units: list[memoryview], timestamp: int) -> list[Frame]:
        follows_loss, self._follows_loss = self._follows_loss, False
        found: list[tuple[bytes, bytes]] = []
        for unit in units[:FRAMES_MAX]:
            config, frame = _without_adts(unit)
            if config:
                parsed = aac.parse_config(config)
                if parsed is not None and self._clock_rate:
                    self._ticks_per_frame = aac.ticks_per_frame(self._clock_rate, parsed)
            if frame:
                found.append((frame, config))
        if not found:
            self.malformed += 1
            return []
        time = self._clock.time(timestamp, len(found) * self._ticks_per_frame, lost=follows_loss)
        return [
            Frame(
                frame,
                time + number * self._ticks_per_frame,
                self._ticks_per_frame,
                follows_loss=follows_loss and number == 0,
                config=config,
            )
            for number, (frame, config) in enumerate(found)
        ]


def _is_adts(data: memoryview) -> bool:
    return len(data) > ADTS_HEADER_BYTES and data[0] == 0xFF and data[1] & 0xF6 == 0xF0


def _adts_bytes(data: memoryview) -> int:
    """``aac_frame_length`` (ISO/IEC 14496-3 §1.A.2.2)."""
    return (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5


def _adts_units(payload: memoryview) -> list[memoryview]:
    """The ADTS frames in a payload; what does not begin one is left out."""
    units: list[memoryview] = []
    while _is_adts(payload) and ADTS_HEADER_BYTES < _adts_bytes(payload) <= len(payload):
        size = _adts_bytes(payload)
        units.append(payload[:size])
        payload = payload[size:]
    return units


def _without_adts(unit: memoryview) -> tuple[bytes, bytes]:
    """AudioSpecificConfig and frame of an access unit before which an ADTS header was left; no config without one."""
    if not _is_adts(unit) or _adts_bytes(unit) != len(unit):
        return b"", bytes(unit)
    # profile, sampling_frequency_index and channel_configuration are fields of the AudioSpecificConfig as they are.
    value = ((unit[2] >> 6) + 1) << 11 | (unit[2] >> 2 & 15) << 7 | ((unit[2] & 1) << 2 | unit[3] >> 6) << 3
    return value.to_bytes(2, "big"), bytes(unit[ADTS_HEADER_BYTES + (0 if unit[1] & 1 else 2) :])
