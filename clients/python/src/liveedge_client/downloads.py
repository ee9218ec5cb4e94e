"""Files of the gateway: clips and recordings.

Rules:

1. A file is complete or not there: it is written beside its place, and moved there at its end.
2. The event loop does not wait for the disk.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar
from uuid import uuid4

import aiohttp
from yarl import URL

from liveedge_client.http import Requests

CHUNK_BYTES = 256 * 1024

SILENCE_S = 60.0
"""A download may take long. One of which nothing arrives for this long has ended."""

Result = TypeVar("Result")


async def chunks(requests: Requests, url: URL) -> AsyncGenerator[bytes, None]:
    """The bytes of a file, as they arrive."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=requests.timeout.total, sock_read=SILENCE_S)
    async with requests.send("GET", url, timeout=timeout) as response:
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            yield chunk


async def save(requests: Requests, url: URL, file: Path) -> int:
    """Write a file, over an existing one. Returns its size in bytes. Raises ``OSError`` too, of the disk."""
    partial = _Partial(file)
    try:
        async with aclosing(chunks(requests, url)) as arriving:
            async for chunk in arriving:
                await _in_thread(partial.write, chunk)
        return await _in_thread(partial.finish)
    finally:
        await _in_thread(partial.discard)


class _Partial:
    """A file that is being written beside its place. Blocking; one call at a time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._path = file.with_name(f".{uuid4().hex}.part")
        self._output: BinaryIO | None = None
        self._size = 0

    def write(self, data: bytes) -> None:
        if self._output is None:
            self._output = self._path.open("xb")
        self._size += self._output.write(data)

    def finish(self) -> int:
        """Move it to its place; its size."""
        self.write(b"")
        assert self._output is not None
        self._output.close()
        self._path.replace(self._file)
        return self._size

    def discard(self) -> None:
        """Remove what is not in its place."""
        if self._output is not None:
            self._output.close()
            self._path.unlink(missing_ok=True)


async def _in_thread(call: Callable[..., Result], *given: object) -> Result:
    """A call in a thread. A cancellation waits for its end, as nothing else ends a thread."""
    task = asyncio.ensure_future(asyncio.to_thread(call, *given))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise
