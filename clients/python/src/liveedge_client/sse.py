"""Server-sent events without I/O: bytes become messages (WHATWG HTML §9.2.6)."""

from dataclasses import dataclass

LONGEST_BYTES = 1024 * 1024
"""Of a message. The gateway's are below 16 KiB."""


@dataclass(frozen=True)
class Message:
    """An event of the stream."""

    type: str
    data: str


class EventStreamParser:
    """Feed it with what arrives. ``last_id`` and ``retry_s`` are what a client that reconnects needs."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self.retry_s = 2.0
        self._buffer = b""
        self._id = last_id
        self._type = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now. Raises ``ValueError`` if one is too long."""
        # A CR that ends the data may be the first half of a CRLF.
        buffer, end = self._buffer + data, b""
        if buffer.endswith(b"\r"):
            buffer, end = buffer[:-1], b"\r"
        *lines, rest = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._buffer = rest + end
        messages = []
        for line in lines:
            if line:
                self._field(line.decode(errors="replace"))
            elif (message := self._dispatch()) is not None:
                messages.append(message)
        if len(self._buffer) + sum(map(len, self._data)) > LONGEST_BYTES:
            raise ValueError(f"a message of the stream has more than {LONGEST_BYTES} bytes")
        return messages

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_s = int(value) / 1000

    def _dispatch(self) -> Message | None:
        self.last_id = self._id
        message = Message(self._type or "message", "\n".join(self._data)) if self._data else None
        self._type, self._data = "", []
        return message
