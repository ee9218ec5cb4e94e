"""When a camera is asked for a keyframe, what it is sent, and what becomes of one that sends none."""

import pytest

from gateway.capture.camera_errors import NoKeyframeError
from gateway.capture.engine import CaptureSource
from gateway.capture.keyframe_requests import ASK_AFTER_S, KeyframeRequests
from gateway.media import Packet
from gateway.rtsp import rtcp
from tests.support.blocking_engine import BlockingRtspEngine
from tests.support.pcm_pictures import Layout
from tests.support.rtsp_camera import (
    Answer,
    Asked,
    Reply,
    RtpSender,
    RtspCamera,
    Sent,
    keyframe_requests,
    sdp,
    video_section,
)


def test_each_request_waits_twice_as_long() -> None:
    requests = KeyframeRequests()
    asked = [now for now in range(60) if requests.is_due(5.0, float(now))]
    assert asked == [5 + 2, 5 + 2 + 4, 5 + 2 + 4 + 8, 5 + 2 + 4 + 8 + 16]
    assert requests.count == 4


def test_a_keyframe_in_time_is_not_asked_for() -> None:
    requests = KeyframeRequests()
    assert not requests.is_due(0.0, ASK_AFTER_S - 0.1)
    assert not requests.is_due(None, 10.0)
    # Another wait begins.
    assert not requests.is_due(10.0, 10.0 + ASK_AFTER_S - 0.1)
    assert requests.is_due(10.0, 10.0 + ASK_AFTER_S)


def test_both_forms_of_the_request() -> None:
    """RFC 4585 §6.3.1, RFC 5104 §4.3.1."""
    data = rtcp.keyframe_request(0x01020304, 0x0A0B0C0D, 0x1FF)
    assert data == bytes.fromhex("81ce0002 01020304 0a0b0c0d 84ce0004 01020304 00000000 0a0b0c0d ff000000")
    assert keyframe_requests(data) == [(1, 0x0A0B0C0D), (4, 0x0A0B0C0D)]


def pictures(count: int, *, idr_at: int | None, first: int = 0, kind: str = "p", step_s: float = 0.02) -> list[Sent]:
    """Pictures with parameter sets; ``kind`` other than ``p`` makes every tenth an I picture that is no IDR picture."""
    layout, sender = Layout(), RtpSender(first=first)
    sent: list[Sent] = []
    for number in range(count):
        is_idr = number == idr_at
        is_intra = is_idr or (kind == "i" and number % 10 == 0)
        units = [layout.picture(number % 256, 2 * number % 256, 40, is_idr=is_idr, is_intra=is_intra)]
        sent += sender.picture([layout.sps(), layout.pps(), *units], (first + number) * 1800, number * step_s)
    return sent


def first_packets(camera: RtspCamera, count: int = 3) -> list[Packet]:
    packets = BlockingRtspEngine(CaptureSource("camera", camera.url(), 5.0)).packets()
    found = [next(packets) for _ in range(count)]
    packets.close()  # type: ignore[attr-defined]
    return found


def only_udp(asked: Asked, number: int) -> Reply | None:
    return Reply(461) if asked.method == "SETUP" and "interleaved" in asked.headers.get("transport", "") else None


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.capture.keyframe_requests.ASK_AFTER_S", 0.05)
    monkeypatch.setattr("gateway.capture.rtsp_run.TICK_S", 0.02)
    monkeypatch.setattr("gateway.capture.rtsp_run.UDP_TICK_S", 0.02)


@pytest.mark.parametrize("answer", [lambda asked, number: None, only_udp], ids=["tcp", "udp"])
@pytest.mark.usefixtures("impatient")
def test_a_camera_that_sends_its_keyframe_when_asked(answer: Answer) -> None:
    asked_media = pictures(60, idr_at=0, first=1000)
    with RtspCamera(sdp(video_section()), pictures(500, idr_at=None), answer=answer, asked_media=asked_media) as camera:
        found = first_packets(camera)
        # A receiver report goes first (RFC 3550 §6.1).
        requests = [data for data in camera.controls if keyframe_requests(data)]
    assert [packet.is_keyframe for packet in found] == [True, False, False]
    assert requests[0][1] == 201
    assert keyframe_requests(requests[0]) == [(1, 7), (4, 7)]
    assert camera.methods.count("PLAY") == 1


@pytest.mark.usefixtures("impatient")
def test_a_camera_that_never_sends_one_is_opened_again_and_then_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.capture.engines.rtsp.REOPEN_AFTER_S", 0.3)
    monkeypatch.setattr("gateway.capture.engines.rtsp.KEYFRAME_TIMEOUT_S", 0.6)
    with RtspCamera(sdp(video_section()), pictures(500, idr_at=None)) as camera:
        with pytest.raises(
            NoKeyframeError, match=r"no keyframe .* asked for one \d+ times .* set its keyframe interval"
        ):
            first_packets(camera)
        assert camera.methods.count("PLAY") == 2


@pytest.mark.usefixtures("impatient")
def test_intra_pictures_are_served_where_there_are_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.capture.rtsp_media.INTRA_WAIT_S", 0.2)
    with RtspCamera(sdp(video_section()), pictures(500, idr_at=None, kind="i")) as camera:
        found = first_packets(camera, 22)
        assert any(keyframe_requests(data) for data in camera.controls)
    assert [place for place, packet in enumerate(found) if packet.is_keyframe] == [0, 10, 20]
