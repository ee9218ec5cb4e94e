"""The RTSP session of a voice: requests, credentials, transports, and cameras that will not or cannot."""

import asyncio

import pytest

from gateway.capture.engine import CaptureSource
from gateway.clock import SYSTEM_CLOCK
from gateway.errors import CameraEndedError, CameraTimeoutError, CameraUnauthorizedError, CaptureError, LiveedgeError
from gateway.rtsp.rtp import parse_header
from gateway.talk import back_channel
from gateway.talk.back_channel import BACK_CHANNEL, RtspBackChannel, look_at_back_channel
from gateway.talk.errors import NoBackChannelError
from tests.support.eventually import eventually
from tests.support.rtsp_camera import Asked, Reply, RtspCamera, audio_section, sdp, video_section

VOICE = audio_section("PCMU/8000", 0, 2) + "a=sendonly\r\n"
TALKING = sdp(video_section() + "a=recvonly\r\n", VOICE)
DEAF = sdp(video_section() + "a=recvonly\r\n")


def source(camera: RtspCamera, userinfo: str = "") -> CaptureSource:
    return CaptureSource("door", camera.url(userinfo), timeout_s=2.0)


def channel(camera: RtspCamera, userinfo: str = "") -> RtspBackChannel:
    return RtspBackChannel(source(camera, userinfo), SYSTEM_CLOCK, lambda formats: formats[0])


async def talk(voice: RtspBackChannel) -> None:
    for number in range(3):
        voice.send(bytes([number]) * 160, 1000 + number * 160, marker=number == 0)


async def test_only_the_back_channel_is_set_up_and_each_request_names_the_feature() -> None:
    with RtspCamera(TALKING) as camera:
        voice = channel(camera)
        await voice.open()
        await talk(voice)
        await eventually(lambda: len(camera.heard) == 3, "the camera hears it")
        await voice.close()
        await eventually(lambda: camera.methods[-1] == "TEARDOWN", "the session is over")
    assert camera.methods == ["DESCRIBE", "SETUP", "PLAY", "TEARDOWN"]
    assert [asked.headers.get("require") for asked in camera.asked[:3]] == [BACK_CHANNEL] * 3
    assert camera.asked[1].uri.endswith("/track2")
    headers = [parse_header(packet) for packet in camera.heard]
    first = headers[0]
    assert first is not None
    assert [(each.payload_type, each.marker, each.ssrc) for each in headers if each] == [
        (0, number == 0, first.ssrc) for number in range(3)
    ]
    assert [
        (each.sequence - first.sequence, (each.timestamp - first.timestamp) % 2**32) for each in headers if each
    ] == [
        (0, 0),
        (1, 160),
        (2, 320),
    ]
    assert [packet[12:] for packet in camera.heard] == [bytes([number]) * 160 for number in range(3)]
    assert camera.controls[0][1] == 200, "a sender report tells the camera our clock"


async def test_over_udp_where_the_camera_refuses_tcp() -> None:
    def refuse_tcp(asked: Asked, number: int) -> Reply | None:
        is_tcp = asked.method == "SETUP" and "interleaved" in asked.headers["transport"]
        return Reply(461) if is_tcp else None

    with RtspCamera(TALKING, answer=refuse_tcp) as camera:
        voice = channel(camera)
        await voice.open()
        await talk(voice)
        await eventually(lambda: len(camera.heard) == 3, "the camera hears it")
        await voice.close()


async def test_digest_and_a_password_that_is_tried_once() -> None:
    with RtspCamera(TALKING, credentials=("admin", "p@ss")) as camera:
        voice = channel(camera, "admin:p@ss")
        await voice.open()
        await voice.close()
    with RtspCamera(TALKING, credentials=("admin", "p@ss")) as camera:
        with pytest.raises(CameraUnauthorizedError):
            await look_at_back_channel(source(camera, "admin:wrong"), SYSTEM_CLOCK)
        assert len([each for each in camera.asked if "authorization" in each.headers]) == 1


async def test_a_camera_is_looked_at_by_describe_alone() -> None:
    with RtspCamera(TALKING) as camera:
        formats = await look_at_back_channel(source(camera), SYSTEM_CLOCK)
        assert camera.methods == ["DESCRIBE"]
    assert [each.name for each in formats] == ["PCMU"]


@pytest.mark.parametrize("status", [200, 400, 501, 551])
async def test_a_camera_without_a_back_channel(status: int) -> None:
    def answer(asked: Asked, number: int) -> Reply | None:
        return Reply(status) if status != 200 else None

    with RtspCamera(DEAF, answer=answer) as camera, pytest.raises(NoBackChannelError, match="talk_url"):
        await channel(camera).open()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(404), CaptureError),
        (Reply(453), CaptureError),
        (Reply(raw=b"HTTP/1.1 200 OK\r\n\r\n"), LiveedgeError),
        (Reply(raw=b""), CameraTimeoutError),
    ],
)
async def test_a_camera_that_refuses(reply: Reply, expected: type[LiveedgeError]) -> None:
    def answer(asked: Asked, number: int) -> Reply | None:
        return reply if asked.method == "SETUP" else None

    with RtspCamera(TALKING, answer=answer) as camera:
        slow = CaptureSource("door", camera.url(), timeout_s=0.3)
        voice = RtspBackChannel(slow, SYSTEM_CLOCK, lambda formats: formats[0])
        with pytest.raises(expected):
            await voice.open()
        await voice.close()


async def test_a_session_that_the_camera_ends_says_so() -> None:
    with RtspCamera(TALKING) as camera:
        voice = channel(camera)
        await voice.open()
        running = asyncio.create_task(voice.run())
    with pytest.raises(CameraEndedError):
        await running
    await voice.close()


async def test_the_session_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(back_channel, "TICK_S", 0.01)
    monkeypatch.setattr("gateway.rtsp.keep_alive.KEEP_ALIVE_MIN_S", 0.01)
    with RtspCamera(TALKING, session="42;timeout=1") as camera:
        monkeypatch.setattr("gateway.rtsp.keep_alive.KEEP_ALIVE_SHARE", 0.02)
        voice = channel(camera)
        await voice.open()
        running = asyncio.create_task(voice.run())
        await eventually(lambda: "GET_PARAMETER" in camera.methods, "it is kept")
        running.cancel()
        await voice.close()


async def test_a_camera_that_does_not_read_is_not_sent_more() -> None:
    with RtspCamera(TALKING) as camera:
        voice = channel(camera)
        await voice.open()
        camera.reads.clear()
        for number in range(100_000):
            if voice.is_full:
                break
            voice.send(bytes(1200), number * 1200, marker=False)
        assert voice.is_full
        await voice.close()
