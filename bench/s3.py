"""Measure seeks into recordings that are only in the object storage, and the same ones from the disk.

    make bench NAME=s3 ARGS='[--seeks 200] [--files 24] [--delay-ms 20]'

A seek is what a player asks for: the bytes of one HLS segment of two seconds, anywhere in the recording, over HTTP, to
its last byte. The cache has its smallest size, a tenth of the recordings, so that most seeks are cold. The storage is
gofakes3 behind a proxy that adds the delay of a network and a server to each answer.
"""

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
from pathlib import Path

import aiohttp
import m3u8

from bench.support.webrtc_load import percentile
from gateway.clock import CLOCK_RATE, to_rfc3339
from tests.support.eventually import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.recording import index_of, record
from tests.support.s3_server import s3_server
from tests.support.sources.encoded import START_90K, EncoderSettings, encode

GOAL_MS = 150.0

FILE_S = 20

CHUNK_BYTES = 65_536


class DelayingProxy:
    """Forwards to a port of 127.0.0.1; the first bytes of each answer come ``delay_s`` later."""

    def __init__(self, port: int, delay_s: float) -> None:
        self._target = port
        self._delay_s = delay_s

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target)
        asked = asyncio.Event()
        # asyncio logs a connection that is open at the end as an error.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(
                self._copy(reader, to_writer, asked, is_answer=False),
                self._copy(to_reader, writer, asked, is_answer=True),
                return_exceptions=True,
            )

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event, *, is_answer: bool
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if not is_answer:
                asked.set()
            elif asked.is_set():
                asked.clear()
                await asyncio.sleep(self._delay_s)
            writer.write(data)
            await writer.drain()
        writer.close()


async def measure(client: aiohttp.ClientSession, ranges: list[tuple[str, str]], seeks: int) -> list[float]:
    """The milliseconds of each seek."""
    chosen, took = random.Random(1), list[float]()
    for _ in range(seeks):
        url, span = chosen.choice(ranges)
        began = time.perf_counter()
        async with client.get(url, headers={"Range": span}) as answer:
            assert answer.status == 206, await answer.text()
            await answer.read()
        took.append((time.perf_counter() - began) * 1000)
    return took


async def ranges_of(client: aiohttp.ClientSession, url: str, seconds: int) -> list[tuple[str, str]]:
    """Address and byte range of each HLS segment."""
    start, end = to_rfc3339(START_90K), to_rfc3339(START_90K + seconds * CLOCK_RATE)
    async with client.get(f"{url}/hls/door/dvr.m3u8", params={"start": start, "end": end, "prefer": "main"}) as answer:
        playlist = m3u8.loads(await answer.text(), uri=str(answer.url))
    found = []
    for segment in playlist.segments:
        size, _, offset = segment.byterange.partition("@")
        found.append((segment.absolute_uri, f"bytes={offset}-{int(offset) + int(size) - 1}"))
    return found


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeks", type=int, default=200)
    parser.add_argument("--files", type=int, default=24)
    parser.add_argument("--delay-ms", type=float, default=20.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, s3_server("gofakes3") as server:
        folder = Path(name)
        data_dir = folder / "data"
        what = EncoderSettings(seconds=FILE_S, gop=20, width=320, height=240, noise=True)
        recordings = []
        for number in range(options.files):
            start_90k = START_90K + number * FILE_S * CLOCK_RATE
            recordings += record(data_dir, encode(what, start_90k, run=number + 1), segment_s=FILE_S)
        index_of(data_dir, recordings).close()
        size = sum(each.segment.size for each in recordings)
        port = await DelayingProxy(server.port, options.delay_ms / 1000).start()
        settings = server.settings("bench") | {"archive_endpoint": f"http://127.0.0.1:{port}"}
        settings |= {"archive_local_keep": 1e9, "archive_cache_bytes": 4 << 20, "archive_uploads": 8}
        upper = {key.upper(): value for key, value in settings.items()}
        with GatewayProcess(folder, **upper) as gateway:
            async with aiohttp.ClientSession() as client:

                async def is_uploaded() -> bool:
                    async with client.get(f"{gateway.url}/api/status") as answer:
                        storage = (await answer.json())["archive"]["storage"]
                    return bool(storage["segments_uploaded"] >= len(recordings))

                await eventually(is_uploaded, "all recordings are uploaded", 180.0)
                ranges = await ranges_of(client, gateway.url, options.files * FILE_S)
                print(f"{len(ranges)} HLS segments, {size / 1e6:.0f} MB; {options.delay_ms:g} ms to each first byte")
                for kind in ("disk", "storage"):
                    if kind == "storage":
                        for each in recordings:
                            each.segment.path(data_dir).unlink()
                    took = await measure(client, ranges, options.seeks)
                    p50, p95, most = percentile(took, 50), percentile(took, 95), max(took)
                    met = "met" if p95 <= GOAL_MS else "missed"
                    print(
                        f"{kind:<8} {len(took)} seeks: p50 {p50:.1f}, p95 {p95:.1f}, max {most:.1f} ms"
                        f" (goal p95 {GOAL_MS:.0f} ms: {met})"
                    )


if __name__ == "__main__":
    asyncio.run(main())
