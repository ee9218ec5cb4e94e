"""What cameras do in an RTSP session, on real sockets, and what the engine makes of it."""

import resource
import socket
import threading
import time
from collections.abc import Iterator
from itertools import count, islice
from urllib.parse import quote

import pytest

from gateway.capture.camera_errors import RETRY_AFTER_MAX_S, UNAUTHORIZED_RETRY_S
from gateway.capture.engine import Address, CaptureSource
from gateway.capture.engines.rtsp import REDIRECTS_MAX, redirected
from gateway.capture.url import parse
from gateway.errors import CameraRefusedError, CameraTimeoutError, CameraUnauthorizedError, CaptureError
from gateway.media import Packet
from gateway.rtsp.client import RETRIES_MAX
from tests.support.blocking_engine import BlockingRtspEngine
from tests.support.hostile import Handler, HostileServer
from tests.support.pcm_pictures import Layout
from tests.support.rtsp_camera import (
    Answer,
    Asked,
    Reply,
    RtpSender,
    RtspCamera,
    Sent,
    audio_section,
    sdp,
    video_section,
)

BACK_CHANNEL = audio_section("PCMU/8000", 98, 5).replace("a=control", "a=sendonly\r\na=control")
METADATA = "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=control:track9\r\n"
RECEIVED = video_section().replace("a=control", "a=recvonly\r\na=control")


def media(pictures: int = 60) -> Iterator[Sent]:
    """A picture every 10 ms, and G.711 as a second track."""
    layout, video, audio = Layout(), RtpSender(), RtpSender(1, 97, 9)
    for number in range(pictures):
        in_gop = number % 10
        units = [layout.picture(in_gop, 2 * in_gop, 40, is_idr=in_gop == 0, is_intra=in_gop == 0)]
        if in_gop == 0:
            units = [layout.sps(), layout.pps(), *units]
        yield from video.picture(units, number * 900, number / 100)
        yield audio.packet(b"\xd5" * 80, number * 80, number / 100)


BOTH = sdp(video_section(), audio_section("PCMA/8000"))


def pull(url: str, wanted: int = 12, **options: object) -> list[Packet]:
    """The first packets."""
    packets = BlockingRtspEngine(CaptureSource("camera", url, **options)).packets()  # type: ignore[arg-type]
    taken = list(islice(packets, wanted))
    packets.close()  # type: ignore[attr-defined]
    return taken


def refusing(status: int, method: str, *numbers: int, **headers: str) -> Answer:
    """Answers some requests of a method with this status, and everything else as a good camera."""
    given = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return lambda asked, number: (
        Reply(status, given) if (asked.method, number) in {(method, n) for n in numbers} else None
    )


@pytest.mark.parametrize("status", [404, 461, 500, 503])
def test_a_refused_track_leaves_the_video(status: int) -> None:
    with RtspCamera(BOTH, media(), answer=refusing(status, "SETUP", 2)) as camera:
        packets = pull(camera.url())
    assert all(packet.is_video and packet.info.audio is None for packet in packets)


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_refused_options_is_ignored(status: int) -> None:
    with RtspCamera(BOTH, media(), answer=refusing(status, "OPTIONS", 1)) as camera:
        assert pull(camera.url())


def test_udp_where_tcp_is_refused() -> None:
    def answer(asked: Asked, number: int) -> Reply | None:
        is_tcp = "TCP" in asked.headers.get("transport", "")
        return Reply(461) if asked.method == "SETUP" and is_tcp else None

    with RtspCamera(BOTH, media(), answer=answer) as camera:
        packets = pull(camera.url(), 30)
    assert {packet.is_video for packet in packets} == {True, False}


@pytest.mark.parametrize(
    ("challenges", "starts"),
    [
        (['Basic realm="camera"'], "Basic"),
        (['Digest realm="camera", nonce="1"'], "Digest"),
        (['Digest realm="camera", nonce="1", algorithm=SHA-256, qop="auth"'], "Digest"),
        (['Basic realm="camera"', 'Digest realm="camera", nonce="1"'], "Digest"),
        (
            ['Digest realm="camera", nonce="1", algorithm=MD5', 'Digest realm="camera", nonce="2", algorithm=SHA-256'],
            "Digest",
        ),
        (['Digest realm="a", nonce="1", qop="auth,auth-int", Basic realm="a"'], "Digest"),
        (['Digest realm="camera", nonce="1", algorithm=SHA-999', 'Basic realm="camera"'], "Basic"),
    ],
)
@pytest.mark.parametrize(
    ("userinfo", "credentials"),
    [("admin:p%40ss", ("admin", "p@ss")), ("admin", ("admin", "")), ("admin:", ("admin", ""))],
)
def test_credentials(challenges: list[str], starts: str, userinfo: str, credentials: tuple[str, str]) -> None:
    with RtspCamera(BOTH, media(), credentials=credentials, challenges=challenges) as camera:
        assert pull(camera.url(userinfo))
    assert camera.asked[-1].headers["authorization"].startswith(starts)


def test_refused_credentials_are_sent_once_and_tried_again_after_minutes() -> None:
    with RtspCamera(BOTH, credentials=("admin", "secret")) as camera, pytest.raises(CameraUnauthorizedError) as caught:
        pull(camera.url("admin:wrong"))
    assert caught.value.retry_after_s == UNAUTHORIZED_RETRY_S >= 120
    assert sum("authorization" in asked.headers for asked in camera.asked) == 1


def test_a_new_nonce_for_each_try_ends() -> None:
    def answer(asked: Asked, number: int) -> Reply:
        challenge = f'Digest realm="camera", nonce="{len(camera.asked)}", stale=true'
        return Reply(401, (("WWW-Authenticate", challenge),))

    with RtspCamera(BOTH, answer=answer) as camera, pytest.raises(CameraUnauthorizedError):
        pull(camera.url("admin:secret"))
    assert len(camera.asked) <= 1 + RETRIES_MAX


def test_without_credentials_nothing_can_be_locked() -> None:
    with RtspCamera(BOTH, credentials=("admin", "secret")) as camera, pytest.raises(CameraUnauthorizedError) as caught:
        pull(camera.url())
    assert caught.value.retry_after_s == 0


@pytest.mark.parametrize("method", ["DESCRIBE", "SETUP", "PLAY"])
@pytest.mark.parametrize(("status", "says"), [(453, "bandwidth"), (454, "session"), (503, "not available")])
def test_refusals_say_what_they_are(method: str, status: int, says: str) -> None:
    with (
        RtspCamera(BOTH, answer=refusing(status, method, 1, Retry_After="77")) as camera,
        pytest.raises(CaptureError, match=says) as caught,
    ):
        pull(camera.url())
    assert caught.value.retry_after_s == 77


def test_retry_after_is_bounded() -> None:
    with (
        RtspCamera(BOTH, answer=refusing(503, "DESCRIBE", 1, Retry_After="999999")) as camera,
        pytest.raises(CameraRefusedError) as caught,
    ):
        pull(camera.url())
    assert caught.value.retry_after_s == RETRY_AFTER_MAX_S


# --- redirects


@pytest.mark.parametrize("method", ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"])
def test_a_redirect_is_followed_without_the_credentials(method: str) -> None:
    with RtspCamera(BOTH, media(), credentials=("admin", "secret")) as target:
        to = target.url()
        with (
            RtspCamera(BOTH, answer=refusing(302, method, 1, 2, Location=to)) as camera,
            pytest.raises(CameraUnauthorizedError),
        ):
            pull(camera.url("admin:secret"))
    assert target.asked
    assert not any("authorization" in asked.headers for asked in target.asked)


def test_a_redirect_to_the_same_camera_keeps_the_credentials() -> None:
    def answer(asked: Asked, number: int) -> Reply | None:
        if asked.method == "DESCRIBE" and asked.uri.endswith("/stream"):
            return Reply(301, (("Location", asked.uri.replace("/stream", "/other")),))
        return None

    with RtspCamera(BOTH, media(), answer=answer, credentials=("admin", "secret")) as camera:
        assert pull(camera.url("admin:secret"))


@pytest.mark.parametrize("is_loop", [True, False])
def test_redirects_are_bounded(is_loop: bool) -> None:
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


def test_the_address_policy_applies_to_redirects() -> None:
    checked: list[str] = []

    def check(address: Address) -> None:
        checked.append(str(address))
        if str(address) != "127.0.0.1":
            raise CaptureError("this address is not allowed")

    answer = refusing(302, "OPTIONS", 1, 2, Location="rtsp://127.0.0.2:1/stream")
    with RtspCamera(BOTH, answer=answer) as camera:
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
    ["", "http://127.0.0.1/", "rtsp://", "/other", "rtsp://user:hunter2@/", "rtsp://a:99999/", "rtsp://[::/"],
)
def test_a_redirect_to_nowhere(location: str) -> None:
    with (
        RtspCamera(BOTH, answer=refusing(302, "DESCRIBE", 1, Location=location)) as camera,
        pytest.raises(CameraRefusedError, match=r"redirects.* to an address|redirects.*, and not to") as caught,
    ):
        pull(camera.url())
    assert "hunter2" not in str(caught.value)
    assert f"127.0.0.1:{camera.port}" in str(caught.value)


def test_the_whole_opening_is_timed_redirects_included() -> None:
    def slow(asked: Asked, number: int) -> Reply:
        time.sleep(0.3)
        return Reply(302, (("Location", f"{asked.uri}{number}"),))

    with RtspCamera(BOTH, answer=slow) as camera, pytest.raises(CameraTimeoutError):
        pull(camera.url(), timeout_s=0.7)
    assert camera.connections <= 3


@pytest.mark.parametrize("status", [100, 102])
def test_provisional_answers_are_not_the_answer(status: int) -> None:
    def answer(asked: Asked, number: int) -> Reply | None:
        if asked.method != "DESCRIBE":
            return None
        cseq = asked.headers["cseq"]
        body = BOTH.encode()
        head = f"RTSP/1.0 {status} Wait\r\nCSeq: {cseq}\r\n\r\nRTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n"
        return Reply(raw=f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    with RtspCamera(BOTH, media(), answer=answer) as camera:
        assert pull(camera.url())


# --- descriptions


@pytest.mark.parametrize(
    "base",
    [None, "", "{uri}", "{uri}/", "rtsp://camera.invalid/other/", "rtsp://admin:secret@10.0.0.1/stream/", "garbage"],
)
@pytest.mark.parametrize("attributes", ["", "a=control:*\r\n", "a=control:\r\n"])
def test_whatever_content_base_says(base: str | None, attributes: str) -> None:
    description = sdp(video_section(), attributes=attributes)
    with RtspCamera(description, media(), content_base=base) as camera:
        assert pull(camera.url(path="/stream?channel=1"), 3)
    set_up = next(asked for asked in camera.asked if asked.method == "SETUP")
    assert set_up.uri.endswith("/track0")
    assert "secret" not in set_up.uri


@pytest.mark.parametrize("order", [[BACK_CHANNEL, METADATA, RECEIVED], [RECEIVED, METADATA, BACK_CHANNEL]])
def test_back_channels_and_metadata_are_not_set_up(order: list[str]) -> None:
    with RtspCamera(sdp(*order), media()) as camera:
        packets = pull(camera.url(), 3)
    assert packets[0].info.audio is None
    assert camera.methods.count("SETUP") == 1


def test_keep_alive_by_what_the_server_offers() -> None:
    public = "OPTIONS, DESCRIBE, SETUP, PLAY"
    with RtspCamera(BOTH, media(600), public=public, session="1;timeout=1") as camera:
        packets = BlockingRtspEngine(CaptureSource("camera", camera.url())).packets()
        for _ in packets:
            if "OPTIONS" in camera.methods[camera.methods.index("PLAY") :]:
                break
        packets.close()  # type: ignore[attr-defined]
    assert "GET_PARAMETER" not in camera.methods


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
def test_hostile_sizes_take_no_memory(handler: Handler) -> None:
    before = rss()
    with HostileServer(handler) as server, pytest.raises(CaptureError) as caught:
        pull(server.url)
    assert quote("hunter2") not in str(caught.value)
    assert rss() - before < 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("location", "keeps_credentials"),
    [
        ("rtsps://camera:7/other", True),
        ("rtsp://camera:7/other", False),
        ("rtsps://camera:8/other", False),
        ("rtsps://elsewhere:7/other", False),
    ],
)
def test_a_redirect_gets_the_credentials_only_at_the_same_place(location: str, keeps_credentials: bool) -> None:
    target = redirected(parse("rtsps://user:secret@camera:7/stream"), location)
    assert (target.userinfo == "user:secret") == keeps_credentials
