"""The relay protocol: one camera's packets from the node of a cluster that captures it to another node. Sans-IO.

A stream is a sequence of messages from the owner of the camera; nothing goes back. Each message is one byte for its
kind, four bytes for the length of its body (big endian), and the body:

========  ====  =================================================================================================
``HELLO``    1  JSON: the version of the protocol, the owner's name, and the epoch of its ownership
``INFO``     2  JSON: the :class:`~gateway.media.StreamInfo` of the packets that follow
``PACKET``   3  :data:`PACKET_HEAD`, and the coded frame
``STATE``    4  JSON: why there is no video at present; sent while the owner has none
``END``      5  JSON: why the stream ends. A stream that ends without was cut off
========  ====  =================================================================================================

Rules:

1. ``HELLO`` is first, and nothing follows ``END``. ``INFO`` comes before the first packet, and again when it changes.
2. All packets of a stream are of one run of the camera. The owner ends the stream with the run.
3. A stream begins with a video keyframe: that of the owner's current GOP, where it has one. Where the receiver is too
   slow, the owner drops packets up to the next keyframe.
4. A message longer than :data:`MESSAGE_MAX_BYTES` and one that cannot be read end the stream. Nothing in a message
   makes the receiver raise anything but :class:`~gateway.errors.NoVideoError`.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from gateway.errors import NoVideoError
from gateway.media import AUDIO, VIDEO, Packet, StreamInfo

VERSION = 1

MEDIA_TYPE = "application/vnd.liveedge.relay"

MESSAGE_MAX_BYTES = 64 * 1024 * 1024
"""The largest queue of packets that a gateway has: no frame is larger."""

TEXT_MAX_BYTES = 1024 * 1024
"""Of a body in JSON. Parameter sets are a few hundred bytes."""

HEAD = struct.Struct(">BI")
"""Kind and length of the body."""

PACKET_HEAD = struct.Struct(">BqqIq")
"""Flags, ``pts_90k``, ``dts_90k``, ``duration_90k``, ``captured_at_90k``."""

_IS_VIDEO, _IS_KEYFRAME = 1, 2

_TIME_MAX_90K = 2**62
"""Further than any clock; two of them can be added."""

_DURATION_MAX_90K = 2**32 - 1


class MessageKind(IntEnum):
    """See the module."""

    HELLO = 1
    INFO = 2
    PACKET = 3
    STATE = 4
    END = 5


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message. ``node`` is the owner's name."""

    node: Annotated[str, Field(max_length=64)]
    epoch: Annotated[int, Field(ge=0, lt=2**63)]
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class State:
    """There is no video at present: why, in a sentence."""

    reason: Annotated[str, Field(max_length=2000)]


@dataclass(frozen=True, slots=True)
class End:
    """The stream ends: why, in a sentence."""

    reason: Annotated[str, Field(max_length=2000)]


@dataclass(frozen=True)
class _Info:
    __pydantic_config__ = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", strict=False)

    info: StreamInfo


_HELLO, _STATE, _END, _INFO = TypeAdapter(Hello), TypeAdapter(State), TypeAdapter(End), TypeAdapter(_Info)

Message = Hello | Packet | State | End


class RelayEncoder:
    """The messages of one stream, in bytes."""

    def __init__(self) -> None:
        self._info: StreamInfo | None = None

    def hello(self, node: str, epoch: int) -> bytes:
        return _text(MessageKind.HELLO, _HELLO.dump_json(Hello(node, epoch)))

    def state(self, reason: str) -> bytes:
        return _text(MessageKind.STATE, _STATE.dump_json(State(reason[:2000])))

    def end(self, reason: str) -> bytes:
        return _text(MessageKind.END, _END.dump_json(End(reason[:2000])))

    def packet(self, packet: Packet) -> list[bytes]:
        """A packet, after its info where that is another than before."""
        pieces = []
        if packet.info is not self._info:
            self._info = packet.info
            pieces.append(_text(MessageKind.INFO, _INFO.dump_json(_Info(packet.info))))
        flags = (_IS_VIDEO if packet.is_video else 0) | (_IS_KEYFRAME if packet.is_keyframe else 0)
        head = PACKET_HEAD.pack(
            flags,
            packet.pts_90k,
            packet.dts_90k,
            max(0, min(packet.duration_90k, _DURATION_MAX_90K)),
            packet.captured_at_90k,
        )
        pieces += [HEAD.pack(MessageKind.PACKET, len(head) + len(packet.data)) + head, packet.data]
        return pieces


class RelayDecoder:
    """The messages in the bytes of one stream, cut anywhere. ``run`` is what the packets get as theirs."""

    def __init__(self, run: int = 0) -> None:
        self._run = run
        self._buffer = bytearray()
        self._info: StreamInfo | None = None
        self._is_begun = self._is_ended = False

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now. Raises :class:`~gateway.errors.NoVideoError`; the stream is over then."""
        buffer = self._buffer
        buffer += data
        found: list[Message] = []
        at = 0
        while len(buffer) - at >= HEAD.size:
            kind, length = HEAD.unpack_from(buffer, at)
            _check_head(kind, length)
            end = at + HEAD.size + length
            if len(buffer) < end:
                break
            message = self._message(kind, bytes(memoryview(buffer)[at + HEAD.size : end]))
            if message is not None:
                found.append(message)
            at = end
        if at:
            del buffer[:at]
        return found

    def _message(self, kind: int, body: bytes) -> Message | None:
        if self._is_ended:
            raise _broken("something follows its end")
        if (kind == MessageKind.HELLO) is self._is_begun:
            raise _broken("it does not begin with a greeting, or has two")
        if kind == MessageKind.PACKET:
            return self._packet(body)
        try:
            return self._document(kind, body)
        except ValidationError as error:
            raise _broken(f"a message of kind {kind} cannot be read ({error.error_count()} errors)") from None
        except (ValueError, ZeroDivisionError, OverflowError, RecursionError) as error:
            raise _broken(f"a message of kind {kind} cannot be read ({type(error).__name__})") from None

    def _document(self, kind: int, body: bytes) -> Message | None:
        if kind == MessageKind.HELLO:
            hello = _HELLO.validate_json(body)
            if hello.version != VERSION:
                raise _broken(f"it is of version {hello.version}, and this node knows {VERSION}: run one liveedge")
            self._is_begun = True
            return hello
        if kind == MessageKind.INFO:
            self._info = _INFO.validate_json(body).info
            return None
        if kind == MessageKind.STATE:
            return _STATE.validate_json(body)
        self._is_ended = True
        return _END.validate_json(body)

    def _packet(self, body: bytes) -> Packet:
        if self._info is None:
            raise _broken("a packet comes before the description of its stream")
        if len(body) <= PACKET_HEAD.size:
            raise _broken("a packet is empty")
        flags, pts_90k, dts_90k, duration_90k, captured_at_90k = PACKET_HEAD.unpack_from(body)
        if not (abs(pts_90k) < _TIME_MAX_90K and abs(dts_90k) < _TIME_MAX_90K and 0 <= captured_at_90k < _TIME_MAX_90K):
            raise _broken("the time of a packet is out of range")
        kind = VIDEO if flags & _IS_VIDEO else AUDIO
        if kind is AUDIO and self._info.audio is None:
            raise _broken("there is sound in a stream without")
        return Packet(
            kind,
            body[PACKET_HEAD.size :],
            pts_90k,
            dts_90k,
            duration_90k,
            bool(flags & _IS_KEYFRAME),
            captured_at_90k,
            self._info,
            self._run,
        )


def _check_head(kind: int, length: int) -> None:
    if not MessageKind.HELLO <= kind <= MessageKind.END:
        raise _broken(f"there is no message of kind {kind}")
    longest = MESSAGE_MAX_BYTES if kind == MessageKind.PACKET else TEXT_MAX_BYTES
    if length > longest:
        raise _broken(f"a message of kind {kind} has {length} bytes")


def _text(kind: MessageKind, body: bytes) -> bytes:
    return HEAD.pack(kind, len(body)) + body


def _broken(why: str) -> NoVideoError:
    return NoVideoError(f"the relayed stream of another node cannot be used: {why}")
