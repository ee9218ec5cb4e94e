"""SharedAnswers: one answer for all clients that request the same at the same moment, head and body in one piece.

The players of a camera request each playlist and each part together. Making the head of an answer takes longer than
sending it, so it is made for the first of them.

Rules:

1. A shared answer has what is the same for all: a body, headers of the route, and what ``on_response_prepare`` adds.
   That may depend on the request's ``Origin``, and on the settings; with other settings all answers are made again.
2. It is kept within one second, because it has the Date.
3. Only a GET that keeps its HTTP/1.1 connection open gets one. All others get a response of their own.
4. At most :data:`ANSWERS_MAX` are kept, with bodies of :data:`BYTES_MAX` together. Beyond it, requests get responses of
   their own.
5. Parts of a complete segment are views of it, and comparing views compares their bytes. They are known by the path of
   the request, since names of media are never used twice (:mod:`hls.live.window`).
"""

import time
from email.utils import formatdate
from typing import Any

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter

ANSWERS_MAX = 256
"""A camera has some 20 of them in a second. Each holds a copy of its body."""

BYTES_MAX = 32 * 1024 * 1024

VIEW_MAX_BYTES = 512 * 1024
"""Larger views are whole segments, which players that are not at the live edge get, each at another time."""

Headers = tuple[tuple[str, str], ...]
"""Of a route, in an order, so that equal ones can be found."""


class SharedAnswers:
    """See the module."""

    def __init__(self) -> None:
        self._second = 0
        self._size = 0
        self._answers: dict[tuple[bytes | str, Headers, str | None], SharedAnswer] = {}

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._answers)

    def reload(self, _: object) -> None:
        """The settings have changed."""
        self._clear()

    def _clear(self) -> None:
        self._answers.clear()
        self._size = 0

    def answer(self, request: web.Request, body: bytes | memoryview, headers: Headers) -> web.StreamResponse:
        """The answer 200 to ``request``."""
        known_by = body if isinstance(body, bytes) else request.path
        if (
            request.method != hdrs.METH_GET
            or request.version != HttpVersion11
            or not request.keep_alive
            or (known_by is not body and len(body) > VIEW_MAX_BYTES)
        ):
            return web.Response(body=body, headers=headers)
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._clear()
        key = (known_by, headers, request.headers.get(hdrs.ORIGIN))
        found = self._answers.get(key)
        if found is not None:
            return found
        if len(self._answers) >= ANSWERS_MAX or self._size + len(body) > BYTES_MAX:
            return web.Response(body=body, headers=headers)
        self._size += len(body)
        self._answers[key] = found = SharedAnswer(body, headers, second)
        return found


class SharedAnswer(web.StreamResponse):
    """An answer 200 that is sent to any number of clients. Its head is complete when it is sent for the first time."""

    def __init__(self, body: bytes | memoryview, headers: Headers, second: int) -> None:
        super().__init__(headers=headers)
        self.headers[hdrs.CONTENT_LENGTH] = str(len(body))
        self.headers[hdrs.DATE] = formatdate(second, usegmt=True)
        self._body_bytes = body
        self._sent = b""

    @property
    def keep_alive(self) -> bool:
        """As the requests want it."""
        return True

    async def prepare(self, request: Any) -> AbstractStreamWriter:
        """Send it, all of it at once. Raises ``ConnectionError``."""
        if not self._sent:
            await request.app.on_response_prepare.send(request, self)
            self._add_head()
        writer: AbstractStreamWriter = request.writer
        await writer.write_eof(self._sent)
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""

    def _add_head(self) -> None:
        if not self._sent:  # nobody else has, while the signal was sent
            lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            self._sent = b"".join((f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode(), self._body_bytes))
            self._body_bytes = b""


SHARED_ANSWERS: web.AppKey[SharedAnswers] = web.AppKey("shared_answers", SharedAnswers)
