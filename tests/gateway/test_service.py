"""CaptureService and Camera, with an engine that the test controls."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.camera_settings import CameraSettings
from gateway.capture.counters import CaptureCounters
from gateway.errors import (
    CameraUnauthorizedError,
    CameraUnreachableError,
    ConflictError,
    NotFoundError,
    UnavailableError,
)
from gateway.media import StreamInfo
from gateway.service import CaptureService
from gateway.session import SessionState
from gateway.settings import load_settings
from gateway.status import CaptureStatus
from tests.support.eventually import eventually
from tests.support.sources.scripted import INFO, ScriptedEngine

numbers = itertools.count()


def camera_settings(**table: Any) -> CameraSettings:
    """An on-demand camera that does not record, with an engine of its own."""
    defaults = {
        "url": f"scripted://viewer:s3cret@camera/{next(numbers)}",
        "engine": "tests.support.sources.scripted:ScriptedEngine",
        "start": "on-demand",
        "record": "never",
        "connection_retry_attempts": 1,
        "connection_retry_delay": 0.05,
        "capture_linger": 0,
    }
    return load_settings().camera("door", {**defaults, **table})


class Scene:
    """A service with one camera."""

    def __init__(self, **table: Any) -> None:
        self.settings = camera_settings(**table)
        self.service = CaptureService({"door": self.settings})
        self.camera = self.service.camera("door")
        self.statuses: list[CaptureStatus] = []
        self.service.on_status(self.statuses.append)

    @property
    def runs(self) -> list[ScriptedEngine]:
        return ScriptedEngine.runs.get(self.settings.url.get_secret_value(), [])

    @property
    def state(self) -> SessionState:
        return self.camera.session.state

    async def live(self) -> ScriptedEngine:
        """Wait for an engine, let it send a keyframe, and wait until the camera is live."""
        count = len(self.runs) or 1
        await eventually(lambda: len(self.runs) >= count and not self.runs[-1].closed, "the run is open")
        engine = self.runs[-1]
        engine.send(key=True)
        await eventually(lambda: self.state is SessionState.LIVE, "the session is live")
        return engine


@pytest.fixture
async def scenes() -> AsyncIterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def make(**table: Any) -> Scene:
        made.append(Scene(**table))
        return made[-1]

    yield make
    for scene in made:
        await scene.service.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("capture-")]
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith(("capture-", "frames-"))]


async def test_start_and_stop_by_command(scenes: Callable[..., Scene]) -> None:
    scene = scenes()
    status = await scene.service.start_capture("ems", metadata={"why": "alarm"})
    assert status.state is SessionState.CONNECTING
    assert status.is_active
    assert status.rtsp_url.startswith("scripted://camera/")
    await scene.live()
    assert scene.camera.clients == {"ems": {"why": "alarm"}}
    status = await scene.service.stop_capture("ems")
    assert (status.state, status.is_active, status.clients) == (SessionState.STOPPED, False, 0)
    assert scene.runs[0].interrupted
    assert scene.runs[0].closed
    states = [state for state, _ in itertools.groupby(status.state for status in scene.statuses)]
    assert states == [SessionState.CONNECTING, SessionState.LIVE, SessionState.STOPPED]


async def test_a_stop_of_one_client_leaves_the_others_and_a_second_start_counts_once(
    scenes: Callable[..., Scene],
) -> None:
    scene = scenes()
    for client in ("a", "b", "a"):
        await scene.service.start_capture(client)
    await scene.live()
    assert (await scene.service.stop_capture("a")).state is SessionState.LIVE
    assert (await scene.service.stop_capture("a")).clients == 1
    assert (await scene.service.stop_capture("nobody")).clients == 1
    assert (await scene.service.stop_capture("b")).state is SessionState.STOPPED
    assert len(scene.runs) == 1


async def test_a_viewer_holds_the_camera_and_it_lingers(scenes: Callable[..., Scene]) -> None:
    scene = scenes(capture_linger=0.1)
    hold = scene.camera.hold("webrtc")
    await scene.live()
    assert scene.service.status().viewers == {"webrtc": 1}
    hold.release()
    hold.release()
    assert scene.service.status().viewers == {}
    assert scene.state is SessionState.LIVE, "a viewer who comes back finds it running"
    again = scene.camera.hold("webrtc")
    await asyncio.sleep(0.2)
    assert scene.state is SessionState.LIVE
    again.release()
    await eventually(lambda: scene.state is SessionState.STOPPED, "the session has stopped")


async def test_a_viewer_that_comes_while_the_capture_ends_starts_it_again(
    scenes: Callable[..., Scene],
) -> None:
    scene = scenes()
    await scene.service.start_capture("a")
    await scene.live()
    stopping = asyncio.ensure_future(scene.service.stop_capture("a"))
    await asyncio.sleep(0)
    scene.camera.hold("hls")
    await stopping
    await eventually(lambda: len(scene.runs) == 2, "the run has begun")
    await scene.live()


async def test_an_always_on_camera_is_captured_without_clients(scenes: Callable[..., Scene]) -> None:
    scene = scenes(start="always")
    scene.service.start()
    await scene.live()
    await scene.service.start_capture("a")
    assert (await scene.service.stop_capture("a")).state is SessionState.LIVE


async def test_the_captures_of_a_disconnected_client_end(scenes: Callable[..., Scene]) -> None:
    scene = scenes()
    await scene.service.start_capture("a")
    await scene.live()
    await scene.service.end_client("a")
    await eventually(lambda: scene.state is SessionState.STOPPED, "the session has stopped")


async def test_a_capture_that_stops_before_its_first_step_has_stopped(scenes: Callable[..., Scene]) -> None:
    scene = scenes()
    await scene.service.start_capture("a")
    status = await scene.service.stop_capture("a")
    assert status.state is SessionState.STOPPED
    assert not scene.runs
    await scene.service.start_capture("a")
    await scene.live()


async def test_a_lost_camera_is_tried_again_with_the_next_run_number(scenes: Callable[..., Scene]) -> None:
    scene = scenes()
    seen: list[int] = []
    scene.camera.hub.attach(lambda packet: seen.append(packet.run))
    await scene.service.start_capture()
    engine = await scene.live()
    engine.fail()
    await eventually(lambda: len(scene.runs) == 2, "the run has begun")
    assert scene.state is SessionState.RETRYING
    assert scene.service.status().error_message == "the camera is gone"
    assert not scene.camera.hub.gop
    await scene.live()
    assert seen == [1, 2]
    assert scene.service.status().error_message is None
    assert scene.service.status().reconnects == 1


async def test_a_camera_that_cannot_be_reached_fails_and_a_command_tries_again(scenes: Callable[..., Scene]) -> None:
    scene = scenes()
    await scene.service.start_capture()
    for attempt in (1, 2):
        await eventually(lambda attempt=attempt: len(scene.runs) == attempt, "the next attempt has begun")  # type: ignore[misc]
        scene.runs[-1].fail(CameraUnreachableError("nothing listens at the camera"))
    await eventually(lambda: scene.state is SessionState.FAILED, "the session has failed")
    status = scene.service.status()
    assert not status.is_active
    assert status.error_message == "nothing listens at the camera"
    with pytest.raises(UnavailableError, match="nothing listens"):
        await scene.camera.wait_for_keyframe(60)
    await scene.service.start_capture()
    await eventually(lambda: len(scene.runs) == 3, "the run has begun")
    await scene.live()


async def test_refused_credentials_fail_at_once_so_that_the_camera_does_not_lock_the_account(
    scenes: Callable[..., Scene],
) -> None:
    scene = scenes()
    await scene.service.start_capture()
    await eventually(lambda: len(scene.runs) == 1, "the run has begun")
    scene.runs[0].fail(CameraUnauthorizedError("the camera wants another password"))
    await eventually(lambda: scene.state is SessionState.FAILED, "the session has failed")
    assert scene.service.status().error_message == "the camera wants another password"
    assert len(scene.runs) == 1


async def test_a_persistent_camera_is_tried_again_and_a_command_ends_the_wait(scenes: Callable[..., Scene]) -> None:
    scene = scenes(start="always", connection_retry_attempts=0, connection_retry_delay=3600)
    scene.service.start()
    await eventually(lambda: len(scene.runs) == 1, "the run has begun")
    scene.runs[0].fail()
    await eventually(lambda: scene.state is SessionState.FAILED, "the session has failed")
    await scene.service.start_capture("guard")
    await eventually(lambda: len(scene.runs) == 2, "the run has begun")
    await scene.live()


async def test_a_silent_engine_is_ended_after_the_timeout(
    scenes: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.capture_runs.ENGINE_GRACE_S", 0.05)
    scene = scenes(capture_timeout=100)
    await scene.service.start_capture()
    await scene.live()
    await eventually(lambda: len(scene.runs) == 2, "the run has begun")
    assert scene.runs[0].interrupted
    assert "CAPTURE_TIMEOUT" in (scene.camera.session.error_message or "")


async def test_any_error_of_an_engine_affects_its_camera_only(scenes: Callable[..., Scene]) -> None:
    scene = scenes()
    await scene.service.start_capture()
    await eventually(lambda: len(scene.runs) == 1, "the run has begun")
    scene.runs[0].fail(ZeroDivisionError("rtsp://viewer:s3cret@camera"))
    await eventually(lambda: scene.state is SessionState.RETRYING, "the session retries")
    message = scene.service.status().error_message or ""
    assert "ZeroDivisionError" in message
    assert "s3cret" not in message


async def test_waiting_for_a_keyframe_ends_when_it_comes(scenes: Callable[..., Scene]) -> None:
    scene = scenes()
    with pytest.raises(UnavailableError):
        await scene.camera.wait_for_keyframe(60)
    scene.camera.hold("webrtc")
    waiting = asyncio.ensure_future(scene.camera.wait_for_keyframe(60))
    await scene.live()
    await waiting
    scene.runs[0].fail()
    await eventually(lambda: not scene.camera.hub.gop, "the hub has dropped its GOP")
    with pytest.raises(UnavailableError, match="gone"):
        await scene.camera.wait_for_keyframe(0.01)


async def test_waiting_for_a_keyframe_fails_at_once_when_none_can_come(
    scenes: Callable[..., Scene],
) -> None:
    scene = scenes(connection_retry_attempts=0)
    scene.camera.hold("webrtc")
    waiting = asyncio.ensure_future(scene.camera.wait_for_keyframe(60))
    await eventually(lambda: len(scene.runs) == 1, "the run has begun")
    scene.runs[0].fail()
    with pytest.raises(UnavailableError, match="the camera is gone"):
        await waiting


async def test_a_change_of_the_stream_is_reported(scenes: Callable[..., Scene]) -> None:
    scene = scenes()
    await scene.service.start_capture()
    engine = await scene.live()
    wide = StreamInfo(INFO.video.__class__("h264", "avc1.640028", 1920, 1080, INFO.video.parameter_sets))
    engine.send(key=True, info=wide)
    await eventually(lambda: scene.statuses[-1].width == 1920, "the new width is reported")


async def test_a_listener_that_fails_does_not_stop_the_others(scenes: Callable[..., Scene]) -> None:
    scene = scenes()

    def broken(_status: CaptureStatus) -> None:
        raise RuntimeError("out of order")

    scene.service._listeners.insert(0, broken)
    await scene.service.start_capture()
    assert scene.statuses
    remove = scene.service.on_status(broken)
    remove()
    remove()


async def test_cameras_come_and_go_at_run_time(scenes: Callable[..., Scene]) -> None:
    scene = scenes()
    with pytest.raises(NotFoundError, match="/api/cameras"):
        scene.service.camera("yard")
    scene.service.add_camera("yard", camera_settings())
    with pytest.raises(ConflictError):
        scene.service.add_camera("yard", camera_settings())
    await scene.service.start_capture("a", "yard")
    await scene.service.remove_camera("yard")
    assert list(scene.service.cameras) == ["door"]
    assert scene.service.camera() is scene.camera


async def test_the_counters_of_all_runs_are_summed(scenes: Callable[..., Scene]) -> None:
    scene = scenes(connection_retry_attempts=5)
    await scene.service.start_capture("one")
    first = await scene.live()
    first.counters.packets_unreadable = 3
    first.counters.timestamp_jumps = 1
    assert scene.camera.counters.packets_unreadable == 3
    first.fail()
    await eventually(lambda: len(scene.runs) == 2, "the run has begun")
    assert scene.camera.counters == CaptureCounters(packets_unreadable=3, timestamp_jumps=1)
    scene.runs[1].counters.packets_unreadable = 4
    assert scene.camera.counters == CaptureCounters(packets_unreadable=7, timestamp_jumps=1)


async def test_an_engine_need_not_be_prompt_while_nobody_waits_for_the_next_frame(scenes: Callable[..., Scene]) -> None:
    scene = scenes(start="always")
    scene.service.start()
    await eventually(lambda: len(scene.runs) == 1, "the run has begun")
    source = scene.runs[0].source
    # The first picture is awaited.
    assert source.is_watched()
    await scene.live()
    assert not source.is_watched()
    hold = scene.camera.hold("webrtc")
    assert source.is_watched()
    hold.release()
    assert not source.is_watched()
    scene.service.set_frame_callback(lambda frame: None)
    await eventually(source.is_watched, "the callback waits for it")
    scene.service.set_frame_callback(None)
    await eventually(lambda: not source.is_watched(), "nobody waits for it")
