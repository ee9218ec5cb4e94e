"""The engine `pyav` with RTMP servers and with senders of MPEG-TS over UDP."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from gateway.capture.engine import Address, CaptureSource
from gateway.capture.engines.pyav import PyAVCaptureEngine
from gateway.errors import CameraRefusedError, CameraTimeoutError, CameraUnreachableError, CaptureError
from tests.gateway.capture.engines.test_pyav_urls import keeps_the_rules, pull
from tests.support.hostile import HostileServer, say_nothing
from tests.support.http_camera import stream
from tests.support.rtsp import free_port

KEY = "s3cret-stream-key"

PACKETS = stream("mpegts")
DATAGRAMS = [PACKETS[place : place + 7 * 188] for place in range(0, len(PACKETS), 7 * 188)]


def no_handshake(connection: socket.socket, _: threading.Event) -> None:
    """Read RTMP's first chunk, and hang up."""
    connection.recv(1537)


@pytest.mark.integration
def test_rtmp() -> None:
    port = free_port()
    url = f"rtmp://127.0.0.1:{port}/live/{KEY}"
    inputs = "-re -f lavfi -i testsrc=size=160x96:rate=25 -f lavfi -i sine=sample_rate=48000"
    video = "-c:v libx264 -preset ultrafast -tune zerolatency -g 10 -pix_fmt yuv420p"
    server = subprocess.Popen(
        f"ffmpeg -nostdin -v error {inputs} {video} -c:a aac -ac 2 -f flv -listen 1 {url}".split(),
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 20
        while True:
            try:
                keeps_the_rules(pull(url))
                return
            except CameraUnreachableError:
                assert time.monotonic() < until
                assert server.poll() is None
                time.sleep(0.05)
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize(("handler", "fault"), [(no_handshake, CameraRefusedError), (say_nothing, CameraTimeoutError)])
def test_an_rtmp_server_that_does_not_play(
    handler: Callable[[socket.socket, threading.Event], None], fault: type[CaptureError]
) -> None:
    with HostileServer(handler) as server, pytest.raises(fault) as caught:
        pull(f"rtmp://user:hunter2@127.0.0.1:{server.port}/live/{KEY}", timeout_s=0.5)
    assert KEY not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert f"127.0.0.1:{server.port}" in str(caught.value)


def test_the_address_of_an_rtmp_server_is_checked_before_it_is_connected_to() -> None:
    def refuse(_: Address) -> None:
        raise CameraRefusedError("not there")

    with HostileServer(say_nothing) as server, pytest.raises(CameraRefusedError, match="not there"):
        pull(f"rtmp://127.0.0.1:{server.port}/live/x", check_address=refuse)
    assert not server.connected.is_set()


def test_a_stop_ends_the_wait_for_an_rtmp_server() -> None:
    with HostileServer(say_nothing) as server:
        engine = PyAVCaptureEngine(CaptureSource("camera", f"rtmp://127.0.0.1:{server.port}/live/x", timeout_s=60))
        ended: list[object] = []
        thread = threading.Thread(target=lambda: ended.extend(engine.packets()))
        thread.start()
        assert server.connected.wait(10)
        engine.interrupt()
        thread.join(10)
        assert not thread.is_alive()
        assert ended == []


def test_rtmps_needs_tls() -> None:
    def in_clear(connection: socket.socket, _: threading.Event) -> None:
        connection.recv(10)
        connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

    with HostileServer(in_clear) as server, pytest.raises(CameraRefusedError, match="TLS"):
        pull(f"rtmps://127.0.0.1:{server.port}/live/{KEY}", timeout_s=5)


# --- UDP


@contextmanager
def sending(datagrams: list[bytes], port: int, source: str = "127.0.0.1") -> Iterator[None]:
    """Send these again and again, at about the speed of their pictures."""
    ending = threading.Event()

    def send() -> None:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            sock.bind((source, 0))
            while True:
                for datagram in datagrams:
                    sock.sendto(datagram, ("127.0.0.1", port))
                    if ending.wait(2 / len(datagrams)):
                        return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join(5)


def in_rtp(number: int, payload: bytes, payload_type: int = 33) -> bytes:
    return bytes((0x80, payload_type)) + (number & 0xFFFF).to_bytes(2, "big") + bytes(4) + b"\0\0\0\7" + payload


def test_mpeg_ts_over_udp() -> None:
    port = free_port()
    with sending(DATAGRAMS, port):
        keeps_the_rules(pull(f"udp://127.0.0.1:{port}"))


def test_mpeg_ts_in_rtp_is_put_into_order_and_taken_from_one_sender() -> None:
    port = free_port()
    packets = [in_rtp(number, datagram) for number, datagram in enumerate(DATAGRAMS)]
    packets[4], packets[5] = packets[5], packets[4]
    packets[9:9] = [in_rtp(9, b"no MPEG-TS", 96), b"no RTP"]
    engine = PyAVCaptureEngine(CaptureSource("camera", f"rtp://127.0.0.1:{port}"))
    with sending(packets, port):
        run = engine.packets()
        taken = [next(run)]
        with sending([in_rtp(7, bytes(188))], port, "127.0.0.2"):
            until = time.monotonic() + 10
            while engine.counters.udp_datagrams_refused == 0 and time.monotonic() < until:
                taken.append(next(run))
        taken += [next(run) for _ in range(20)]
        run.close()  # type: ignore[attr-defined]
    keeps_the_rules(taken)
    assert engine.counters.udp_datagrams_refused > 0
    assert engine.counters.rtp_packets_invalid >= 2


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("udp://127.0.0.1", "no port"),
        ("udp://camera:5000", "no address"),
        ("udp://239.0.0.1:5000?interface=eth0", "no address"),
        ("udp://192.0.2.1:5000", "cannot be listened to"),
        ("srt://192.0.2.1:5000?passphrase=hunter2", "built without"),
        ("rist://192.0.2.1:5000", "built without"),
        ("sftp://192.0.2.1/x", "is not how"),
    ],
)
def test_what_cannot_be_listened_to(url: str, says: str) -> None:
    with pytest.raises(CaptureError, match=says) as caught:
        pull(url)
    assert "hunter2" not in str(caught.value)


def test_a_silent_sender_times_out() -> None:
    with pytest.raises(CameraTimeoutError):
        pull(f"udp://127.0.0.1:{free_port()}", timeout_s=0.3)
