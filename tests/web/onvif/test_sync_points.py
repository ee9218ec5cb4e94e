"""web.onvif.sync_points and keyframes: a camera is asked for a keyframe, and its effect is measured and kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.camera_settings import CameraSettings
from gateway.clock import SYSTEM_CLOCK
from gateway.session import SessionState
from tests.gateway.capture.test_keyframe_requests import pictures
from tests.support.configured import write
from tests.support.eventually import eventually
from tests.support.onvif_camera import OnvifCamera
from tests.support.rtsp_camera import RtspCamera, sdp, video_section
from web.gateway import GATEWAY
from web.onvif.camera import CameraOnvif
from web.onvif.client import Tries
from web.onvif.keyframes import KeyframeRequester, SyncPointFile
from web.onvif.sync_points import EFFECT_S, INTERVAL_S, TRIES, SyncPoints


def test_a_camera_is_asked_when_a_keyframe_is_awaited_and_not_too_often() -> None:
    points = SyncPoints()
    assert not points.wanted(0.1, 0.0)
    assert points.wanted(0.5, 0.0)
    assert not points.wanted(1.5, 1.0)
    assert points.wanted(0.5 + INTERVAL_S, INTERVAL_S)


def test_a_keyframe_soon_after_is_the_effect_and_a_late_one_is_not() -> None:
    points = SyncPoints()
    points.wanted(1.0, 0.0)
    points.wanted(None, 0.4)
    assert (points.asked, points.helped, points.wait_s) == (1, 1, 0.4)
    points.wanted(1.0, 100.0)
    points.wanted(None, 100.0 + EFFECT_S + 0.1)
    assert (points.asked, points.helped) == (2, 1)
    points.wanted(None, 200.0)  # one that nobody asked for
    assert points.helped == 1


def test_a_camera_that_ignores_it_is_asked_no_more() -> None:
    points = SyncPoints()
    asked = sum(points.wanted(1.0, number * 100.0) for number in range(TRIES * 2))
    assert asked == TRIES
    assert points.is_useless


def test_a_question_that_does_not_reach_the_camera_does_not_count() -> None:
    points = SyncPoints()
    for number in range(TRIES * 2):
        assert points.wanted(1.0, number * 100.0)
        points.lost()
        points.wanted(None, number * 100.0 + 1.0)
    assert (points.heard, points.helped, points.is_useless) == (0, 0, False)


async def test_a_camera_whose_onvif_is_away_is_not_taken_for_one_that_ignores_it(tmp_path: Path) -> None:
    with OnvifCamera() as camera:
        gone = camera.url
    settings = CameraSettings.model_validate({"url": "rtsp://127.0.0.1/main", "onvif_url": gone})
    onvif = CameraOnvif(settings, Tries(), None)
    keyframes = KeyframeRequester("door", onvif, SyncPointFile(tmp_path), SYSTEM_CLOCK)
    keyframes.wanted(1.0)
    file = tmp_path / "onvif-sync-points.json"
    await eventually(file.exists, "it is kept")
    assert json.loads(file.read_text()) == {"door": {"asked": 0, "helped": 0}}


@pytest.mark.integration
@pytest.mark.parametrize("is_on", [True, False])
async def test_a_camera_in_a_long_gop_is_live_as_soon_as_onvif_has_asked(
    place: Path, open_gateway: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, is_on: bool
) -> None:
    monkeypatch.setattr("gateway.capture.rtsp_run.TICK_S", 0.05)
    monkeypatch.setattr("gateway.capture.keyframe_requests.ASK_AFTER_S", 60.0)
    asked_media = pictures(500, idr_at=0, first=1000)
    with (
        RtspCamera(sdp(video_section()), pictures(500, idr_at=None), asked_media=asked_media) as stream,
        OnvifCamera("admin", "s3cret") as camera,
    ):
        camera.synchronized = stream.ask
        table = {"url": stream.url(), "engine": "rtsp", "onvif_url": camera.url.replace("//", "//admin:s3cret@")}
        write(place, door={**table, "onvif_events": False, "onvif_sync_point": is_on, "start": "always"})
        client = await open_gateway()
        session = client.app[GATEWAY].service.camera("door").main.session
        if not is_on:
            await eventually(lambda: len(stream.methods) >= 4, "it plays")
            assert session.state is SessionState.CONNECTING
            assert camera.asked["SetSynchronizationPoint"] == 0
            return
        await eventually(lambda: session.state is SessionState.LIVE, "the camera is live")
        # Once a connection; a machine with much to do may need a second one.
        assert camera.asked["SetSynchronizationPoint"] == stream.methods.count("PLAY")
        file = place / "data" / "onvif-sync-points.json"
        # Whether it counts as a help depends on how soon the keyframe came: the clock of the tests above decides.
        await eventually(lambda: file.exists() and json.loads(file.read_text())["door"]["asked"] >= 1, "it is kept")
