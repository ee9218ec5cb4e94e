"""What cameras do in an RTSP session, on real sockets, and what the engine makes of it."""

import gzip
import socket
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from gateway.capture import rtsp_run
from gateway.capture.camera_errors import RETRY_AFTER_MAX_S, UNAUTHORIZED_RETRY_S
from gateway.capture.engine import CaptureSource
from gateway.capture.rtsp_connect import redirected
from gateway.capture.url import parse
from gateway.errors import CameraRefusedError, CameraTimeoutError, CameraUnauthorizedError, CaptureError
from gateway.media import Metadata, Packet
from tests.support.blocking_engine import BlockingRtspEngine
from tests.support.camera_media import coded
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
from tests.support.rtsp_media import media

BACK_CHANNEL = audio_section("PCMU/8000", 98, 5).replace("a=control", "a=sendonly\r\na=control")
METADATA = "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=control:track9\r\n"
RECEIVED = video_section().replace("a=control", "a=recvonly\r\na=control")


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


@pytest.mark.parametrize("status", [401, 404, 405, 501])
def test_a_refused_options_is_ignored(status: int) -> None:
    with RtspCamera(BOTH, media(), answer=refusing(status, "OPTIONS", 1)) as camera:
        assert pull(camera.url())


@pytest.mark.parametrize(
    "reply",
    [
        None,
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>$</html>",
        b"HTTP/1.0 200 OK\r\n\r\n",
    ],
)
def test_a_server_that_hangs_up_at_options_or_answers_in_http_is_asked_without(reply: bytes | None) -> None:
    def answer(asked: Asked, number: int) -> Reply | None:
        if asked.method != "OPTIONS":
            return None
        if reply is None:
            raise ConnectionResetError
        return Reply(raw=reply)

    with RtspCamera(BOTH, media(), answer=answer) as camera:
        assert pull(camera.url())
    assert camera.methods[:2] == ["OPTIONS", "DESCRIBE"]


def test_a_server_that_hangs_up_after_it_refused_options_is_asked_without() -> None:
    refused = 0

    def answer(asked: Asked, number: int) -> Reply | None:
        nonlocal refused
        if asked.method == "OPTIONS":
            refused += 1
            return Reply(400)
        if asked.method == "DESCRIBE" and refused == number:
            raise ConnectionResetError
        return None

    with RtspCamera(BOTH, media(), answer=answer) as camera:
        assert pull(camera.url())
    assert camera.methods[:3] == ["OPTIONS", "DESCRIBE", "DESCRIBE"]


@pytest.mark.parametrize("ports", [";server_port=0-0", ";server_port=0", "", ";server_port=70000-70001"])
def test_udp_ports_that_are_none(ports: str) -> None:
    class Camera(RtspCamera):
        def _usual(self, asked: Asked, client: Any) -> Reply:
            if asked.method == "SETUP" and "TCP" in asked.headers["transport"]:
                return Reply(461)
            reply = super()._usual(asked, client)
            if asked.method != "SETUP":
                return reply
            offered = dict(reply.headers)["Transport"].partition(";server_port")[0]
            return Reply(headers=(("Transport", offered + ports), ("Session", "42")))

    with Camera(BOTH, media()) as camera:
        assert pull(camera.url())


def test_the_second_video_where_the_first_is_refused() -> None:
    description = sdp(video_section(), video_section(number=2))
    with RtspCamera(description, media(), answer=refusing(404, "SETUP", 1)) as camera:
        assert pull(camera.url())
    assert [asked.uri[-6:] for asked in camera.asked if asked.method == "SETUP"] == ["track0", "track2"]


def test_video_that_every_output_can_have_comes_before_other_video() -> None:
    jpeg = "m=video 0 RTP/AVP 26\r\na=control:track5\r\n"
    with RtspCamera(sdp(jpeg, video_section()), media()) as camera:
        assert pull(camera.url())
    assert [asked.uri[-6:] for asked in camera.asked if asked.method == "SETUP"] == ["track0"]


def test_all_tracks_on_one_channel() -> None:
    class Camera(RtspCamera):
        def _usual(self, asked: Asked, client: Any) -> Reply:
            reply = super()._usual(asked, client)
            if asked.method == "SETUP":
                client._channels[-1] = (0, 1)
                return Reply(headers=(("Transport", "RTP/AVP/TCP;interleaved=0-1"), ("Session", "42")))
            return reply

    with Camera(BOTH, media()) as camera:
        assert {packet.is_video for packet in pull(camera.url())} == {True, False}


def test_udp_where_tcp_is_refused() -> None:
    def answer(asked: Asked, number: int) -> Reply | None:
        is_tcp = "TCP" in asked.headers.get("transport", "")
        return Reply(461) if asked.method == "SETUP" and is_tcp else None

    with RtspCamera(BOTH, media(), answer=answer) as camera:
        packets = pull(camera.url(), 30)
    assert {packet.is_video for packet in packets} == {True, False}


class UdpCamera(RtspCamera):
    """Refuses TCP. ``send`` sends what :class:`RtspCamera` would."""

    def __init__(self, *args: Any, send: Callable[[Any, Sent, Callable[[Sent], None]], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self._send = send

    def _usual(self, asked: Asked, client: Any) -> Reply:
        if asked.method == "SETUP" and "TCP" in asked.headers["transport"]:
            return Reply(461)
        usually = client.media
        if asked.method == "PLAY":
            client.media = lambda sent: self._send(client, sent, usually)
            return Reply(headers=(("Session", "42"), ("RTP-Info", f"url={asked.uri};seq=0;rtptime=0")))
        return super()._usual(asked, client)


def from_changing_ports(client: Any, sent: Sent, send: Callable[[Sent], None]) -> None:
    """Every packet from another port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(sent.data, ("127.0.0.1", client._udp[sent.track][2][sent.is_control]))


def to_the_port_of_rtcp(client: Any, sent: Sent, send: Callable[[Sent], None]) -> None:
    send(replace(sent, is_control=not sent.is_control))


def swapped_at_first(client: Any, sent: Sent, send: Callable[[Sent], None]) -> None:
    """The first three packets of the video in reverse order."""
    kept = client.__dict__.setdefault("kept", [])
    if sent.track or len(kept) >= 3:
        send(sent)
        return
    kept.append(sent)
    for each in reversed(kept) if len(kept) == 3 else ():
        send(each)


def twice(client: Any, sent: Sent, send: Callable[[Sent], None]) -> None:
    send(sent)
    send(sent)


@pytest.mark.parametrize("send", [from_changing_ports, to_the_port_of_rtcp, swapped_at_first, twice])
def test_udp_of_a_camera_that_does_as_it_likes(send: Callable[[Any, Sent, Callable[[Sent], None]], None]) -> None:
    with UdpCamera(BOTH, media(), send=send) as camera:
        packets = pull(camera.url(), 60)
    assert {packet.is_video for packet in packets} == {True, False}
    video = [packet for packet in packets if packet.is_video]
    assert video[0].is_keyframe
    assert video[0].dts_90k == 0, "its first keyframe is not lost"


def test_a_camera_that_sends_reports_alone() -> None:
    reports = (RtpSender().report(1_800_000_000 + number, number * 900, number / 100) for number in range(200))
    with RtspCamera(BOTH, reports) as camera, pytest.raises(CameraTimeoutError):
        pull(camera.url(), timeout_s=0.5)


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


# --- metadata


def metadata_media(documents: list[bytes], *, payload_type: int = 107) -> list[Sent]:
    """Pictures, and documents in packets of 500 bytes."""
    sender = RtpSender(1, payload_type, 11)
    sent = [packet for packet in media() if packet.track == 0]
    for number, document in enumerate(documents):
        parts = [document[place : place + 500] for place in range(0, len(document), 500)]
        sent += [sender.packet(part, number * 900, 0.05 + number / 100, marker=part is parts[-1]) for part in parts]
    return sorted(sent, key=lambda each: each.at_s)


@pytest.mark.parametrize("encoding", ["vnd.onvif.metadata", "vnd.onvif.metadata.gzip"])
def test_metadata_is_delivered_as_whole_documents(encoding: str) -> None:
    documents = [b"<tt:MetadataStream>" + b"<tt:Frame/>" * number + b"</tt:MetadataStream>" for number in (1, 100, 300)]
    sent = [gzip.compress(document, mtime=0) for document in documents] if "gzip" in encoding else documents
    section = METADATA.replace("vnd.onvif.metadata/", f"{encoding}/")
    received: list[Metadata] = []
    with RtspCamera(sdp(video_section(), section), metadata_media(sent)) as camera:
        packets = pull(camera.url(), 40, on_metadata=received.append, run=7)
    assert [each.document for each in received] == documents
    assert {each.run for each in received} == {7}
    assert abs(received[0].captured_at_90k - packets[0].captured_at_90k) < 10 * 90_000
    assert all(packet.info.audio is None for packet in packets)


def test_metadata_that_nobody_can_read_is_not_set_up() -> None:
    section = METADATA.replace("vnd.onvif.metadata/", "vnd.onvif.metadata.exi.onvif/")
    with RtspCamera(sdp(video_section(), section), media()) as camera:
        assert pull(camera.url(), 3, on_metadata=lambda _: None)
    assert camera.methods.count("SETUP") == 1


def test_a_sink_that_fails_does_not_cost_the_video() -> None:
    def fail(_: Metadata) -> None:
        raise RuntimeError

    with RtspCamera(sdp(video_section(), METADATA), metadata_media([b"<a/>", b"<b/>"])) as camera:
        assert len(pull(camera.url(), 40, on_metadata=fail)) == 40


@pytest.mark.parametrize("answers", [True, False])
def test_pictures_further_apart_than_the_timeout_are_waited_for_while_the_camera_answers(
    monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    monkeypatch.setattr(rtsp_run, "TICK_S", 0.1)
    pictures = [
        replace(sent, at_s=1.4 * number)
        for number, units in enumerate(coded(3, 1, ":slices=1"))
        for sent in RtpSender(first=100 * number).picture(units, number * 126_000, 0.0)
    ]

    def answer(asked: Asked, number: int) -> Reply | None:
        return Reply(raw=b"") if asked.method == "GET_PARAMETER" and not answers else None

    with RtspCamera(sdp(video_section()), pictures, answer=answer) as camera:
        if answers:
            assert len(pull(camera.url(), 3, timeout_s=0.7)) == 3
        else:
            with pytest.raises(CameraTimeoutError):
                pull(camera.url(), 3, timeout_s=0.7)
