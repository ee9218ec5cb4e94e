"""The gateway that is attacked, as :mod:`bench.support.attacks` sees it.

An attacker has eight addresses on loopback, 127.0.1.1 to 127.0.1.8.
"""

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp

ADDRESSES = [f"127.0.1.{n}" for n in range(1, 9)]
CAMERA = "demo"


class Target:
    """The gateway, when to stop, and the counts of answers."""

    def __init__(self, url: str, udp_port: int, seconds: float) -> None:
        self.url = url
        self.port = urlsplit(url).port or 80
        self.udp_port = udp_port
        self.ends_s = time.monotonic() + seconds
        self.counts: Counter[str] = Counter()

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.ends_s

    @contextlib.asynccontextmanager
    async def http(self, n: int = 0):  # type: ignore[no-untyped-def]
        """A client at one of the addresses."""
        connector = aiohttp.TCPConnector(local_addr=(ADDRESSES[n % len(ADDRESSES)], 0), limit=0)
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(self.url, connector=connector, timeout=timeout) as session:
            yield session

    async def repeat(self, method: str, paths: Callable[[int], str], workers: int, **options: object) -> None:
        """Send requests in so many loops at a time, and read the answers."""
        numbers = itertools.count()

        async def work(n: int) -> None:
            async with self.http(n) as http:
                while self.goes_on:
                    try:
                        async with http.request(method, paths(next(numbers)), **options) as answer:
                            async for _ in answer.content.iter_chunked(65536):
                                if not self.goes_on:
                                    break
                            self.counts[str(answer.status)] += 1
                    except (aiohttp.ClientError, TimeoutError, OSError) as error:
                        self.counts[type(error).__name__] += 1

        await asyncio.gather(*(work(n) for n in range(workers)))

    async def connect(self, n: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A raw connection."""
        with contextlib.suppress(OSError):
            return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(ADDRESSES[n % len(ADDRESSES)], 0))
        self.counts["refused"] += 1
        return None
