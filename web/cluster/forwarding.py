"""Forwarding: a request that another node of the cluster can answer is answered from there.

Rules:

1. A request goes on as the client sent it: method, path, query, credential, conditions, range and body. What belongs to
   the connection (RFC 9110 §7.6.1), to the page that asked, or to another proxy stays here. The other node checks the
   credential itself.
2. It proves that it comes from a node (:mod:`web.cluster.tokens`), and says in ``X-Forwarded-For``, ``-Host`` and
   ``-Proto`` what the client used: :meth:`Forwarding.received` believes these from a node alone. A request without
   them is of the node itself, which may do everything.
3. A forwarded request is never forwarded again: two nodes that each take the other for the right one do not ask in a
   circle.
4. Content is streamed both ways. What a slow reader has not taken waits in the buffers of two connections and in
   :data:`CHUNK_BYTES`, and slows the sender. When the client leaves, the other node is not asked any longer.
5. A node that cannot be asked is :class:`~gateway.errors.NodeAwayError`. Where it is lost after its answer began, the
   connection to the client is closed: the client must not take what it has for all of it (RFC 9112 §8).
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict

from gateway.cluster.model import Node
from gateway.errors import NodeAwayError, redact
from web.auth.authenticator import NODE_TOKEN, SIGN_IN
from web.auth.requests import SESSION
from web.cluster.peers import Peers

HEAD_S = 30.0
"""An answer begins by then, or the node is taken for away. A camera may take 10 s to give a picture."""

SILENCE_S = 60.0
"""An answer that has begun, and of which nothing comes for so long, is cut off."""

CHUNK_BYTES = 64 * 1024

ANSWER_MAX_BYTES = 16 * 1024 * 1024
"""Of what is read as a whole: the playlist of a day has 2 MB."""

MESSAGE_MAX_BYTES = 16 * 1024 * 1024
"""The largest picture; what a client sends is limited by the node that gets it."""

HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("proxy-authenticate", "proxy-authorization", "proxy-authentication-info"),
    }
)
"""Fields of one connection alone (RFC 9110 §7.6.1), besides those that ``Connection`` names."""

NOT_SENT = HOP_BY_HOP | {
    *("host", "expect", "cookie", "origin", "referer", "forwarded", "via", NODE_TOKEN.lower()),
    SIGN_IN.lower(),
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"),
}
"""Fields of a request that the other node does not get. The page that asked was judged here (:mod:`~.cors`)."""

NOT_RETURNED = HOP_BY_HOP | {"server", "set-cookie"}


class Forwarding:
    """See the module. Lives on the event loop. ``own_id`` is that of this node."""

    def __init__(self, peers: Peers, own_id: str, verify: Callable[[str, str, str], str]) -> None:
        self.forwarded = 0
        """Requests that another node has answered."""
        self.failed = 0
        """Requests of which the other node was away, before or while it answered."""
        self._peers = peers
        self._own_id = own_id
        self._verify = verify

    # --- from another node

    def received(self, request: web.Request) -> web.Request:
        """The request with the address, host and scheme that its client used, where another node forwarded it.

        Raises :class:`~gateway.errors.UnauthorizedError` for a token that is of no node.
        """
        token = request.headers.get(NODE_TOKEN)
        if token is None:
            return request
        self._verify(token, request.method, request.raw_path.partition("?")[0])
        changes: dict[str, Any] = {}
        for name, key in (("X-Forwarded-For", "remote"), ("X-Forwarded-Host", "host"), ("X-Forwarded-Proto", "scheme")):
            if value := request.headers.get(name):
                changes[key] = value
        return request.clone(**changes) if changes else request

    # --- to another node

    def may_forward(self, request: web.Request) -> bool:
        """Whether a request may go to another node (rule 3)."""
        return NODE_TOKEN not in request.headers

    def node(self, node_id: str | None) -> Node | None:
        """Another node by its id, alive or remembered; ``None`` for this one."""
        return None if node_id == self._own_id else self._peers.node(node_id)

    def named(self, name: str) -> Node | None:
        """Another node by its name; ``None`` for this one, and for one that was not seen since this one started."""
        node = self._peers.named(name)
        return None if node is None or node.id == self._own_id else node

    async def forward(self, request: web.Request, node: Node) -> web.StreamResponse:
        """The answer of another node to a request, which :meth:`may_forward`.

        Raises :class:`~gateway.errors.NodeAwayError`, and ``ConnectionResetError`` where that node was lost after its
        answer began.
        """
        body = request.content if request.body_exists else None
        response: web.StreamResponse | None = None
        asked = self.ask(node, request.method, request.raw_path, fields_of(request), body)
        try:
            async with asked as answer:
                response = web.StreamResponse(status=answer.status, reason=answer.reason)
                return_fields(answer, response)
                await response.prepare(request)
                if request.method != hdrs.METH_HEAD:
                    await _copy(answer, response)
                self.forwarded += 1
                return response
        except _LostError:
            self.failed += 1
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError(f"the node {node.name} of the cluster was lost while it answered") from None

    async def text(self, request: web.Request, node: Node) -> str | None:
        """What another node answers to a GET request of a client, as text: empty for 503, ``None`` for other errors.

        Raises :class:`~gateway.errors.NodeAwayError`.
        """
        fields = {**fields_of(request), hdrs.ACCEPT_ENCODING: "identity"}
        status, body = await self._read(node, request.rel_url.raw_path_qs, fields)
        if status == 503:
            return ""
        return body.decode() if status == 200 else None

    async def json(self, node: Node, target: str) -> Any:
        """What another node answers to this one, which may do everything there; ``None`` unless it is 200 and JSON.

        Raises :class:`~gateway.errors.NodeAwayError`.
        """
        status, body = await self._read(node, target, {hdrs.ACCEPT_ENCODING: "identity"})
        try:
            return json.loads(body) if status == 200 else None
        except ValueError:
            return None

    async def _read(self, node: Node, target: str, fields: Mapping[str, str]) -> tuple[int, bytes]:
        async with self.ask(node, hdrs.METH_GET, target, fields) as answer:
            try:
                body = await answer.content.read(ANSWER_MAX_BYTES)
                while len(body) < ANSWER_MAX_BYTES and (more := await answer.content.read(ANSWER_MAX_BYTES)):
                    body += more
            except (aiohttp.ClientError, OSError) as error:
                self.failed += 1
                raise NodeAwayError(node.name, _why(node, error)) from None
        return answer.status, body

    async def forward_web_socket(self, request: web.Request, node: Node) -> web.StreamResponse:
        """Pass the messages of a WebSocket on, both ways, until either side ends it.

        Raises :class:`~gateway.errors.NodeAwayError`.
        """
        if node.id != self._own_id and self._peers.is_down(node):
            raise NodeAwayError(node.name, f"the node {node.name} of the cluster is down: ask again when it runs")
        path, _, query = request.raw_path.partition("?")
        fields = {name: value for name, value in fields_of(request).items() if not name.lower().startswith("sec-")}
        async with AsyncExitStack() as stack:
            try:
                connecting = self._peers.web_socket(node, path, query, fields, MESSAGE_MAX_BYTES)
                async with self._peers.waiting(node, HEAD_S):
                    there = await stack.enter_async_context(connecting)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                self.failed += 1
                raise NodeAwayError(node.name, _why(node, error)) from None
            here = web.WebSocketResponse(autoping=False, max_msg_size=MESSAGE_MAX_BYTES, compress=False)
            await here.prepare(request)
            self.forwarded += 1
            ways = [asyncio.create_task(_pass_messages(*way)) for way in ((here, there), (there, here))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.wait(ways)
                await here.close()
        return here

    @asynccontextmanager
    async def ask(
        self,
        node: Node,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: aiohttp.StreamReader | bytes | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer of another node, once it has begun. ``target`` is the encoded path with its query.

        Raises :class:`~gateway.errors.NodeAwayError`.
        """
        if not node.url:
            self.failed += 1
            raise NodeAwayError(
                node.name,
                f"the node {node.name} of the cluster has it, and does not tell where it is: set NODE_URL there",
            )
        if node.id != self._own_id and self._peers.is_down(node):
            self.failed += 1
            raise NodeAwayError(node.name, f"the node {node.name} of the cluster is down: ask again when it runs")
        path, _, query = target.partition("?")
        asked = self._peers.request(node, method, path, query, headers, body, silence_s=SILENCE_S)
        async with AsyncExitStack() as stack:
            try:
                async with self._peers.waiting(node, HEAD_S):
                    answer = await stack.enter_async_context(asked)
            except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
                self.failed += 1
                raise NodeAwayError(node.name, _why(node, error)) from None
            yield answer


class _LostError(Exception):
    """The other node, not the client, ended the exchange."""


_WebSocket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pass_messages(source: _WebSocket, sink: _WebSocket) -> None:
    with contextlib.suppress(ConnectionError, RuntimeError):
        async for message in source:
            match message.type:
                case aiohttp.WSMsgType.TEXT:
                    await sink.send_str(message.data)
                case aiohttp.WSMsgType.BINARY:
                    await sink.send_bytes(message.data)
                case aiohttp.WSMsgType.PING:
                    await sink.ping(message.data)
                case aiohttp.WSMsgType.PONG:
                    await sink.pong(message.data)


async def _copy(answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    chunks = answer.content.iter_chunked(CHUNK_BYTES)
    while True:
        try:
            chunk = await anext(chunks, b"")
        except (aiohttp.ClientError, OSError) as error:
            raise _LostError from error
        if not chunk:
            break
        await response.write(chunk)
    await response.write_eof()


def _named_in_connection(headers: Mapping[str, str]) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in headers.get(hdrs.CONNECTION, "").split(","))


def fields_of(request: web.Request) -> Mapping[str, str]:
    """The fields of a request that another node gets (rules 1 and 2)."""
    left_out = NOT_SENT | _named_in_connection(request.headers)
    fields = CIMultiDict(
        (name, value)
        for name, value in request.headers.items()
        if name.lower() not in left_out and not name.lower().startswith("sec-fetch-")
    )
    session = request.get(SESSION)
    if session is not None and session.credential.is_cookie and session.credential.token is not None:
        fields[SIGN_IN] = session.credential.token
    if request.remote:
        fields["X-Forwarded-For"] = request.remote
    fields["X-Forwarded-Host"] = request.host
    fields["X-Forwarded-Proto"] = request.scheme
    return fields


def return_fields(answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    """Give an answer the fields of another node's."""
    left_out = NOT_RETURNED | _named_in_connection(answer.headers)
    for name, value in answer.headers.items():
        if name.lower() not in left_out:
            response.headers.add(name, value)


def _why(node: Node, error: Exception) -> str:
    at = f"the node {node.name} of the cluster at {redact(node.url)}"
    what = "then ask again, or another node"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the certificate of {at} is refused: see NODE_TLS_CA_FILE"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection to {at}: {error.os_error.strerror or 'it failed'}; {what}"
    if isinstance(error, TimeoutError):
        return f"{at} does not answer: see whether it runs, {what}"
    return f"{at} ended the connection: see whether it runs, {what}"
