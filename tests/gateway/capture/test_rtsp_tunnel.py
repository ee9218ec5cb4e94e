"""RTSP over HTTP and HTTPS, at a server of other authors, and at servers that do it wrong."""

import socket
import threading
from itertools import islice
from pathlib import Path

import pytest

from gateway.capture.engine import CaptureSource
from gateway.capture.engines.pyav import PyAVCaptureEngine
from gateway.errors import CameraRefusedError, CameraTimeoutError, CameraUnauthorizedError, CaptureError
from gateway.media import Packet
from gateway.rtsp.messages import HEAD_MAX_BYTES
from tests.support.blocking_engine import BlockingRtspEngine
from tests.support.certificate import self_signed
from tests.support.hostile import Handler, HostileServer
from tests.support.rtsp import VIEWER, RtspServer

Engine = type[PyAVCaptureEngine] | type[BlockingRtspEngine]


@pytest.fixture(params=[PyAVCaptureEngine, BlockingRtspEngine], ids=["pyav", "rtsp"])
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


def pull(engine: Engine, url: str, wanted: int = 30, timeout_s: float = 5.0) -> list[Packet]:
    packets = engine(CaptureSource("camera", url, timeout_s)).packets()
    taken = list(islice(packets, wanted))
    packets.close()  # type: ignore[attr-defined]
    return taken


def test_a_camera_over_http(engine: Engine, rtsp_server: RtspServer) -> None:
    packets = pull(engine, rtsp_server.url("/cam").replace("rtsp://", "rtsp+http://"))
    assert packets[0].is_keyframe
    assert {packet.is_video for packet in packets} == {True, False}


def test_credentials_over_http(engine: Engine, rtsp_server: RtspServer) -> None:
    assert pull(engine, rtsp_server.guarded_url("/video", *VIEWER).replace("rtsp://", "rtsp+http://"))
    with pytest.raises(CameraUnauthorizedError):
        pull(engine, rtsp_server.guarded_url("/video", VIEWER[0], "wrong").replace("rtsp://", "rtsp+http://"))


def test_transports_that_a_tunnel_has_not(engine: Engine, rtsp_server: RtspServer) -> None:
    with pytest.raises(CameraRefusedError, match="461"):
        pull(engine, rtsp_server.url("/udp").replace("rtsp://", "rtsp+http://"))


@pytest.mark.integration
def test_a_camera_over_https(engine: Engine, tmp_path: Path) -> None:
    with RtspServer(self_signed(tmp_path)) as server:
        assert pull(engine, f"rtsps+http://viewer:p@ss:word@127.0.0.1:{server.tls_port}/video")


def endless_head(connection: socket.socket, ending: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 200 OK\r\n")
    while not ending.is_set():
        connection.sendall(b"X: " + b"y" * HEAD_MAX_BYTES + b"\r\n")


def answers(head: bytes) -> Handler:
    def handle(connection: socket.socket, ending: threading.Event) -> None:
        connection.recv(4096)
        connection.sendall(head)
        ending.wait()

    return handle


def closes_the_post(connection: socket.socket, ending: threading.Event) -> None:
    if connection.recv(4096).startswith(b"GET"):
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\n")
        ending.wait()


@pytest.mark.parametrize(
    ("handler", "error", "says"),
    [
        (endless_head, CaptureError, "more than"),
        (answers(b"RTSP/1.0 400 Bad Request\r\n\r\n"), CaptureError, "not HTTP"),
        (answers(b"HTTP/1.1 404 Not Found\r\n\r\n"), CameraRefusedError, "404"),
        (answers(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2/\r\n\r\n"), CameraRefusedError, "redirects"),
        (answers(b"HTTP/1.0 200 OK\r\n\r\n"), CameraTimeoutError, "CAPTURE_TIMEOUT"),
        (answers(b"HTTP/1.0 200"), CameraTimeoutError, "CAPTURE_TIMEOUT"),
        (closes_the_post, CaptureError, "hung up|broke"),
    ],
)
def test_servers_that_do_it_wrong(engine: Engine, handler: Handler, error: type[CaptureError], says: str) -> None:
    with HostileServer(handler) as server, pytest.raises(error, match=says) as caught:
        pull(engine, server.url.replace("rtsp://", "rtsp+http://"), timeout_s=0.4)
    assert "hunter2" not in str(caught.value)
