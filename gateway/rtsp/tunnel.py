"""RTSP over HTTP, as QuickTime defined it and cameras do it: it passes firewalls and proxies that know only HTTP.

Theory of operation. Two HTTP requests with one ``x-sessioncookie`` make one RTSP connection: the body of the response
to GET is what the server sends, as it is; the body of POST is what the client sends, in base64. The POST is never
answered.

Rules:

1. The head of a response has at most :data:`~gateway.rtsp.messages.HEAD_MAX_BYTES`.
2. Each write is encoded by itself, with its padding: servers decode in groups of four characters.
3. 401 is answered with the credentials of the URL, as in RTSP (:mod:`gateway.rtsp.auth`).
"""

import re
from base64 import b64encode

from gateway.rtsp.client import USER_AGENT
from gateway.rtsp.errors import RtspProtocolError
from gateway.rtsp.messages import HEAD_MAX_BYTES, Headers

CONTENT_TYPE = "application/x-rtsp-tunnelled"

POST_LENGTH = 32_767
"""The length that a POST states. Servers ignore it: the body has no end. Others of this size are common."""

_STATUS_LINE = re.compile(r"HTTP/\d\.\d\s+(\d{3})(?:\s|$)")


def request(method: str, target: str, host: str, cookie: str, authorization: str | None = None) -> bytes:
    """The head of GET or POST. ``target`` is path and query, ``cookie`` is the same in both."""
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {host}",
        f"User-Agent: {USER_AGENT}",
        f"x-sessioncookie: {cookie}",
        "Pragma: no-cache",
        "Cache-Control: no-cache",
    ]
    if method == "GET":
        lines.append(f"Accept: {CONTENT_TYPE}")
    else:
        lines += [
            f"Content-Type: {CONTENT_TYPE}",
            f"Content-Length: {POST_LENGTH}",
            "Expires: Sun, 9 Jan 1972 00:00:00 GMT",
        ]
    if authorization is not None:
        lines.append(f"Authorization: {authorization}")
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in a header")
    return "\r\n".join([*lines, "", ""]).encode()


def encode(data: bytes) -> bytes:
    """What a client sends, as it stands in the body of POST (rule 2)."""
    return b64encode(data)


class ResponseHead:
    """Reads the head of the response to GET; what comes after it is RTSP."""

    def __init__(self) -> None:
        self.status: int | None = None
        """The status, once the head is complete."""
        self.headers = Headers()
        self._data = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes; ``None`` until the head is complete, then what came after it.

        Raises :class:`~gateway.rtsp.errors.RtspProtocolError`.
        """
        self._data += data
        head, end, rest = self._data.partition(b"\r\n\r\n")
        if len(head) > HEAD_MAX_BYTES:
            raise RtspProtocolError(f"a message head of more than {HEAD_MAX_BYTES} bytes")
        if not end:
            return None
        first, *lines = head.decode("utf-8", "replace").split("\r\n")
        status = _STATUS_LINE.match(first)
        if status is None:
            raise RtspProtocolError("an answer to GET that is not HTTP")
        pairs = [line.partition(":") for line in lines]
        self.status = int(status[1])
        self.headers = Headers([(name.strip(), value.strip()) for name, colon, value in pairs if colon])
        return bytes(rest)
