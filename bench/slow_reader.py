"""Measure clients that do not read: 1,000 frames to ten of them, and to an eleventh that reads.

    make bench NAME=slow_reader ARGS='[--frames 1000]'

The ten subscribe to JPEG frames over Socket.IO and never read their socket again. The server's memory must not grow
with the frames (goal: less than 5 MB), and the eleventh must not be affected.
"""

import argparse
import asyncio
import sys
import time

import numpy as np
import psutil

from bench.frames import Receiver, child

FPS = 30.0
STALLED = 10
CAMERA = "fake://clock?width=1280&height=720&fps=30"


async def stalled_client(port: str) -> asyncio.StreamWriter:
    """A client that subscribes to frames and then reads nothing. No library does that."""
    _, writer = await asyncio.open_connection("127.0.0.1", int(port), limit=2048)

    def message(text: str) -> bytes:
        data = text.encode()
        assert len(data) < 126
        return bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data  # masked with zeros (RFC 6455 §5.2)

    writer.write(
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    writer.write(message("40"))
    await asyncio.sleep(0.2)
    writer.write(message('42["frames_subscribe",{}]'))
    return writer


async def watch(reader: Receiver, frames: int) -> tuple[float, list[float]]:
    """Frames a second, and the latencies of this many frames in ms."""
    reader.frames, reader.late_ms = 0, []
    began = time.monotonic()
    while reader.frames < frames:
        await asyncio.sleep(0.05)
    return reader.frames / (time.monotonic() - began), reader.late_ms


async def main(frames: int) -> None:
    command = (sys.executable, "-m", "bench.frames", "--role", "liveedge", "--url", CAMERA, "--fps", str(FPS))
    with child(*command) as (process, port):
        server = psutil.Process(process.pid)
        eleventh = Receiver(reads_clock=True)
        await eleventh.start(port, subscribe=True)
        await watch(eleventh, 200)
        print("alone:             ", figures(*await watch(eleventh, 200)))
        before = server.memory_info().rss
        stalled = [await stalled_client(port) for _ in range(STALLED)]
        print("beside ten stalled:", figures(*await watch(eleventh, frames)))
        grown = (server.memory_info().rss - before) / 1e6
        print(f"memory grew by {grown:.1f} MB over {frames} frames (goal: less than 5 MB)")
        for writer in stalled:
            writer.close()
        await eleventh.stop()


def figures(fps: float, late_ms: list[float]) -> str:
    p50, p95 = (float(value) for value in np.quantile(late_ms, (0.5, 0.95)))
    return f"{fps:.1f} frames/s, p50 {p50:.0f} ms, p95 {p95:.0f} ms"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000, help="how many frames the eleventh client reads")
    asyncio.run(main(parser.parse_args().frames))
