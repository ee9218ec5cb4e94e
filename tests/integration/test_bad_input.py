"""Wrong settings and cameras: one clear sentence, exit code 2 if the process cannot start, and no password."""

import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually_sync
from tests.support.gateway_process import GatewayProcess
from tests.support.rtsp import RtspServer

Gateways = Callable[..., GatewayProcess]

PASSWORD = "s3cret-W0rd"


def refused_start(folder: Path, **settings: str) -> str:
    """Start a gateway with wrong settings; return its message."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "web.cli", "serve"],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(root),
            "PORT": "0",
            "WEBRTC_UDP_PORT": "0",
            "RTSP_PORT": "0",
            **settings,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stderr + done.stdout
    sentences = [line for line in done.stderr.splitlines() if line.startswith("liveedge: ")]
    assert len(sentences) == 1, done.stderr
    return sentences[0]


def test_a_wrong_setting(tmp_path: Path) -> None:
    assert "CAPTURE_TIMEOUT" in refused_start(tmp_path, CAPTURE_TIMEOUT="soon")


def test_a_url_of_no_camera(tmp_path: Path) -> None:
    assert "rtsp://" in refused_start(tmp_path, RTSP_URL=f"ftp://viewer:{PASSWORD}@127.0.0.1/")


def test_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "liveedge.toml").write_text("[cameras.door\n")
    assert "liveedge.toml" in refused_start(tmp_path)


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = refused_start(tmp_path, PORT=str(port), DATA_DIR=str(tmp_path / "data"))
        assert str(port) in sentence
        assert "PORT" in sentence


def test_a_media_port_in_use(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        sentence = refused_start(tmp_path, WEBRTC_UDP_PORT=str(port), DATA_DIR=str(tmp_path / "data"))
        assert str(port) in sentence
        assert "WEBRTC_UDP_PORT" in sentence


def test_a_data_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, where a folder ought to be")
    assert "DATA_DIR" in refused_start(tmp_path, DATA_DIR=str(tmp_path / "data"))


# --- addresses without a camera: the gateway goes on, and reports what is wrong


@pytest.fixture
def garbage_port() -> Iterator[int]:
    """Accept connections and send garbage without end."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                try:
                    while True:
                        peer.sendall(os.urandom(1400))
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Accept connections and send nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@pytest.fixture
def web_port() -> Iterator[int]:
    """A web server instead of a camera."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(5)


def failed_camera(gateways: Gateways, url: str) -> str:
    """A gateway with this camera, which fails. Assert that the gateway is healthy; return the reported reason."""
    gateway = gateways(
        RTSP_URL=url, CAPTURE_TIMEOUT="700", CONNECTION_RETRY_ATTEMPTS="1", CONNECTION_RETRY_DELAY="0.1", DEBUG="true"
    )
    camera = gateway.wait_for_state("failed")
    message: str = camera["error_message"]
    shown = gateway.log() + str(gateway.json("/api/status")) + message
    assert PASSWORD not in shown
    assert "Traceback" not in gateway.log(), gateway.log()
    assert gateway.json("/health") == {"status": "ok"}
    status, headers, _ = gateway.fetch("/hls/default/index.m3u8")
    assert status == 503
    assert headers["Retry-After"]
    assert gateway.stop() < 5, "the contract's bound, not a measure of speed"
    return message


def with_password(port: int, path: str = "/stream") -> str:
    return f"rtsp://viewer:{PASSWORD}@127.0.0.1:{port}{path}"


def test_nobody_listens(gateways: Gateways, free_port: int) -> None:
    assert "nothing listens" in failed_camera(gateways, with_password(free_port))


def test_a_name_that_does_not_exist(gateways: Gateways) -> None:
    assert "name" in failed_camera(gateways, f"rtsp://viewer:{PASSWORD}@camera.invalid/stream").lower()


def test_a_silent_camera(gateways: Gateways, silent_port: int) -> None:
    assert "CAPTURE_TIMEOUT" in failed_camera(gateways, with_password(silent_port))


def test_endless_garbage(gateways: Gateways, garbage_port: int) -> None:
    assert failed_camera(gateways, with_password(garbage_port))


def test_a_web_server(gateways: Gateways, web_port: int) -> None:
    assert failed_camera(gateways, with_password(web_port))


def test_a_wrong_password(gateways: Gateways, rtsp_server: RtspServer) -> None:
    message = failed_camera(gateways, with_password(rtsp_server.guarded_port, "/video"))
    assert "password" in message


def test_no_such_stream(gateways: Gateways, rtsp_server: RtspServer) -> None:
    message = failed_camera(gateways, with_password(rtsp_server.port, "/nosuch"))
    assert "path" in message


def test_probe_says_what_a_camera_sends_or_why_it_does_not(tmp_path: Path, rtsp_server: RtspServer) -> None:
    def probe(url: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "web.cli", "probe", url],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    done = eventually_sync(lambda: probe(rtsp_server.url("cam")), "the camera answers")
    assert done.returncode == 0, done.stderr
    assert "h264 avc1." in done.stdout
    assert "fps" in done.stdout
    done = probe(with_password(rtsp_server.guarded_port, "/video"))
    assert done.returncode == 1
    assert "password" in done.stderr
    assert PASSWORD not in done.stderr + done.stdout
