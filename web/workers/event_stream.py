"""``/api/events/stream`` of all workers as one stream of server-sent events.

Rules:

1. Each worker is asked, and again after :data:`AGAIN_S` when its stream ends: it goes on where that ended.
2. An id has the positions at all workers, so that a client that connects again misses nothing of any.
3. A client that reads slowly slows the streams of the workers, which hold nothing for it in memory.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import aiohttp
from aiohttp import hdrs, web

from gateway.cluster.model import Node
from gateway.errors import NodeAwayError
from web.cluster.forwarding import Forwarding, fields_of
from web.workers.worker import worker_number

AGAIN_S = 1.0

WAITING_MAX = 16
"""Messages of all workers that wait for the client; more wait at the workers."""

ID_MAX = 1024

HEADER = "Last-Event-ID"
QUERY = "last_event_id"


def read_positions(text: str) -> dict[int, str]:
    """The positions in an id, by worker (rule 2). What cannot be read is left out."""
    positions = {}
    for part in text[:ID_MAX].split(","):
        number, equals, position = part.partition("=")
        if equals and number.isdecimal() and len(number) <= 3:
            positions[int(number)] = position
    return positions


def write_positions(positions: Mapping[int, str]) -> str:
    """The inverse of :func:`read_positions`."""
    return ",".join(f"{number}={position}" for number, position in sorted(positions.items()))


class MergedStream:
    """See the module. ``nodes`` returns the workers that are alive."""

    def __init__(self, request: web.Request, forwarding: Forwarding, nodes: Callable[[], Sequence[Node]]) -> None:
        self._request = request
        self._forwarding = forwarding
        self._nodes = nodes
        self._positions = read_positions(request.headers.get(HEADER) or request.query.get(QUERY) or "")
        self._blocks: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(WAITING_MAX)
        self._reading: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> web.StreamResponse:
        """Send until the client leaves."""
        first = self._nodes()[0]
        async with self._ask(first) as answer:
            if self._request.method == hdrs.METH_HEAD:
                return web.Response(status=answer.status, content_type=answer.content_type)
            if answer.status != web.HTTPOk.status_code:
                return web.Response(
                    status=answer.status, body=await answer.read(), content_type=answer.content_type or None
                )
        response = web.StreamResponse(headers={hdrs.CACHE_CONTROL: "no-store", "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        await response.prepare(self._request)
        try:
            while True:
                for node in self._nodes():
                    number = worker_number(node.name)
                    if number not in self._reading or self._reading[number].done():
                        self._reading[number] = asyncio.create_task(self._read(number, node), name="event-stream")
                try:
                    async with asyncio.timeout(AGAIN_S):
                        number, block = await self._blocks.get()
                except TimeoutError:
                    continue
                await response.write(self._with_all_positions(number, block))
        finally:
            for task in self._reading.values():
                task.cancel()

    def _ask(self, node: Node) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        fields = {name: value for name, value in fields_of(self._request).items() if name.lower() != HEADER.lower()}
        if (position := self._positions.get(worker_number(node.name))) is not None:
            fields[HEADER] = position
        query = "&".join(
            part for part in self._request.rel_url.raw_query_string.split("&") if not part.startswith(f"{QUERY}=")
        )
        method = hdrs.METH_GET
        return self._forwarding.ask(node, method, f"{self._request.rel_url.raw_path}?{query}", fields)

    async def _read(self, number: int, node: Node) -> None:
        try:
            async with self._ask(node) as answer:
                while block := await answer.content.readuntil(b"\n\n"):
                    await self._blocks.put((number, block))
        except (NodeAwayError, aiohttp.ClientError, OSError, ValueError):
            pass  # rule 1
        await asyncio.sleep(AGAIN_S)

    def _with_all_positions(self, number: int, block: bytes) -> bytes:
        lines = block.decode(errors="replace").split("\n")
        for place, line in enumerate(lines):
            if line.startswith("id: "):
                self._positions[number] = line[4:]
                lines[place] = f"id: {write_positions(self._positions)}"
        return "\n".join(lines).encode()
