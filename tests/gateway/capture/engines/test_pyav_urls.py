"""What the engine `pyav` reads besides RTSP, and what it refuses to open, collect or wait for."""

import resource
import threading
import time
from http.server import BaseHTTPRequestHandler
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.capture.engine import Address, CaptureSource
from gateway.capture.engines.pyav import PyAVCaptureEngine
from gateway.errors import (
    CameraEndedError,
    CameraRefusedError,
    CameraTimeoutError,
    CameraUnauthorizedError,
    CameraUnreachableError,
    CaptureError,
    NoVideoError,
)
from gateway.media import Packet
from tests.support.certificate import self_signed
from tests.support.http_camera import HttpCamera, Respond, stream


def pull(url: str, wanted: int = 20, **options: Any) -> list[Packet]:
    """The first packets; fewer where the stream ends before."""
    packets = PyAVCaptureEngine(CaptureSource("camera", url, **options)).packets()
    taken: list[Packet] = []
    try:
        taken.extend(islice(packets, wanted))
    except CameraEndedError:
        assert taken
    finally:
        packets.close()  # type: ignore[attr-defined]
    return taken


def keeps_the_rules(packets: list[Packet]) -> None:
    assert packets[0].is_video
    assert packets[0].is_keyframe
    video = [packet for packet in packets if packet.is_video]
    assert all(after.dts_90k > before.dts_90k for before, after in pairwise(video))
    assert all(packet.data[:3] in (b"\0\0\0", b"\0\0\1") for packet in video)
    assert (video[0].info.video.width, video[0].info.video.height) == (160, 96)
    audio = [packet for packet in packets if not packet.is_video]
    assert audio
    described = audio[0].info.audio
    assert described is not None
    assert (described.codec_string, described.sample_rate_hz, described.channels) == ("mp4a.40.2", 48_000, 2)
    assert all(packet.data[:1] != b"\xff" for packet in audio), "an ADTS header"


PLAYLIST = (
    b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:2,\n%s\n#EXT-X-ENDLIST\n"
)


@pytest.mark.parametrize("container", ["mpegts", "flv", "mp4"])
def test_streams_over_http(container: str) -> None:
    with HttpCamera({"/live": stream(container)}) as camera:
        keeps_the_rules(pull(camera.url("/live")))
        assert len(camera.asked) == 1


def test_https(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    with HttpCamera({"/index.m3u8": PLAYLIST % b"0.ts", "/0.ts": stream("mpegts")}, certificate) as camera:
        keeps_the_rules(pull(camera.url("/index.m3u8")))
        with pytest.raises(CameraRefusedError, match="CAPTURE_TLS_CA_FILE"):
            pull(camera.url("/index.m3u8"), tls_verify=True)


@pytest.mark.parametrize("container", ["mpegts", "flv", "mp4"])
def test_files_at_their_own_speed(tmp_path: Path, container: str) -> None:
    path = tmp_path / f"a clip.{container}"
    path.write_bytes(stream(container, 20))
    began = time.monotonic()
    url = f"file://{tmp_path}/a%20clip.{container}"
    taken = pull(url, 1000)
    keeps_the_rules(taken)
    assert sum(packet.is_video for packet in taken) == 20
    # 20 frames at 25 a second.
    assert time.monotonic() - began > 0.6
    path.unlink()
    with pytest.raises(CameraUnreachableError, match="no file"):
        pull(url)


def test_hls() -> None:
    resources: dict[str, bytes | Respond] = {
        "/hls/index.m3u8": PLAYLIST % b"part/0.ts",
        "/hls/part/0.ts": stream("mpegts"),
        "/moved.m3u8": lambda handler: redirect(handler, "/hls/index.m3u8"),
    }
    with HttpCamera(resources) as camera:
        keeps_the_rules(pull(camera.url("/hls/index.m3u8")))
        # Segments are relative to where the playlist is.
        keeps_the_rules(pull(camera.url("/moved.m3u8")))


def redirect(handler: BaseHTTPRequestHandler, location: str) -> None:
    handler.send_response(302)
    handler.send_header("Location", location)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@pytest.mark.parametrize(
    ("challenge", "starts"), [('Basic realm="r"', "Basic"), ('Digest realm="r", nonce="1", qop="auth"', "Digest")]
)
def test_credentials(challenge: str, starts: str) -> None:
    def guarded(handler: BaseHTTPRequestHandler) -> None:
        body = stream("mpegts")
        if not handler.headers.get("Authorization", "").startswith(starts):
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", challenge)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(body)

    with HttpCamera({"/live": guarded}) as camera:
        assert pull(camera.url("/live", "user:hunter2"), 3)
        with pytest.raises(CameraUnauthorizedError) as caught:
            pull(camera.url("/live"), 3)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "refers_to",
    [
        b"file:///etc/passwd",
        b"/etc/passwd",
        b"data:video/mp2t;base64,AAAA",
        b"concat:http://127.0.0.1/a|file:///etc/passwd",
        b"crypto+http://127.0.0.1/a.ts",
        b"tcp://127.0.0.1:1/a.ts",
        b"rtp://127.0.0.1:1/a.ts",
        b"unix:///run/a.ts",
        b"rtsp://127.0.0.1/a.ts",
    ],
)
def test_a_playlist_opens_nothing_but_http(refers_to: bytes) -> None:
    with HttpCamera({"/index.m3u8": PLAYLIST % refers_to}) as camera, pytest.raises(CaptureError):
        pull(camera.url("/index.m3u8"), timeout_s=2.0)


@pytest.mark.parametrize("body", [b"ffconcat version 1.0\nfile /etc/hostname\n", b"v=0\r\nm=video 5004 RTP/AVP 96\r\n"])
def test_formats_that_open_other_addresses_are_not_recognised(body: bytes) -> None:
    with HttpCamera({"/live": body * 50}) as camera, pytest.raises(NoVideoError):
        pull(camera.url("/live"), timeout_s=2.0)


def check(address: Address) -> None:
    if str(address) != "127.0.0.1":
        raise CaptureError("this address is not allowed")


@pytest.mark.parametrize("option", ["check_address", "check_referred"])
def test_the_address_policy_applies_to_what_a_camera_refers_to(option: str) -> None:
    resources: dict[str, bytes | Respond] = {
        "/index.m3u8": PLAYLIST % b"http://127.0.0.2:1/0.ts",
        "/moved": lambda handler: redirect(handler, "http://127.0.0.2:1/"),
        "/0.ts": lambda handler: redirect(handler, "http://127.0.0.2:1/"),
        "/redirected.m3u8": PLAYLIST % b"0.ts",
    }
    with HttpCamera(resources) as camera:
        options: dict[str, Any] = {"timeout_s": 2.0, option: check}
        for path in ("/index.m3u8", "/moved", "/redirected.m3u8"):
            with pytest.raises(CaptureError, match="not allowed"):
                pull(camera.url(path), **options)


def test_redirects_are_bounded() -> None:
    with HttpCamera({"/live": lambda handler: redirect(handler, "/live")}) as camera:
        with pytest.raises(CameraRefusedError, match="redirects again and again"):
            pull(camera.url("/live", "user:hunter2"))
        assert len(camera.asked) <= 4
    with (
        HttpCamera({"/live": lambda handler: redirect(handler, "file:///etc/passwd")}) as camera,
        pytest.raises(CameraRefusedError),
    ):
        pull(camera.url("/live"))


def endless(start: bytes, filling: bytes) -> Respond:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(start)
        while True:
            handler.wfile.write(filling)

    return respond


@pytest.mark.parametrize(
    "respond",
    [
        endless(b"#EXTM3U\n", b"#EXTINF:2,\n0.ts\n" * 4096),
        endless(b"#EXTM3U\n#EXTINF:2,\n", b"a" * 65_536),
        endless(b"\0\0\0\x20ftypisom\0\0\0\0isomiso2avc1mp41\x7f\xff\xff\xffmoov", b"\0\0\1\0free" + bytes(248)),
        endless(b"", bytes(65_536)),
        endless(b"FLV\1\5\0\0\0\x09\0\0\0\0\x09\xff\xff\xff\0\0\0\0\0\0\0", bytes(65_536)),
    ],
    ids=["segments", "line", "moov", "zeros", "flv"],
)
def test_hostile_bodies_take_no_memory(respond: Respond) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with HttpCamera({"/live": respond}) as camera, pytest.raises(CaptureError):
        pull(camera.url("/live"), timeout_s=3.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 128 * 1024


def drip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for byte in stream("mpegts"):
        handler.wfile.write(bytes((byte,)))
        time.sleep(0.02)


def drip_head(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"a")
        time.sleep(0.02)


def say_nothing(handler: BaseHTTPRequestHandler) -> None:
    # Until the client closes.
    handler.rfile.read(1)


@pytest.mark.parametrize("respond", [drip, drip_head, say_nothing], ids=["body", "head", "silent"])
def test_slow_servers(respond: Respond) -> None:
    with HttpCamera({"/live": respond}) as camera:
        with pytest.raises(CameraTimeoutError):
            pull(camera.url("/live"), timeout_s=0.4)
        engine = PyAVCaptureEngine(CaptureSource("camera", camera.url("/live"), 60.0))
        thread = threading.Thread(target=lambda: list(engine.packets()))
        thread.start()
        while len(camera.asked) < 2:
            time.sleep(0.01)
        engine.interrupt()
        thread.join(2)
        assert not thread.is_alive()


def test_a_stream_that_ends_and_one_that_is_no_video() -> None:
    with HttpCamera({"/live": stream("mpegts"), "/mjpeg": stream("mpjpeg", codec="mjpeg", audio=False)}) as camera:
        with pytest.raises(CameraEndedError):
            list(PyAVCaptureEngine(CaptureSource("camera", camera.url("/live"))).packets())
        pictures = pull(camera.url("/mjpeg"))
        assert all(each.is_keyframe and each.info.video.codec == "mjpeg" for each in pictures)
        assert all(each.data.startswith(b"\xff\xd8") for each in pictures)
        with pytest.raises(CameraRefusedError, match="404"):
            pull(camera.url("/nowhere"))
