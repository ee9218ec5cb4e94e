"""Peers: requests to the other nodes of a cluster, over their ordinary HTTP ports.

Rules:

1. A node is reached at its ``NODE_URL``. What is sent there proves by a token of :mod:`web.cluster.tokens` that it
   comes from a node. TLS is verified by the system's certificates, or those of ``NODE_TLS_CA_FILE``.
2. A node whose lease has expired is still asked for the cameras that nobody has taken from it: it may have lost the
   database alone.
3. Workers of one machine have no such database: a worker whose lease has ended is down. Connections to it wait in a
   socket that its parent keeps open, and its next process would do what nobody waits for any more. So it is not asked
   (:attr:`Peers.are_workers`).
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import aiohttp
from yarl import URL

from gateway.cluster.model import Node, View
from web.auth.authenticator import NODE_TOKEN
from web.cluster.tokens import NodeTokens

CONNECT_S = 3.0
"""A node that is there accepts a connection at once. One that is not must not hold up the next attempt."""

REMEMBERED_MAX = 1024
"""Nodes whose URL is remembered after their lease has expired; the oldest is forgotten."""


class Peers:
    """See the module. Lives on the event loop."""

    def __init__(self, tokens: NodeTokens, ca_file: Path | None = None, *, are_workers: bool = False) -> None:
        self.are_workers = are_workers
        self._waits: dict[asyncio.Timeout, str] = {}
        """Limits of waits for a node, with its id (rule 3)."""
        self._view: Collection[str] = ()
        self._tokens = tokens
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None
        self._known: dict[str, Node] = {}
        self._alive_s: dict[str, float] = {}
        """When each node was alive last, by its name."""

    async def close(self) -> None:
        """End all requests."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def seen(self, view: View) -> None:
        """Remember the nodes of a view (rule 2)."""
        self._view = view.nodes.keys()
        for node_id, node in view.nodes.items():
            self._known.pop(node_id, None)
            self._known[node_id] = node
            self._alive_s[node.name] = time.monotonic()
        while len(self._known) > REMEMBERED_MAX:
            del self._known[next(iter(self._known))]
        for limit, node_id in list(self._waits.items()) if self.are_workers else ():
            if node_id not in view.nodes:
                del self._waits[limit]
                limit.reschedule(asyncio.get_running_loop().time())

    def is_down(self, node: Node) -> bool:
        """Whether a node is a worker that is not alive (rule 3)."""
        return self.are_workers and bool(self._view) and node.id not in self._view

    @asynccontextmanager
    async def waiting(self, node: Node, most_s: float) -> AsyncIterator[None]:
        """Wait for a node, for so many seconds at most, and by rule 3. Raises ``TimeoutError``."""
        async with asyncio.timeout(most_s) as limit:
            self._waits[limit] = node.id
            try:
                yield
            finally:
                self._waits.pop(limit, None)

    def node(self, node_id: str | None) -> Node | None:
        """A node that is alive or was."""
        return self._known.get(node_id or "")

    def named(self, name: str) -> Node | None:
        """The newest process of a node, alive or not, by the name of the node."""
        return next((node for node in reversed(self._known.values()) if node.name == name), None)

    def alive_within(self, limit_s: float) -> set[str]:
        """The names of the nodes that were alive in the last so many seconds."""
        now_s = time.monotonic()
        return {name for name, alive_s in self._alive_s.items() if now_s - alive_s <= limit_s}

    @asynccontextmanager
    async def request(
        self,
        node: Node,
        method: str,
        path: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes | aiohttp.StreamReader | None = None,
        timeout_s: float | None = None,
        silence_s: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A request to another node. ``path`` and ``query`` are encoded. ``timeout_s`` is for all of it,
        ``silence_s`` for each wait for a piece of the answer.

        Raises ``aiohttp.ClientError``, ``OSError`` and ``TimeoutError``.
        """
        url = URL(f"{node.url}{path}" + (f"?{query}" if query else ""), encoded=True)
        fields = {**(headers or {}), NODE_TOKEN: self._tokens.sign(method, path)}
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S, sock_read=silence_s)
        session = self._session = self._session or self._new_session()
        async with session.request(
            method, url, headers=fields, data=body, timeout=timeout, allow_redirects=False
        ) as answer:
            yield answer

    def web_socket(
        self, node: Node, path: str, query: str, headers: Mapping[str, str], max_bytes: int
    ) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        """A WebSocket at another node, as :meth:`request`."""
        url = URL(f"{node.url}{path}" + (f"?{query}" if query else ""), encoded=True)
        fields = {**headers, NODE_TOKEN: self._tokens.sign("GET", path)}
        session = self._session = self._session or self._new_session()
        return session.ws_connect(url, headers=fields, autoping=False, max_msg_size=max_bytes)

    def _new_session(self) -> aiohttp.ClientSession:
        context = ssl.create_default_context(cafile=self._ca_file)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": f"liveedge/{version('liveedge')}"},
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type"),
        )
