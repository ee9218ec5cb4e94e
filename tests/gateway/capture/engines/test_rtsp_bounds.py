"""Hostile RTSP servers and redirects, at both engines that pull RTSP: everything is bounded, and no redirect leads to
where the policy forbids it."""

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count, islice

import pytest

from gateway.capture.engine import Address, CaptureSource
from gateway.capture.engines.pyav import PyAVCaptureEngine
from gateway.capture.rtsp_connect import REDIRECTS_MAX
from gateway.errors import CameraRefusedError, CameraTimeoutError, CameraUnauthorizedError, CaptureError
from gateway.media import Packet
from gateway.rtsp.client import RETRIES_MAX
from tests.support.blocking_engine import BlockingRtspEngine
from tests.support.hostile import Handler, HostileServer, rtsp
from tests.support.rtsp_camera import Answer, Asked, Reply, RtspCamera, audio_section, sdp, video_section
from tests.support.rtsp_media import media

Pull = Callable[..., list[Packet]]

BOTH = sdp(video_section(), audio_section("PCMA/8000"))


@pytest.fixture(params=[PyAVCaptureEngine, BlockingRtspEngine], ids=["pyav", "rtsp"])
def pull(request: pytest.FixtureRequest) -> Pull:
    """Takes the first packets of a camera, with each of the engines."""

    def take(url: str, wanted: int = 12, **options: object) -> list[Packet]:
        packets = request.param(CaptureSource("camera", url, **options)).packets()  # type: ignore[arg-type]
        taken = list(islice(packets, wanted))
        packets.close()
        return taken

    return take


def redirecting(method: str, location: str) -> Answer:
    """Redirects each request of a method."""
    return lambda asked, number: Reply(302, (("Location", location),)) if asked.method == method else None


# --- redirects


@pytest.mark.parametrize("method", ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"])
def test_a_redirect_is_followed_without_the_credentials(pull: Pull, method: str) -> None:
    with (
        RtspCamera(BOTH, media(), credentials=("admin", "secret")) as target,
        RtspCamera(BOTH, answer=redirecting(method, target.url())) as camera,
        pytest.raises(CameraUnauthorizedError),
    ):
        pull(camera.url("admin:secret"))
    assert target.asked
    assert not any("authorization" in asked.headers for asked in target.asked)


def test_a_redirect_leads_to_the_stream(pull: Pull) -> None:
    with RtspCamera(BOTH, media()) as target, RtspCamera(BOTH, answer=redirecting("DESCRIBE", target.url())) as camera:
        assert pull(camera.url("admin:secret"))


def test_a_redirect_to_the_same_camera_keeps_the_credentials(pull: Pull) -> None:
    def answer(asked: Asked, number: int) -> Reply | None:
        if asked.method == "DESCRIBE" and asked.uri.endswith("/stream"):
            return Reply(301, (("Location", asked.uri.replace("/stream", "/other")),))
        return None

    with RtspCamera(BOTH, media(), answer=answer, credentials=("admin", "secret")) as camera:
        assert pull(camera.url("admin:secret"))


@pytest.mark.parametrize("is_loop", [True, False])
def test_redirects_are_bounded(pull: Pull, is_loop: bool) -> None:
    hops = count()

    def answer(asked: Asked, number: int) -> Reply:
        path = "" if is_loop else str(next(hops))
        return Reply(302, (("Location", f"{asked.uri.rstrip('0123456789') if not is_loop else asked.uri}{path}"),))

    with (
        RtspCamera(BOTH, answer=answer) as camera,
        pytest.raises(CameraRefusedError, match="redirects again and again"),
    ):
        pull(camera.url(path="/stream/"))
    assert camera.connections == (1 if is_loop else REDIRECTS_MAX + 1)


def test_the_address_policy_applies_to_redirects(pull: Pull) -> None:
    checked: list[str] = []

    def check(address: Address) -> None:
        checked.append(str(address))
        if str(address) != "127.0.0.1":
            raise CaptureError("this address is not allowed")

    with RtspCamera(BOTH, answer=redirecting("OPTIONS", "rtsp://127.0.0.2:1/stream")) as camera:
        with pytest.raises(CaptureError, match="not allowed"):
            pull(camera.url(), check_address=check)
        assert checked == ["127.0.0.1", "127.0.0.2"]
        # No operator has chosen the target of a redirect, also where one wrote the camera's URL.
        checked.clear()
        with pytest.raises(CaptureError, match="not allowed"):
            pull(camera.url(), check_referred=check)
        assert checked == ["127.0.0.2"]


@pytest.mark.parametrize(
    "location",
    ["", "http://127.0.0.1/", "rtsp://", "//other", "other", "rtsp://user:hunter2@/", "rtsp://a:99999/", "rtsp://[::/"],
)
def test_a_redirect_to_nowhere(pull: Pull, location: str) -> None:
    with (
        RtspCamera(BOTH, answer=redirecting("DESCRIBE", location)) as camera,
        pytest.raises(CameraRefusedError, match=r"redirects.* (to an address|and not to|again and again)") as caught,
    ):
        pull(camera.url())
    assert "hunter2" not in str(caught.value)
    assert f"127.0.0.1:{camera.port}" in str(caught.value)


def test_the_whole_opening_is_timed_redirects_included(pull: Pull) -> None:
    def slow(asked: Asked, number: int) -> Reply:
        time.sleep(0.3)
        return Reply(302, (("Location", f"{asked.uri}{number}"),))

    with RtspCamera(BOTH, answer=slow) as camera, pytest.raises(CameraTimeoutError):
        pull(camera.url(), timeout_s=0.7)
    assert camera.connections <= 3


def test_a_new_nonce_for_each_try_ends(pull: Pull) -> None:
    def answer(asked: Asked, number: int) -> Reply:
        challenge = f'Digest realm="camera", nonce="{len(camera.asked)}", stale=true'
        return Reply(401, (("WWW-Authenticate", challenge),))

    with RtspCamera(BOTH, answer=answer) as camera, pytest.raises(CameraUnauthorizedError):
        pull(camera.url("admin:secret"))
    assert len(camera.asked) <= 1 + RETRIES_MAX


# --- sizes


def rss() -> int:
    """The peak of this process's memory, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def huge_description(connection: socket.socket, ending: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE\r\n\r\n")
    connection.recv(4096)
    connection.sendall(
        b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Type: application/sdp\r\nContent-Length: 1500000000\r\n\r\n"
    )
    while not ending.is_set():
        connection.sendall(b"a=x\r\n" * 10_000)


def endless_headers(connection: socket.socket, ending: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n")
    for number in count():
        if ending.is_set():
            return
        connection.sendall(b"X-%d: %s\r\n" % (number, b"y" * 900))


def endless_header(connection: socket.socket, ending: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nX: ")
    while not ending.is_set():
        connection.sendall(b"y" * 65_536)


def many_headers(connection: socket.socket, ending: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n" + b"a:\r\n" * 100_000)
    ending.wait()


def many_tracks(connection: socket.socket, ending: threading.Event) -> None:
    body = b"v=0\r\n" + b"m=audio 0 RTP/AVP 0\r\n" * 11_000
    connection.recv(4096)
    connection.sendall(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n")
    connection.recv(4096)
    connection.sendall(b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    ending.wait()


def many_requests(connection: socket.socket, ending: threading.Event) -> None:
    connection.recv(4096)
    while not ending.is_set():
        connection.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n" * 1000)


@pytest.mark.parametrize(
    "handler",
    [
        huge_description,
        endless_headers,
        endless_header,
        many_headers,
        many_tracks,
        many_requests,
    ],
)
def test_hostile_sizes_take_no_memory(pull: Pull, handler: Handler) -> None:
    before = rss()
    with HostileServer(handler) as server, pytest.raises(CaptureError) as caught:
        pull(server.url)
    assert "hunter2" not in str(caught.value)
    assert rss() - before < 64 * 1024 * 1024


# --- work


def provisional_answers(connection: socket.socket, ending: threading.Event) -> None:
    connection.recv(4096)
    while not ending.is_set():
        connection.sendall(b"RTSP/1.0 100 Continue\r\nCSeq: 1\r\n\r\n" * 1000)


def answers_to_nothing(connection: socket.socket, ending: threading.Event) -> None:
    connection.recv(4096)
    while not ending.is_set():
        connection.sendall(b"RTSP/1.0 200 OK\r\nCSeq: 77\r\n\r\n" * 1000)


def answers() -> Iterator[bytes]:
    while True:
        yield b"RTSP/1.0 200 OK\r\nCSeq: 77\r\n\r\n" * 1000


def empty_frames() -> Iterator[bytes]:
    while True:
        yield b"$\x00\x00\x00" * 10_000


def empty_frames_of_no_channel() -> Iterator[bytes]:
    while True:
        yield b"$\x09\x00\x00" * 10_000


@pytest.mark.parametrize(
    "handler",
    [provisional_answers, rtsp(play=answers), rtsp(play=empty_frames), rtsp(play=empty_frames_of_no_channel)],
)
def test_a_camera_that_keeps_everybody_busy_is_disconnected(pull: Pull, handler: Handler) -> None:
    with HostileServer(handler) as server, pytest.raises(CaptureError, match="than any camera sends"):
        pull(server.url)


def test_a_camera_that_answers_without_being_asked_is_disconnected(pull: Pull) -> None:
    with HostileServer(answers_to_nothing) as server, pytest.raises(CaptureError):
        pull(server.url)
