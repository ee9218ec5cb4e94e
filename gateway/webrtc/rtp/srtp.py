"""SRTP in place: a whole batch of packets is copied, completed and encrypted in one buffer, without an object a packet.

pylibsrtp's ``Session.protect`` copies a packet in and out and makes new objects each time. The function
that it wraps, ``srtp_protect`` of libsrtp, encrypts in place. All viewers share one buffer: a batch is passed to the
kernel before the next one is made, and all of it happens on the event loop.
"""

from struct import Struct
from typing import Any

from pylibsrtp import Error as SrtpError
from pylibsrtp import Session

from gateway.webrtc.compat import new_bytes, new_length, srtp_context, srtp_protect, view_of
from gateway.webrtc.rtp.packets import GsoBatch, TransportFields

__all__ = ["OutboundSrtp", "SrtpBuffer", "SrtpError"]

BUFFER_BYTES = 65_536
"""One batch at most: the largest UDP datagram that the kernel splits into segments."""

_RTP_FIELDS = Struct("!HII")
"""Sequence number, timestamp, SSRC: bytes 2 to 12 of an RTP header (RFC 3550 §5.1)."""

_SLOT_SIZES_MAX = 64
"""Packet sizes whose slots are kept; nearly all batches have the full packet size."""


class SrtpBuffer:
    """The buffer, and pointers to where packets of one size begin in it."""

    def __init__(self) -> None:
        self.memory: Any = new_bytes(BUFFER_BYTES)
        self.view = view_of(self.memory)
        self.length: Any = new_length()
        self._slots: dict[int, list[tuple[Any, int]]] = {}

    def slots(self, segment_bytes: int, count: int) -> list[tuple[Any, int]]:
        """At least ``count`` pairs of a packet's address and the offset of its sequence number."""
        slots = self._slots.get(segment_bytes)
        if slots is None:
            if len(self._slots) >= _SLOT_SIZES_MAX:
                self._slots.clear()
            slots = self._slots[segment_bytes] = []
        while len(slots) < count:
            at = len(slots) * segment_bytes
            slots.append((self.memory + at, at + 2))
        return slots


class OutboundSrtp:
    """Encrypts what is sent to one viewer. Raises ``SrtpError`` if libsrtp refuses."""

    def __init__(self, session: Session, buffer: SrtpBuffer) -> None:
        self._session = session
        self._context: Any = srtp_context(session)
        self._buffer = buffer

    def protect_batch(
        self,
        batch: GsoBatch,
        sequence: int,
        timestamp: int,
        ssrc: int,
        transport: tuple[TransportFields, int] | None = None,
    ) -> memoryview:
        """A batch as SRTP. ``sequence`` is the first packet's. Valid until the next call for any viewer.

        ``transport`` has the template's ``transport_fields`` and the first packet's transport-wide sequence number.
        """
        buffer = self._buffer
        data, view, length, context = batch.data, buffer.view, buffer.length, self._context
        protect = srtp_protect
        timestamp &= 0xFFFFFFFF
        view[: len(data)] = data
        count, size = batch.count, batch.packet_bytes
        slots = buffer.slots(batch.segment_bytes, count)
        if transport is None:
            write_fields = _RTP_FIELDS.pack_into
            for place in range(count):
                write_fields(view, slots[place][1], (sequence + place) & 0xFFFF, timestamp, ssrc)
        else:
            (struct, block, element), first = transport
            write_all_fields = struct.pack_into
            for place in range(count):
                write_all_fields(
                    view,
                    slots[place][1],
                    (sequence + place) & 0xFFFF,
                    timestamp,
                    ssrc,
                    block,
                    element,
                    (first + place) & 0xFFFF,
                )
        for place in range(count - 1):
            length[0] = size
            if protect(context, slots[place][0], length):
                raise SrtpError("libsrtp refused to encrypt a packet")
        length[0] = batch.last_packet_bytes
        if protect(context, slots[count - 1][0], length):
            raise SrtpError("libsrtp refused to encrypt a packet")
        return view[: len(data)]

    def protect_packet(self, plain: bytes) -> memoryview:
        """One complete RTP packet as SRTP; valid until the next call for any viewer."""
        buffer = self._buffer
        buffer.view[: len(plain)] = plain
        buffer.length[0] = len(plain)
        if srtp_protect(self._context, buffer.memory, buffer.length):
            raise SrtpError("libsrtp refused to encrypt a packet")
        return buffer.view[: buffer.length[0]]

    def protect_rtcp(self, plain: bytes) -> bytes:
        """A compound RTCP packet as SRTCP."""
        return self._session.protect_rtcp(plain)
