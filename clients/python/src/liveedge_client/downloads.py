"""Files of the gateway: clips and recordings.

Rules:

1. A file is complete or not there: it is written beside its place, and moved there at its end.
2. The event loop does not wait for the disk.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
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
    """Write a file, over an existing one. Returns its size in bytes."""
    partial = file.with_name(f".{file.name}.{uuid4().hex}.part")
    output: BinaryIO | None = None
    try:
        size = 0
        async for chunk in chunks(requests, url):
            if output is None:
                output = await _in_thread(lambda: partial.open("xb"))
            await _in_thread(lambda data=chunk, to=output: to.write(data))  # type: ignore[misc]
            size += len(chunk)
        if output is None:
            output = await _in_thread(lambda: partial.open("xb"))
        await _in_thread(output.close)
        await _in_thread(lambda: partial.replace(file))
        return size
    finally:
        if output is not None:
            output.close()
            with suppress(FileNotFoundError):
                partial.unlink()


async def _in_thread(call: Callable[[], Result]) -> Result:
    return await asyncio.to_thread(call)
