"""JPEG frames over Socket.IO from the real process: a slow connection, and a restart."""

import base64
import json
import os
import socket
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import psutil

from tests.support.eventually import eventually_sync
from tests.support.gateway_process import GatewayProcess

CAMERA = {"RTSP_URL": "fake://x?width=640&height=360&fps=20", "CAPTURE_ENGINE": "fake", "RECORD": "never"}
BYTES_PER_S = 10_000


class Line:
    """A Socket.IO connection without a library, so that nothing reads ahead: unread data stays in the gateway."""

    def __init__(self, gateway: GatewayProcess, bytes_per_s: int | None = None) -> None:
        self._bytes_per_s = bytes_per_s
        self._socket = socket.socket()
        if bytes_per_s is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(30)
        self._socket.connect(("127.0.0.1", int(gateway.url.rsplit(":", 1)[1])))
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key.encode() + b"\r\n\r\n"
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._socket.recv(1)
        assert b" 101 " in head
        self.send("40")

    def send(self, text: str) -> None:
        data = text.encode()
        assert len(data) < 126
        self._socket.sendall(bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data)  # RFC 6455 §5.2, masked with zeros

    def frame(self) -> dict[str, Any]:
        """Read the next frame at the speed of the connection, without acknowledging it: its metadata and ``ack``."""
        while True:
            message = self._message()
            if not isinstance(message, str):
                continue
            if message == "2":
                self.send("3")
            elif message.startswith("451-"):
                ack, _, event = message[4:].partition("[")
                metadata: dict[str, Any] = json.loads("[" + event)[1]["metadata"]
                jpeg = self._message()
                assert isinstance(jpeg, bytes)
                assert jpeg.startswith(b"\xff\xd8")
                return metadata | {"ack": ack, "at": datetime.fromisoformat(metadata["timestamp"]).timestamp()}

    def close(self) -> None:
        self._socket.close()

    def _message(self) -> str | bytes:
        first, size = self._read(2)
        if size >= 126:
            size = int.from_bytes(self._read(2 if size == 126 else 8))
        data = self._read(size)
        return data if first & 0x0F == 2 else data.decode()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            got = self._socket.recv(min(size - len(data), 1000))
            assert got, "the gateway has hung up"
            data += got
            if self._bytes_per_s is not None and len(data) > 100:
                time.sleep(len(got) / self._bytes_per_s)
        return data


def live_edge(gateway: GatewayProcess) -> float:
    return datetime.fromisoformat(gateway.camera()["live_edge"]["time"]).timestamp()


def test_a_connection_of_10_kb_a_second_gets_fewer_and_current_frames(gateways: Callable[..., GatewayProcess]) -> None:
    gateway = gateways(**CAMERA)
    gateway.wait_for_state("live")
    line = Line(gateway, BYTES_PER_S)
    line.send('42["frames_subscribe",{"frame_rate":20,"width":160}]')
    frames = [line.frame()]
    process = psutil.Process(gateway.pid)
    before = process.memory_info().rss
    for _ in range(6):
        time.sleep(0.3)
        edge = live_edge(gateway)
        line.send(f"43{frames[-1]['ack']}[]")
        frames.append(line.frame())
        # The frame was made after the acknowledgement, and did not wait in a queue.
        assert frames[-1]["at"] >= edge - 1
    assert all(frame["skipped"] > 0 for frame in frames[2:])
    assert process.memory_info().rss - before < 16e6
    assert gateway.json("/api/status")["browsers"]["frames_sent"] <= len(frames)
    line.close()


def test_after_a_restart_of_the_gateway_the_first_frame_is_the_live_edge(
    gateways: Callable[..., GatewayProcess],
) -> None:
    gateway = gateways(**CAMERA)
    gateway.wait_for_state("live")
    for again in range(2):
        line = Line(gateway)
        edge = eventually_sync(
            lambda: gateway.camera().get("live_edge") and live_edge(gateway), "the camera has a live edge"
        )
        line.send('42["frames_subscribe",{}]')
        frame = line.frame()
        assert frame["at"] >= edge - 1
        assert (frame["sequence"], frame["skipped"]) == (1, 0)
        line.close()
        if not again:
            gateway.kill()
            gateway.start()
