"""RTSP messages and interleaved frames in one byte stream (RFC 2326 §4 to §7, §10.12).

Theory of operation. A :class:`StreamParser` owns the receive buffer of one connection. The transport writes into
:meth:`StreamParser.get_buffer` and reports with :meth:`StreamParser.received` how much it wrote; complete interleaved
frames and messages are handed to the two callbacks in the order of the stream. Interleaved frames are handed out as
views of the buffer, without a copy: a callback that keeps bytes copies them.

Rules:

1. Every size is bounded: a head by :data:`HEAD_MAX_BYTES`, a body by :data:`BODY_MAX_BYTES`, a frame by its 16-bit
   length. More is a :class:`~gateway.rtsp.errors.RtspProtocolError`, before anything of it is stored.
2. Between messages, empty lines are skipped (RFC 2326 §4.1). Other bytes that begin neither a frame nor a message are
   skipped up to the next thing that does, and counted, up to :data:`GARBAGE_MAX_BYTES` in a row: some cameras put a
   few stray bytes between frames. Once there were frames, that goes for everything whose first line is none of RTSP: an
   answer of the camera's web server, or its log.
3. What is handed out is bounded too, by :attr:`StreamParser.work_left`: thousands of empty frames fit into one read.
4. Lines end with CRLF, CR or LF; a folded header line (RFC 2822 §2.2.3) belongs to the line before it.
5. A body ends where Content-Length says. Some cameras count too many bytes, or send a description without any length:
   then it ends when nothing more comes, which the transport tells by :meth:`StreamParser.end_body`. Between frames, a
   length that cannot be is none, and a frame in the place of a body means that there is none.
6. Text is UTF-8; what is not is replaced, except in challenges: their bytes come back with the credentials.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gateway.rtsp.errors import RtspProtocolError

HEAD_MAX_BYTES = 16 * 1024
"""Start line and headers of one message. The longest that cameras send is below 2 KiB."""

BODY_MAX_BYTES = 256 * 1024
"""The body of one message. Session descriptions take a few KiB."""

GARBAGE_MAX_BYTES = 64 * 1024
"""Bytes in a row that are neither a frame nor a message, before the peer is taken for no RTSP server at all."""

BUFFER_BYTES = 128 * 1024
"""The receive buffer: room for the largest interleaved frame and as much again for one read."""

MESSAGE_WORK = 100
"""A message costs as much as this many frames, some 50 µs."""

FRAME_HEADER_BYTES = 4
"""``$``, channel, 16-bit length (RFC 2326 §10.12)."""

_DOLLAR = 0x24
_END_OF_HEAD = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")
_MESSAGE_START = re.compile(rb"(?i:RTSP|HTTP)/|[A-Z_]{3,20} [^\s]")
_PART_OF_START = re.compile(rb"(?:(?i:RTSP|HTTP|RTS|HTT|RT|HT|R|H)|[A-Z_]{1,20} ?)\Z")
_RESYNC = re.compile(rb"(?s)\$(?:.{3}[\x80-\xbf]|.{0,3}\Z)|(?i:RTSP/)")
"""A frame whose payload is RTP or RTCP, by their version (RFC 3550 §5.1), or the beginning of a response."""

_STATUS_LINE = re.compile(r"(?i:RTSP)/(\d)\.(\d)\s+(\d{3})(?:\s+(.*))?$")
_BINARY = re.compile(rb"[^\t\r\n\x20-\x7e]")
_LINE_END = re.compile(rb"[\r\n]")
_LINE_MAX_BYTES = 2048

_REQUEST_LINE = re.compile(r"([A-Z_]+)\s+(\S+)\s+RTSP/(\d)\.(\d)$")


class Headers:
    """Header fields of one message: names without regard to case, several values of a name in their order."""

    __slots__ = ("_items",)

    def __init__(self, items: list[tuple[str, str]] | None = None) -> None:
        self._items = items or []

    def get(self, name: str) -> str | None:
        """The first value of a field, or ``None``."""
        return next(iter(self.get_all(name)), None)

    def get_all(self, name: str) -> list[str]:
        """All values of a field."""
        lower = name.lower()
        return [value for key, value in self._items if key.lower() == lower]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __repr__(self) -> str:
        # Credentials and challenges stay out of logs.
        shown = [(key, "…" if "auth" in key.lower() else value) for key, value in self._items]
        return f"Headers({shown!r})"


@dataclass(frozen=True, slots=True)
class Request:
    """A request, ours or the peer's. ``cseq`` is ``None`` where the peer sent none. Ours are of version 1.0."""

    method: str
    uri: str
    headers: Headers
    body: bytes = b""
    version: str = "1.0"

    @property
    def cseq(self) -> int | None:
        return _integer(self.headers.get("CSeq"))

    def encode(self) -> bytes:
        """The request's bytes."""
        return _encode(f"{self.method} {self.uri} RTSP/1.0", self.headers, self.body)


@dataclass(frozen=True, slots=True)
class Response:
    """A response. ``reason`` is free text of the peer's."""

    status: int
    reason: str
    headers: Headers
    body: bytes = b""

    @property
    def cseq(self) -> int | None:
        return _integer(self.headers.get("CSeq"))

    def encode(self) -> bytes:
        """The response's bytes."""
        return _encode(f"RTSP/1.0 {self.status} {self.reason}", self.headers, self.body)


Message = Request | Response


class StreamParser:
    """The receiving half of one RTSP connection; see the module's rules."""

    def __init__(self, on_frame: Callable[[int, memoryview], None], on_message: Callable[[Message], None]) -> None:
        """``on_frame`` gets the channel and the payload of each interleaved frame, ``on_message`` each message."""
        self._on_frame = on_frame
        self._on_message = on_message
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self._searched = 0
        self._head: tuple[str, list[tuple[str, str]], int] | None = None
        self._body = bytearray()
        self._garbage_in_a_row = 0
        self._has_frames = False
        self.garbage_bytes = 0
        """Bytes that rule 2 skipped."""
        self.work_left = math.inf
        """How many frames may still be handed out, a message counts for :data:`MESSAGE_WORK`. The owner refills it."""

    @property
    def is_in_body(self) -> bool:
        """Whether the rest of a body is awaited."""
        return self._head is not None

    def end_body(self) -> None:
        """Hand out the message whose body is awaited, with what there is of it. Raises as :meth:`received`."""
        if self._head is not None:
            self._finish_message()

    def close(self) -> None:
        """The connection has ended: free the buffer, which would else live as long as the connection's object."""
        self._buffer = bytearray()
        self._view = memoryview(self._buffer)
        self._start = self._end = self._searched = 0
        self._body = bytearray()

    def get_buffer(self) -> memoryview:
        """Where to write the next bytes of the stream; never empty."""
        if self._start == self._end:
            self._start = self._end = self._searched = 0
        elif BUFFER_BYTES - self._end < BUFFER_BYTES // 2:
            rest = self._end - self._start
            self._buffer[:rest] = self._buffer[self._start : self._end]
            self._searched -= self._start
            self._start, self._end = 0, rest
        return self._view[self._end :]

    def feed(self, data: bytes) -> None:
        """Take bytes that were read elsewhere. Raises as :meth:`received`."""
        done = 0
        while done < len(data):
            buffer = self.get_buffer()
            size = min(len(buffer), len(data) - done)
            buffer[:size] = data[done : done + size]
            done += size
            self.received(size)

    def received(self, size: int) -> None:
        """Take the ``size`` bytes that were written, and hand out what is complete.

        Raises :class:`~gateway.rtsp.errors.RtspProtocolError`; the connection is of no further use then.
        """
        self._end += size
        while self._start < self._end:
            if self._head is not None:
                if not self._take_body():
                    return
            elif self._buffer[self._start] == _DOLLAR:
                if self._garbage_in_a_row and not self._is_frame():
                    if self._end - self._start < FRAME_HEADER_BYTES + 1 or not self._skip_garbage():
                        return
                elif not self._take_frames():
                    return
            elif not self._take_head():
                return

    def _take_frames(self) -> bool:
        """Hand out interleaved frames; false if the last one is not complete."""
        buffer, view, start, end = self._buffer, self._view, self._start, self._end
        while start < end and buffer[start] == _DOLLAR:
            if end - start < FRAME_HEADER_BYTES:
                return False
            after = start + FRAME_HEADER_BYTES + (buffer[start + 2] << 8 | buffer[start + 3])
            if after > end:
                return False
            self._start = after
            self._garbage_in_a_row = 0
            self._has_frames = True
            self.work_left -= 1
            if self.work_left < 0:
                raise _too_much()
            self._on_frame(buffer[start + 1], view[start + FRAME_HEADER_BYTES : after])
            start = after
        return True

    def _is_frame(self) -> bool:
        """Whether a frame begins here, and not text after other text."""
        return _RESYNC.match(self._buffer, self._start, self._end) is not None and (
            self._end - self._start > FRAME_HEADER_BYTES
        )

    def _take_head(self) -> bool:
        """Read start line and headers; whether there was progress."""
        while self._start < self._end and self._buffer[self._start] in b"\r\n":
            self._start += 1
        self._searched = max(self._searched, self._start)
        rest = self._end - self._start
        if rest == 0:
            return False
        if self._buffer[self._start] == _DOLLAR:
            return True
        if not _MESSAGE_START.match(self._buffer, self._start, self._end):
            # These may be the first bytes of a start line whose rest has not come yet.
            if rest < 32 and _PART_OF_START.match(bytes(self._view[self._start : self._end])):
                return False
            return self._skip_garbage()
        if self._has_frames and (is_message := self._begins_message()) is not True:
            return is_message is False and self._skip_garbage()
        found = _END_OF_HEAD.search(self._buffer, max(self._start, self._searched - 3), self._end)
        if found is None:
            if rest > HEAD_MAX_BYTES:
                raise RtspProtocolError(f"a message head of more than {HEAD_MAX_BYTES} bytes")
            self._searched = self._end
            return False
        if found.start() - self._start > HEAD_MAX_BYTES:
            raise RtspProtocolError(f"a message head of more than {HEAD_MAX_BYTES} bytes")
        text = bytes(self._view[self._start : found.start()]).decode("utf-8", "surrogateescape")
        self._start = self._searched = found.end()
        self._garbage_in_a_row = 0
        start_line, headers = _split_head(text)
        try:
            length = _content_length(headers)
        except RtspProtocolError:
            if not self._has_frames:
                raise
            # What follows is a frame, or text that is skipped.
            length = 0
        self._head = (start_line, headers, length)
        self._body.clear()
        if length == 0:
            self._finish_message()
        return True

    def _begins_message(self) -> bool | None:
        """Whether the line that begins here is one of RTSP: rule 2; ``None`` where its end has not come yet."""
        end = _LINE_END.search(self._buffer, self._start, self._end)
        line = bytes(self._view[self._start : end.start() if end is not None else self._end])
        if _BINARY.search(line) is not None or len(line) > _LINE_MAX_BYTES:
            return False
        if end is None:
            return None
        text = line.decode("ascii").strip()
        return _STATUS_LINE.match(text) is not None or _REQUEST_LINE.match(text) is not None

    def _take_body(self) -> bool:
        assert self._head is not None
        if self._has_frames and not self._body and self._buffer[self._start] == _DOLLAR:
            # Rule 5: there is none.
            self._finish_message()
            return True
        size = min(self._head[2] - len(self._body), self._end - self._start)
        self._body += self._view[self._start : self._start + size]
        self._start += size
        self._searched = self._start
        if len(self._body) < self._head[2]:
            return False
        self._finish_message()
        return True

    def _finish_message(self) -> None:
        assert self._head is not None
        self.work_left -= MESSAGE_WORK
        if self.work_left < 0:
            raise _too_much()
        start_line, headers, _ = self._head
        self._head = None
        message = parse_start_line(start_line, Headers(headers), bytes(self._body))
        self._body.clear()
        self._on_message(message)

    def _skip_garbage(self) -> bool:
        """Rule 2; whether there is something after the garbage."""
        found = _RESYNC.search(self._buffer, self._start + 1, self._end)
        # The beginning of "RTSP/" may be at the very end.
        after = found.start() if found else max(self._start + 1, self._end - 4)
        skipped = after - self._start
        self.garbage_bytes += skipped
        self._garbage_in_a_row += skipped
        if self._garbage_in_a_row > GARBAGE_MAX_BYTES:
            raise RtspProtocolError(f"{self._garbage_in_a_row} bytes in a row that are not RTSP")
        self._start = self._searched = after
        return found is not None


def _too_much() -> RtspProtocolError:
    return RtspProtocolError("more frames or messages at once than any camera sends")


def parse_start_line(line: str, headers: Headers, body: bytes) -> Message:
    """A message from its parts. Raises :class:`~gateway.rtsp.errors.RtspProtocolError`."""
    status = _STATUS_LINE.match(line)
    if status:
        return Response(int(status[3]), (status[4] or "").strip()[:200], headers, body)
    request = _REQUEST_LINE.match(line)
    if request:
        return Request(request[1], request[2], headers, body, f"{request[3]}.{request[4]}")
    if line.startswith("HTTP/"):
        raise RtspProtocolError("an HTTP response; this port is a web server")
    raise RtspProtocolError(f"a start line that is not RTSP: {line[:80]!r}")


def _split_head(text: str) -> tuple[str, list[tuple[str, str]]]:
    lines = [_readable(line) for line in re.split(r"\r\n|\n|\r", text)]
    headers: list[tuple[str, str]] = []
    for line in lines[1:]:
        if line[:1] in (" ", "\t") and headers:
            name, value = headers[-1]
            headers[-1] = (name, f"{value} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        if colon:
            headers.append((name.strip(), value.strip()))
    return lines[0].strip(), headers


def _readable(line: str) -> str:
    """Rule 6."""
    if line.isascii() or line.lower().startswith("www-authenticate"):
        return line
    return line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _content_length(headers: list[tuple[str, str]]) -> int:
    values = [value for name, value in headers if name.lower() == "content-length"]
    if not values:
        is_description = any(name.lower() == "content-type" and "sdp" in value.lower() for name, value in headers)
        return BODY_MAX_BYTES if is_description else 0
    found = re.match(r"([0-9]{1,20})(?![0-9])", values[0])
    if found is None:
        raise RtspProtocolError(f"a Content-Length that is not a number: {values[0][:40]!r}")
    length = int(found[1])
    if length > BODY_MAX_BYTES:
        raise RtspProtocolError(f"a body of {length} bytes, where {BODY_MAX_BYTES} are the most")
    return length


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,10}", text) else None


def _encode(start_line: str, headers: Headers, body: bytes) -> bytes:
    lines = [start_line, *(f"{name}: {value}" for name, value in headers)]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in a header")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body
