"""Measure what a reader of the RTSP server costs, and how soon it has a picture, beside MediaMTX.

    make bench NAME=rtsp_readers ARGS='[--readers 1,20,80] [--seconds 10] [--kilobits 4000]'
    MEDIAMTX=/path/to/mediamtx make bench NAME=rtsp_readers

One camera of 720p30, GOP of two seconds, is read over TCP by clients that throw away what they get, in this process.
Both servers pull the same camera, and are measured at the same time, each with as many readers. Figures are percent of
a core for each reader, user and system, the cost without readers subtracted; and the time from the request to the end
of the first keyframe. Goal: at most what MediaMTX costs.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.density import cpu_s
from bench.support.rtsp_farm import farm
from tests.support.gateway_process import GatewayProcess
from tests.support.rtsp import free_port

_MEDIAMTX = """logLevel: warn
rtspAddress: 127.0.0.1:{port}
rtspTransports: [tcp]
rtmp: no
srt: no
webrtc: no
hls: no
moq: no
paths:
  door: {{source: "rtsp://127.0.0.1:{camera}/door", rtspTransport: tcp}}
"""


class _Reader(asyncio.BufferedProtocol):
    """Asks for a stream, and drops what comes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._buffer = bytearray(256 * 1024)
        self._steps = iter(
            (
                ("DESCRIBE", "", ""),
                ("SETUP", self.control, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"),
                ("PLAY", "", ""),
            )
        )
        self._session = ""
        self._sequence = 0
        self._transport: asyncio.Transport | None = None
        self.began_s = time.monotonic()
        self.first_picture_s: float | None = None
        self.bytes = 0

    control = "/trackID=0"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)

    def buffer_updated(self, nbytes: int) -> None:
        self.bytes += nbytes
        if self.first_picture_s is not None:
            return
        data = bytes(self._buffer[:nbytes])
        if data[:4] == b"RTSP":
            head = data.partition(b"\r\n\r\n")[0].decode(errors="replace")
            for line in head.split("\r\n"):
                if line.lower().startswith("session:"):
                    self._session = line.partition(":")[2].partition(";")[0].strip()
            if b"a=control:" in data:
                self.control = "/" + data.rpartition(b"a=control:")[2].split()[0].decode().rpartition("/")[2]
            self._ask()
            data = data.partition(b"\r\n\r\n")[2]
        if _has_keyframe(data):
            self.first_picture_s = time.monotonic() - self.began_s

    def _ask(self) -> None:
        step = next(self._steps, None)
        if step is None or self._transport is None:
            return
        method, path, headers = step
        path = self.control if method == "SETUP" else path
        self._sequence += 1
        session = f"Session: {self._session}\r\n" if self._session else ""
        request = f"{method} rtsp://127.0.0.1:{self._port}/door{path} RTSP/1.0\r\nCSeq: {self._sequence}\r\n"
        self._transport.write(f"{request}{session}{headers}\r\n".encode())


def _has_keyframe(data: bytes) -> bool:
    """Whether there is a packet of an IDR picture in interleaved frames: a fragment, or whole (RFC 6184 §5.8)."""
    at = 0
    while at + 18 < len(data) and data[at] == 0x24:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        payload = at + 16
        kind = data[payload] & 0x1F
        if data[at + 1] == 0 and (kind == 5 or (kind == 28 and data[payload + 1] & 0x1F == 5)):
            return True
        at += 4 + size
    return False


@contextmanager
def _mediamtx(program: Path, folder: Path, camera: int, port: int) -> Iterator[int]:
    settings = folder / "mediamtx.yml"
    settings.write_text(_MEDIAMTX.format(port=port, camera=camera))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program.resolve(), settings], stdout=log, stderr=log, cwd=folder)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


async def _measure(servers: dict[str, tuple[int, int]], counts: list[int], seconds: float) -> None:
    """``servers``: port and process of each."""
    loop = asyncio.get_running_loop()
    idle = await _cpu(servers, seconds)
    for count in counts:
        readers: dict[str, list[_Reader]] = {name: [] for name in servers}
        transports = []
        for _ in range(count):
            for name, (port, _) in servers.items():
                transport, reader = await loop.create_connection(lambda port=port: _Reader(port), "127.0.0.1", port)  # type: ignore[misc]
                transports.append(transport)
                readers[name].append(reader)
            await asyncio.sleep(0.02)
        await asyncio.sleep(3)
        before = {name: sum(each.bytes for each in of_server) for name, of_server in readers.items()}
        cost = await _cpu(servers, seconds)
        shares = {}
        for name, of_server in readers.items():
            first = [each.first_picture_s for each in of_server if each.first_picture_s is not None]
            rate = (sum(each.bytes for each in of_server) - before[name]) * 8 / seconds / count / 1e6
            shares[name] = (cost[name] - idle[name]) / count
            median = f"{1000 * statistics.median(first):6.0f} ms" if first else "none"
            print(
                f"  {name:9} {count:3} readers: {shares[name]:6.3f} % of a core each, {rate:5.2f} Mbit/s each,"
                f" first picture p50 {median}",
                flush=True,
            )
        if len(shares) > 1:
            print(f"  ratio         {shares['liveedge'] / max(1e-9, shares['MediaMTX']):.2f}; goal 1.00", flush=True)
        for transport in transports:
            transport.abort()
        await asyncio.sleep(1)


async def _cpu(servers: dict[str, tuple[int, int]], seconds: float) -> dict[str, float]:
    before = {name: cpu_s(pid) for name, (_, pid) in servers.items()}
    await asyncio.sleep(seconds)
    return {name: 100 * (cpu_s(pid) - before[name]) / seconds for name, (_, pid) in servers.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", default="1,20,80")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--kilobits", type=int, default=4000)
    options = parser.parse_args()
    program = os.environ.get("MEDIAMTX")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        camera = stack.enter_context(farm(f"--kilobits={options.kilobits}"))
        ours, theirs = free_port(), free_port()
        (folder / "liveedge.toml").write_text(f'[cameras.door]\nurl = "rtsp://127.0.0.1:{camera}/door"\n')
        gateway = stack.enter_context(GatewayProcess(folder, RECORD="never", RTSP_PORT=ours))
        gateway.wait_for_state("live", "door")
        servers = {"liveedge": (ours, gateway.pid)}
        if program is not None:
            servers["MediaMTX"] = theirs, stack.enter_context(_mediamtx(Path(program), folder, camera, theirs))
        time.sleep(3)
        print(f"one camera of {options.kilobits} kbit/s, read over TCP")
        asyncio.run(_measure(servers, [int(each) for each in options.readers.split(",")], options.seconds))


if __name__ == "__main__":
    main()
