"""SRTP in place: whole bursts of packets are copied, stamped and encrypted in one buffer, without an object a packet.

pylibsrtp's ``Session.protect`` copies a packet in and out and makes new objects each time; what it wraps,
``srtp_protect`` of libsrtp, encrypts in place. The buffer is shared by all viewers: a burst is handed to the kernel
before the next one is made, all of it on the event loop.
"""

from struct import Struct
from typing import Any

from pylibsrtp import Error as SrtpError
from pylibsrtp import Session
from pylibsrtp._binding import ffi, lib

from gateway.webrtc.rtp.packets import Burst

__all__ = ["OutboundSrtp", "Scratch", "SrtpError"]

SCRATCH_BYTES = 65_536
"""One burst at most: the largest UDP datagram that the kernel cuts up."""

_STAMP = Struct("!HII")
"""Sequence number, timestamp, SSRC: bytes 2 to 12 of an RTP header (RFC 3550 §5.1)."""

_SLOT_STRIDES = 64
"""Packet sizes whose slots are remembered; nearly all bursts have the one full size."""


class Scratch:
    """The buffer, and pointers into it at the places where packets of one size begin."""

    def __init__(self) -> None:
        self.memory: Any = ffi.new("unsigned char[]", SCRATCH_BYTES)
        self.view = memoryview(ffi.buffer(self.memory))
        self.length: Any = ffi.new("int *")
        self._slots: dict[int, list[tuple[Any, int]]] = {}

    def slots(self, stride: int, count: int) -> list[tuple[Any, int]]:
        """At least ``count`` pairs of a packet's address and the offset of its stamp."""
        slots = self._slots.get(stride)
        if slots is None:
            if len(self._slots) >= _SLOT_STRIDES:
                self._slots.clear()
            slots = self._slots[stride] = []
        while len(slots) < count:
            at = len(slots) * stride
            slots.append((self.memory + at, at + 2))
        return slots


class OutboundSrtp:
    """One viewer's encryption towards it. Raises ``SrtpError`` where libsrtp refuses."""

    def __init__(self, session: Session, scratch: Scratch) -> None:
        self._session = session
        self._context: Any = session._srtp[0]
        self._scratch = scratch

    def protect_burst(self, burst: Burst, sequence: int, timestamp: int, ssrc: int) -> memoryview:
        """A burst as SRTP. ``sequence`` is the first packet's. The result lives until the next call for any viewer."""
        scratch = self._scratch
        template, view, length, context = burst.template, scratch.view, scratch.length, self._context
        protect, stamp = lib.srtp_protect, _STAMP.pack_into
        timestamp &= 0xFFFFFFFF
        view[: len(template)] = template
        last = burst.count - 1
        slots = scratch.slots(burst.stride, burst.count)
        for place in range(last):
            address, at = slots[place]
            stamp(view, at, (sequence + place) & 0xFFFF, timestamp, ssrc)
            length[0] = burst.packet_bytes
            if protect(context, address, length):
                raise SrtpError("libsrtp refused to encrypt a packet")
        address, at = slots[last]
        stamp(view, at, (sequence + last) & 0xFFFF, timestamp, ssrc)
        length[0] = burst.last_packet_bytes
        if protect(context, address, length):
            raise SrtpError("libsrtp refused to encrypt a packet")
        return view[: len(template)]

    def protect_packet(self, plain: bytes) -> memoryview:
        """One complete RTP packet as SRTP; the result lives until the next call for any viewer."""
        scratch = self._scratch
        scratch.view[: len(plain)] = plain
        scratch.length[0] = len(plain)
        if lib.srtp_protect(self._context, scratch.memory, scratch.length):
            raise SrtpError("libsrtp refused to encrypt a packet")
        return scratch.view[: scratch.length[0]]

    def protect_rtcp(self, plain: bytes) -> bytes:
        """A compound RTCP packet as SRTCP."""
        return self._session.protect_rtcp(plain)
