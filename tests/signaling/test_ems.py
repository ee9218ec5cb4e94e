"""What an EMS can do with its commands, against a real Socket.IO server in a process of its own."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.session import SessionState
from signaling.answers import CaptureStatusResponse, FrameMetadata
from tests.support.ems import Ems, jpeg_of
from tests.support.ems_gateway import CAMERA, EmsGateway, announced, ask
from tests.support.sources import numbered
from tests.support.sources.numbered import HEIGHT, WIDTH, size_of

pytestmark = pytest.mark.integration

FRAME = "video_frame_from_service"
STATUS = "capture_status_response"


async def test_it_connects_as_a_service_and_sends_every_status(ems: Ems) -> None:
    async with EmsGateway(ems.url) as gateway:
        _, connect = await ems.expect("connect")
        assert "type=service" in connect["query"].split("&")
        await announced(ems)
        status = gateway.messaging.status()
        assert status.connected
        assert status.url == ems.url


async def test_start_gives_status_and_frames_and_stop_ends_them(ems: Ems) -> None:
    async with EmsGateway(ems.url, frame_rate=20) as gateway:
        at = await announced(ems)
        await ems.emit("capture_start_request", ask(purpose="door bell"))
        at, answer = await ems.expect("capture_status_response", lambda data: data.get("client_id") == "operator", at)
        assert answer["data"]["is_active"] is True
        assert answer["data"]["rtsp_url"] == "clip://camera/door"
        assert answer["data"]["metadata"] == {"purpose": "door bell"}
        CaptureStatusResponse.model_validate(answer["data"])
        await ems.expect("capture_status_response", lambda data: data["state"] == "live", at)
        at, frame = await ems.expect("video_frame_from_service", after=at)
        assert size_of(jpeg_of(frame)) == (WIDTH, HEIGHT)
        assert FrameMetadata.model_validate(frame["data"]["metadata"]).camera_id == "default"
        await ems.expect("video_frame_from_service", lambda data: data["metadata"]["sequence"] > 5, at)
        await ems.emit("capture_stop_request", ask())
        at, _ = await ems.expect("capture_status_response", lambda data: data["state"] == "stopped", at)
        assert gateway.state() is SessionState.STOPPED
        frames = ems.count("video_frame_from_service")
        await ems.emit("capture_status_request", {"requesting_client": "operator"})
        await ems.expect("capture_status_response", lambda data: data.get("client_id") == "operator", at)
        assert ems.count("video_frame_from_service") == frames


async def test_a_heartbeat_tells_that_the_gateway_runs(ems: Ems) -> None:
    async with EmsGateway(ems.url, ems_heartbeat=0.05):
        at, first = await ems.expect("service_heartbeat")
        assert first["data"]["cameras"] == {"total": 2, "live": 0, "down": 0}
        await ems.emit("capture_start_request", ask(camera_id="yard"))
        _, later = await ems.expect("service_heartbeat", lambda data: data["cameras"]["live"] == 1, at)
        assert later["data"]["time"] > first["data"]["time"] >= first["data"]["started"]
    async with EmsGateway(ems.url, ems_heartbeat=0):
        at = await announced(ems, len(ems.seen))
    assert [seen for seen in ems.seen[at:] if seen["on"] == "service_heartbeat"] == []


def of_camera(camera_id: str) -> Callable[[Any], bool]:
    return lambda data: bool(data["metadata"]["camera_id"] == camera_id)


async def test_each_camera_has_the_frames_that_were_asked_for(ems: Ems) -> None:
    async with EmsGateway(ems.url, frame_rate=20) as gateway:
        at = await announced(ems)
        await ems.emit("capture_start_request", ask(camera_id="default", frame_rate=5, width=80, quality=20))
        await ems.emit("capture_start_request", {"client_id": "operator", "camera_id": "yard", "width": 40})
        for camera_id, width in (("default", 80), ("yard", 40)):
            _, frame = await ems.expect(FRAME, of_camera(camera_id), at)
            assert frame["data"]["metadata"]["width"] == width
        assert list(gateway.service.camera("default").jpeg._streams) == [(5, 80, 20)]
        await ems.emit("capture_start_request", ask("other", frame_rate=50))
        await ems.expect(FRAME, lambda data: data["metadata"]["width"] == WIDTH, at)
        await ems.emit("capture_stop_request", ask("other"))
        at, _ = await ems.expect(STATUS, lambda data: data.get("client_id") == "other" and data["clients"] == 1, at)
        await ems.expect(FRAME, lambda data: data["metadata"]["width"] == 80, at)
        await ems.emit("capture_start_request", ask(quality="high"))
        _, answer = await ems.expect(STATUS, lambda data: "warnings" in data, at)
        assert answer["data"]["warnings"] == ["metadata.quality must be a whole number; it is ignored"]


async def test_a_camera_whose_pictures_cannot_be_decoded_says_so(ems: Ems, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.jpeg.decode_fault.AFTER_S", 0.2)
    broken = {**CAMERA, "engine": "tests.support.sources.numbered:BrokenEngine"}
    async with EmsGateway(ems.url, camera=broken) as gateway:
        at = await announced(ems)
        await ems.emit("capture_start_request", ask())
        at, told = await ems.expect(STATUS, lambda data: data["state"] == "live" and "error_message" in data, at)
        assert "cannot be decoded" in told["data"]["error_message"]
        assert ems.count(FRAME) == 0
        numbered.BrokenEngine.is_broken = False
        await ems.expect(STATUS, lambda data: data["state"] == "live" and "error_message" not in data, at)
        await ems.expect(FRAME, after=at)
        assert gateway.state() is SessionState.LIVE
    numbered.BrokenEngine.is_broken = True


async def test_frames_are_encoded_only_when_the_ems_requested_them(ems: Ems) -> None:
    async with EmsGateway(ems.url) as gateway:
        at = await announced(ems)
        await gateway.service.start_capture("library")
        at, _ = await ems.expect("capture_status_response", lambda data: data["state"] == "live", at)
        assert not gateway.service.camera().jpeg.is_decoding
        assert ems.count("video_frame_from_service") == 0


async def test_a_stop_by_one_client_does_not_stop_the_other(ems: Ems) -> None:
    async with EmsGateway(ems.url) as gateway:
        at = await announced(ems)
        for client in ("one", "two", "one"):
            await ems.emit("capture_start_request", ask(client, camera_id="yard"))
        await ems.emit("capture_stop_request", ask("one", camera_id="yard"))
        at, answer = await ems.expect(
            "capture_status_response", lambda data: data.get("client_id") == "one" and data["clients"] == 1, at
        )
        assert answer["data"]["is_active"] is True
        await ems.emit("capture_stop_request", ask("one", camera_id="yard"))
        await ems.expect("video_frame_from_service", lambda data: data["metadata"]["camera_id"] == "yard", at)
        await ems.emit("capture_stop_request", ask("two", camera_id="yard"))
        await ems.expect("capture_status_response", lambda data: data["state"] == "stopped", at)
        assert gateway.state("default") is SessionState.STOPPED


async def test_invalid_commands_are_answered_and_change_nothing(ems: Ems) -> None:
    async with EmsGateway(ems.url):
        at = await announced(ems)
        for event, payload, why in (
            ("capture_start_request", None, "must be an object"),
            ("capture_start_request", {}, "client_id: is missing"),
            ("capture_start_request", {"client_id": 7}, "client_id"),
            ("capture_start_request", ask(camera_id="attic"), "there is no camera 'attic'"),
            ("capture_start_request", ask(camera_id=["yard"]), "camera_id that is not text"),
            ("capture_stop_request", ask(junk="x" * 9000), "at most 8192 bytes"),
            ("capture_start_request", ask(junk="\ud800"), "a lone surrogate"),
            ("capture_status_request", [1, 2], "must be an object"),
        ):
            await ems.emit(event, payload)
            at, answer = await ems.expect("capture_status_response", lambda data: "error" in data, at)
            assert why in answer["data"]["error_message"]
            assert answer["data"]["is_active"] is False
        await ems.emit("webrtc_offer", {"client_id": "a", "sdp": 5})
        at, answer = await ems.expect("webrtc_error", after=at)
        assert answer["data"]["client_id"] == "a"
        await ems.emit("somebody_elses_event", {"x": 1})
        await ems.order(emit=["capture_status_request", {"requesting_client": "a"}], ack=5)
        at, ack = await ems.expect("ack", after=at)
        assert ack["data"][0]["camera_id"] == "default"
        assert ems.count("disconnect") == 0


async def test_the_camera_may_be_named_in_either_place(ems: Ems) -> None:
    async with EmsGateway(ems.url) as gateway:
        at = await announced(ems)
        beside = {"client_id": "operator", "camera_id": "yard"}
        for event, payload in (
            ("capture_start_request", beside),
            ("capture_status_request", {"requesting_client": "operator", "metadata": {"camera_id": "yard"}}),
            ("capture_stop_request", {**beside, "metadata": {"camera_id": "yard", "reason": "none"}}),
        ):
            await ems.emit(event, payload)
            at, answer = await ems.expect(
                "capture_status_response", lambda data: data.get("client_id") == "operator", at
            )
            assert answer["data"]["camera_id"] == "yard"
        assert answer["data"]["clients"] == 0
        assert gateway.state("default") is gateway.state("yard") is SessionState.STOPPED


async def test_a_refusal_names_the_camera_that_was_asked_for(ems: Ems) -> None:
    async with EmsGateway(ems.url) as gateway:
        at = await announced(ems)
        for payload, camera_id in (
            ({"client_id": "a", "camera_id": "attic"}, "attic"),
            ({"client_id": "a", "metadata": {"camera_id": "attic"}}, "attic"),
            ({"client_id": "", "camera_id": "yard"}, "yard"),
            ({"client_id": "a", "camera_id": "yard", "metadata": {"camera_id": "default"}}, None),
            ({"client_id": "a", "camera_id": ["yard"]}, None),
            ({"client_id": ""}, "default"),
        ):
            for event in ("capture_start_request", "capture_stop_request"):
                await ems.emit(event, payload)
                at, answer = await ems.expect("capture_status_response", lambda data: "error" in data, at)
                assert answer["data"].get("camera_id") == camera_id
                assert answer["data"]["is_active"] is False
        assert gateway.state("default") is gateway.state("yard") is SessionState.STOPPED


async def test_fields_that_do_not_exist_are_warned_of(ems: Ems) -> None:
    async with EmsGateway(ems.url):
        at = await announced(ems)
        await ems.emit("capture_status_request", {"requesting_client": "a", "cameraId": "yard"})
        _, answer = await ems.expect("capture_status_response", lambda data: data.get("client_id") == "a", at)
        assert answer["data"]["warnings"] == ["there is no field 'cameraId'; it is ignored"]


async def test_an_ems_that_does_not_acknowledge_gets_frames_too() -> None:
    async with Ems("--no-ack") as ems, EmsGateway(ems.url, frame_rate=20) as gateway:
        at = await announced(ems)
        await ems.emit("capture_start_request", ask())
        for _ in range(5):
            at, _ = await ems.expect("video_frame_from_service", after=at)
        assert (gateway.messaging.status().frames_sent or 0) >= 4
