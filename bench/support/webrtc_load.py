"""N viewers in this process that do real ICE and DTLS, and then only count what arrives.

One core drives a hundred of them, since packets are counted where they leave the socket. A server's CPU is that of its
process and its children.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import aiohttp
import psutil
from aioice.ice import StunProtocol
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

CONNECT_S = 60.0


@dataclass
class Arrivals:
    """What one viewer was sent: packets, bytes, when the first came, and the longest pause since it was cleared."""

    packets: int = 0
    size_bytes: int = 0
    first_s: float | None = None
    last_s: float = 0.0
    longest_gap_s: float = 0.0


@dataclass
class Viewer:
    peer: RTCPeerConnection
    arrivals: Arrivals = field(default_factory=Arrivals)


_arrivals: dict[Any, Arrivals] = {}
"""By aioice's connection."""

_receive = StunProtocol.datagram_received


def _count(protocol: Any, data: Any, addr: tuple[str, int]) -> None:
    # SRTP only: RTCP (payload types 64 to 95 of RFC 5761), DTLS and STUN go on.
    if len(data) > 1 and 128 <= data[0] < 192 and not 64 <= data[1] & 0x7F < 96:
        arrivals = _arrivals.get(protocol.receiver)
        if arrivals is not None:
            now = time.monotonic()
            arrivals.packets += 1
            arrivals.size_bytes += len(data)
            if arrivals.first_s is None:
                arrivals.first_s = now
            else:
                arrivals.longest_gap_s = max(arrivals.longest_gap_s, now - arrivals.last_s)
            arrivals.last_s = now
            return
    _receive(protocol, data, addr)


StunProtocol.datagram_received = _count  # type: ignore[method-assign,assignment]


class Server:
    """A server process of :mod:`bench.support.webrtc_server`."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address.rstrip("/")

    @property
    def url(self) -> str:
        return f"{self.address}/whep"

    def cpu_s(self) -> float:
        """CPU seconds so far, of the process and its children."""
        process = psutil.Process(self.process.pid)
        total = 0.0
        for member in (process, *process.children(recursive=True)):
            times = member.cpu_times()
            total += times.user + times.system
        return total


@contextmanager
def server(kind: str, *options: str) -> Iterator[Server]:
    """Run one until the block ends."""
    command = [sys.executable, "-m", "bench.support.webrtc_server", kind, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Server(process, process.stdout.readline().strip())
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


async def offer() -> RTCPeerConnection:
    """A peer with its offer made."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
        await peer.setLocalDescription(await peer.createOffer())
    return peer


async def join(http: aiohttp.ClientSession, url: str, peer: RTCPeerConnection | None = None) -> Viewer:
    """Join by WHEP; returns once the answer is applied."""
    peer = peer or await offer()
    async with http.post(url, data=peer.localDescription.sdp, headers={"Content-Type": "application/sdp"}) as reply:
        answer = await reply.text()
        if reply.status != 201:
            raise SystemExit(f"the server answered {reply.status}: {answer[:300]}")
    viewer = Viewer(peer)
    connection = peer.getTransceivers()[0].receiver.transport.transport._connection
    _arrivals[connection] = viewer.arrivals
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    return viewer


async def wait_for_media(viewers: list[Viewer]) -> None:
    """Until each has been sent something."""
    async with asyncio.timeout(CONNECT_S):
        while any(not viewer.arrivals.packets for viewer in viewers):
            await asyncio.sleep(0.02)


async def close(viewers: list[Viewer]) -> None:
    """They leave."""
    _arrivals.clear()
    await asyncio.gather(*(viewer.peer.close() for viewer in viewers))


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that ``percent`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
