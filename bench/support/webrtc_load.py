"""N viewers in this process that do real ICE and DTLS, and then only count what arrives.

One core drives a hundred of them, because packets are counted where they leave the socket. The CPU of a server is that
of its process and its children.
"""

import asyncio
import ctypes
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from aioice import ice
from aioice.ice import StunProtocol
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.support.eventually import eventually

CONNECT_S = 60.0

_SO_RCVBUFFORCE = 33
"""Linux: lets root exceed net.core.rmem_max."""
RECEIVE_BYTES = 4 * 1024 * 1024
"""Eight seconds of one viewer."""

_SO_ATTACH_FILTER = 26
SAMPLED = 16
"""One in so many packets of a viewer whose packets are :func:`sampled <sample>`: some ten a second at 1.5 Mbit/s."""

_FILTER = (
    (0x30, 0, 0, 8),  # A = the first byte after the UDP header
    (0x35, 0, 7, 128),  # below: not RTP
    (0x35, 6, 0, 192),  # nor from here on
    (0x30, 0, 0, 9),
    (0x54, 0, 0, 0x7F),
    (0x35, 0, 1, 64),
    (0x35, 0, 2, 96),  # 64 to 95: RTCP
    (0x28, 0, 0, 10),  # the sequence number
    (0x45, 1, 0, SAMPLED - 1),
    (0x06, 0, 0, 0xFFFF),  # taken
    (0x06, 0, 0, 0),  # dropped
)
"""For socket(7), SO_ATTACH_FILTER: operation, jumps if true and if false, operand."""


@dataclass
class Arrivals:
    """What one viewer received: packets, bytes, the complete first frame, the longest pause since the last reset."""

    packets: int = 0
    size_bytes: int = 0
    last_s: float = 0.0
    longest_gap_s: float = 0.0
    first_frame_s: float | None = None
    """When the last packet of the first frame, a keyframe, arrived."""
    first_frame_packets: int = 0
    _stream: bytes = b""
    _first_sequence: int = 0
    _end: int | None = None

    def take(self, data: bytes) -> None:
        """Count one SRTP packet; its header is not encrypted."""
        now = time.monotonic()
        if self.packets:
            self.longest_gap_s = max(self.longest_gap_s, now - self.last_s)
        self.packets += 1
        self.size_bytes += len(data)
        self.last_s = now
        if self.first_frame_s is None:
            self._gather(data, now)

    def _gather(self, data: bytes, now: float) -> None:
        sequence, stream = int.from_bytes(data[2:4], "big"), data[4:12]
        if not self._stream:
            self._stream, self._first_sequence = stream, sequence
        if stream != self._stream:  # another timestamp or SSRC
            return
        self.first_frame_packets += 1
        if data[1] & 0x80:
            self._end = sequence
        if self._end is not None and self.first_frame_packets > (self._end - self._first_sequence) & 0xFFFF:
            self.first_frame_s = now


@dataclass
class Viewer:
    peer: RTCPeerConnection
    arrivals: Arrivals = field(default_factory=Arrivals)


_arrivals: dict[Any, Arrivals] = {}
"""By the connection of aioice."""

_receive = StunProtocol.datagram_received


def _count(protocol: Any, data: Any, addr: tuple[str, int]) -> None:
    # SRTP only: RTCP (payload types 64 to 95 of RFC 5761), DTLS and STUN are passed on.
    if len(data) > 1 and 128 <= data[0] < 192 and not 64 <= data[1] & 0x7F < 96:
        arrivals = _arrivals.get(protocol.receiver)
        if arrivals is not None:
            arrivals.take(data)
            return
    _receive(protocol, data, addr)


_gathered = ["127.0.0.1"]
own_addresses = ice.get_host_addresses
ice.get_host_addresses = lambda use_ipv4, use_ipv6: list(_gathered)
StunProtocol.datagram_received = _count  # type: ignore[method-assign,assignment]


class Server:
    """A server process, and its CPU time."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address.rstrip("/")

    @property
    def url(self) -> str:
        return f"{self.address}/whep"

    def cpu_s(self) -> float:
        """CPU seconds of the process and its children so far, as the scheduler accounts them (in ns, proc(5))."""
        process = psutil.Process(self.process.pid)
        total = 0
        for member in (process, *process.children(recursive=True)):
            for thread in Path(f"/proc/{member.pid}/task").iterdir():
                with suppress(OSError):  # a thread that has ended
                    total += int((thread / "schedstat").read_text().split()[0])
        return total / 1e9


async def cpu_share(server: Server, seconds: float) -> float:
    """CPU seconds per second, averaged over ``seconds``."""
    cpu, began = server.cpu_s(), time.monotonic()
    await asyncio.sleep(seconds)
    return (server.cpu_s() - cpu) / (time.monotonic() - began)


@contextmanager
def server(kind: str, *options: str) -> Iterator[Server]:
    """Run bench.support.webrtc_server until the block ends."""
    command = [sys.executable, "-m", "bench.support.webrtc_server", kind, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Server(process, process.stdout.readline().strip())
    finally:
        end(process)


@contextmanager
def rtsp_camera() -> Iterator[str]:
    """An RTSP camera of 4 Mbit/s at 30 fps in its own process; yield its URL."""
    script = Path(__file__).with_name("rtsp_camera.py")
    process = subprocess.Popen(
        ["/usr/bin/python3", str(script), "noise"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        end(process)


@contextmanager
def rtsp_cameras(*options: str) -> Iterator[list[str]]:
    """Run bench.support.rtsp_cameras until the block ends; yield the cameras' URLs."""
    command = [sys.executable, "-m", "bench.support.rtsp_cameras", *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        urls: list[str] = json.loads(process.stdout.readline())
        yield urls
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """End a process, if necessary with SIGKILL."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def gather_on(*addresses: str) -> None:
    """The addresses of new viewers; at first ``127.0.0.1`` alone, which aioice would leave out."""
    _gathered[:] = addresses


def count(viewer: Viewer) -> None:
    """Count the packets of a viewer from now on. Its candidates have been gathered."""
    connection = widen(viewer.peer)
    _arrivals[connection] = viewer.arrivals


def widen(peer: RTCPeerConnection) -> Any:
    """Have the sockets of a viewer hold what comes while this process is busy. Returns its connection of aioice."""
    connection = peer.getTransceivers()[0].receiver.transport.transport._connection
    for protocol in connection._protocols:
        # A hundred viewers share this process: one of them must not read all its packets at once.
        with suppress(OSError):
            protocol.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BYTES)
    return connection


def sample(viewer: Viewer) -> None:
    """Have the kernel drop all RTP but one packet in :data:`SAMPLED`: so a viewer needs hardly any CPU here."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in _FILTER))
    program = struct.pack("HL", len(_FILTER), ctypes.addressof(code))
    connection = viewer.peer.getTransceivers()[0].receiver.transport.transport._connection
    for protocol in connection._protocols:
        protocol.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


async def offer() -> RTCPeerConnection:
    """A peer with an offer."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
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
    count(viewer)
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    return viewer


async def wait_for_media(viewers: list[Viewer]) -> None:
    """Wait until each viewer has received a packet."""
    await eventually(lambda: all(viewer.arrivals.packets for viewer in viewers), "every viewer gets packets")


async def close(viewers: list[Viewer]) -> None:
    """End the viewers."""
    _arrivals.clear()
    await asyncio.gather(*(viewer.peer.close() for viewer in viewers))


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that ``percent`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def row(name: str, figure: str, goal: str = "") -> None:
    """Print a row of the table in docs/webrtc.md."""
    print(f"| {name} | {figure} | {goal} |", flush=True)


def verdict(value: float, goal: float, unit: str) -> str:
    """A goal as text, and whether it is met."""
    return f"{goal:g} {unit}: {'met' if value <= goal else 'missed'}"
