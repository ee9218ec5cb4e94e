"""HttpTunnelConnection: an RTSP connection through HTTP (:mod:`gateway.rtsp.tunnel`), with or without TLS."""

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import Callable
from typing import Self

from gateway.capture.rtsp_connection import WRITE_MAX_BYTES, RtspConnection, unsent_bytes
from gateway.rtsp import tunnel
from gateway.rtsp.auth import Authenticator, parse_challenges
from gateway.rtsp.client import RETRIES_MAX
from gateway.rtsp.errors import RtspProtocolError, RtspStatusError
from gateway.rtsp.messages import Message

READ_BYTES = 16 * 1024


class HttpTunnelConnection(RtspConnection):
    """See the module: what comes is read from the answer to GET, what is written goes into the body of POST."""

    def __init__(self, on_frame: Callable[[int, memoryview], None], on_message: Callable[[Message], None]) -> None:
        super().__init__(on_frame, on_message)
        self._head: tunnel.ResponseHead | None = tunnel.ResponseHead()
        self._head_buffer = bytearray(READ_BYTES)
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._post: asyncio.WriteTransport | None = None

    @classmethod
    async def open_tunnel(
        cls,
        address: tuple[str, int],
        resource: tuple[str, str],
        authenticator: Authenticator,
        on_frame: Callable[[int, memoryview], None],
        on_message: Callable[[Message], None],
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> Self:
        """Connect to ``address``. ``resource`` is the value of ``Host``, and path and query.

        Raises ``OSError``, :class:`~gateway.rtsp.errors.RtspStatusError` and
        :class:`~gateway.rtsp.errors.RtspProtocolError`.
        """
        host, target = resource
        cookie = secrets.token_urlsafe(16)
        name = server_name if tls is not None else None
        loop = asyncio.get_running_loop()
        for attempt in range(RETRIES_MAX + 1):
            _, connection = await loop.create_connection(
                lambda: cls(on_frame, on_message), *address, ssl=tls, server_hostname=name
            )
            try:
                credentials = authenticator.authorization("GET", target)
                head = await connection._get(tunnel.request("GET", target, host, cookie, credentials))
                if head.status == 200:
                    post, _ = await loop.create_connection(
                        lambda get=connection: _PostProtocol(get), *address, ssl=tls, server_hostname=name
                    )
                    connection._post = post
                    post.write(
                        tunnel.request("POST", target, host, cookie, authenticator.authorization("POST", target))
                    )
                    return connection
                challenges = parse_challenges(head.headers.get_all("WWW-Authenticate"))
                if head.status != 401 or attempt == RETRIES_MAX or not authenticator.accept(challenges):
                    raise RtspStatusError("GET", head.status or 0, "")
            except BaseException:
                connection.abort()
                raise
            connection.abort()
        raise RtspProtocolError("no tunnel")

    @property
    def unsent_bytes(self) -> int:
        return unsent_bytes(self._post)

    def write(self, data: bytes) -> None:
        post = self._post
        if post is None or post.is_closing():
            return
        if post.get_write_buffer_size() > WRITE_MAX_BYTES:
            self.fail(RtspProtocolError("it reads no requests"))
            return
        post.write(tunnel.encode(data))

    def close(self) -> None:
        # The peer closes GET, or the caller aborts it: POST may still have something to send.
        if self._post is not None:
            self._post.close()
        super().close()

    def abort(self) -> None:
        if self._post is not None:
            self._post.abort()
        super().abort()

    async def _get(self, request: bytes) -> tunnel.ResponseHead:
        head = self._head
        assert head is not None
        assert self._transport is not None
        self._transport.write(request)
        ended = asyncio.ensure_future(self.wait_ended())
        try:
            await asyncio.wait({self._answered, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not self._answered.done():
                await ended
                raise ConnectionResetError("closed while it was opened")
        finally:
            ended.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await ended
        return head

    # --- asyncio.BufferedProtocol

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._head_buffer) if self._head is not None else super().get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        if self._head is None:
            super().buffer_updated(nbytes)
            return
        try:
            rest = self._head.feed(bytes(self._head_buffer[:nbytes]))
            if rest is None:
                return
            is_tunnel = self._head.status == 200
            self._head = None
            self._answered.set_result(None)
            if is_tunnel and rest:
                self.parser.feed(rest)
        except Exception as error:
            self.fail(error)


class _PostProtocol(asyncio.Protocol):
    """The second connection. Nothing is expected on it; when it is lost, so is the tunnel."""

    def __init__(self, get: HttpTunnelConnection) -> None:
        self._get = get

    def connection_lost(self, exc: Exception | None) -> None:
        transport = self._get._transport
        if transport is not None and not transport.is_closing():
            self._get.fail(exc or ConnectionResetError("the POST of the tunnel was closed"))
