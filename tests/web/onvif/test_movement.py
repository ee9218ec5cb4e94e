"""PTZ over HTTP and Socket.IO, in a whole gateway: which commands reach the camera."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import socketio

from gateway.onvif.ptz_command import PtzFields
from gateway.rtsp.auth import Credentials
from tests.support.configured import write
from tests.support.eventually import eventually
from tests.support.ipycam_camera import PASSWORD, USER, IPyCam
from tests.support.onvif_camera import GENERIC, OnvifCamera
from web.onvif.look import with_credentials

pytestmark = pytest.mark.integration

PATH = "/api/cameras/door/ptz"


@pytest.fixture
def camera() -> Iterator[OnvifCamera]:
    with OnvifCamera("admin", "s3cret") as camera:
        yield camera


@pytest.fixture
async def client(place: Path, camera: OnvifCamera, open_gateway: Callable[[], Any]) -> Any:
    """A gateway whose camera ``door`` can be moved, and ``yard`` cannot."""
    url = camera.url.replace("http://", "http://admin:s3cret@")
    write(place, door={"start": "on-demand", "onvif_url": url, "onvif_events": False}, yard={"start": "on-demand"})
    return await open_gateway()


async def move(client: Any, **command: Any) -> tuple[int, str]:
    reply = await client.post(PATH, json=command)
    return reply.status, await reply.text()


def pan_tilt(camera: OnvifCamera, index: int = -1) -> tuple[str, str, str, str]:
    """Operation, x, y and space of a movement."""
    name, element = camera.moves[index]
    found = element.find(".//{*}PanTilt")
    assert found is not None
    return name, found.get("x", ""), found.get("y", ""), found.get("space", "")


async def test_what_a_camera_can_do_and_its_presets_are_told(client: Any) -> None:
    state = await (await client.get(PATH)).json()
    assert state["presets"] == [{"token": "1", "name": "Gate & road"}, {"token": "2", "name": "2"}]
    assert (state["can_move"], state["can_step"], state["can_center"]) == (True, True, True)


async def test_each_command_reaches_the_camera(client: Any, camera: OnvifCamera) -> None:
    assert await move(client, action="move", pan=0.5, tilt=-1.0, timeout_s=2.0) == (204, "")
    assert pan_tilt(camera)[:3] == ("ContinuousMove", "0.5000", "-1.0000")
    assert camera.moves[-1][1].findtext("{*}Timeout") == "PT2.0S"
    assert (await move(client, action="step", pan=0.1))[0] == 204
    assert pan_tilt(camera)[:3] == ("RelativeMove", "0.1000", "0.0000")
    assert (await move(client, action="step", zoom=-0.2))[0] == 204
    assert camera.moves[-1][1].find(".//{*}PanTilt") is None
    for command, operation in (({"action": "home"}, "GotoHomePosition"), ({"action": "stop"}, "Stop")):
        assert (await move(client, **command))[0] == 204
        assert camera.moves[-1][0] == operation
    assert (await move(client, action="preset", preset="<1&>"))[0] == 204
    assert camera.moves[-1][1].findtext("{*}PresetToken") == "<1&>"


async def test_a_click_turns_the_picture_to_its_centre(client: Any, camera: OnvifCamera) -> None:
    assert (await move(client, action="center", x=0.75, y=0.0))[0] == 204
    name, x, y, space = pan_tilt(camera)
    assert (name, float(x), float(y)) == ("RelativeMove", 0.5, 1.0)
    assert space.endswith("TranslationSpaceFov")


async def test_a_camera_without_that_space_is_turned_by_an_estimate_unless_it_is_zoomed_in(
    client: Any, camera: OnvifCamera
) -> None:
    camera.space = GENERIC
    state = await (await client.get(PATH)).json()
    assert (state["can_center"], state["is_center_estimated"]) == (True, True)
    for camera.zoom in (None, "0", "0.01"):
        assert (await move(client, action="center", x=0.75, y=0.0))[0] == 204
        name, x, y, space = pan_tilt(camera)
        assert (name, round(float(x), 3), round(float(y), 3)) == ("RelativeMove", 0.083, 0.333)
        assert space.endswith("TranslationGenericSpace")
    camera.zoom = "0.4"
    moves = len(camera.moves)
    status, text = await move(client, action="center", x=0.75, y=0.0)
    assert (status, len(camera.moves)) == (409, moves)
    assert "zoom out first" in text


async def test_a_camera_without_relative_movement_says_so(client: Any, camera: OnvifCamera) -> None:
    camera.space = ""
    assert not (await (await client.get(PATH)).json())["can_center"]
    status, text = await move(client, action="center", x=0.5, y=0.5)
    assert status == 409
    assert "onvif_unsupported" in text


async def test_a_client_over_http_that_dies_leaves_its_camera_turning_for_no_more_than_two_seconds(client: Any) -> None:
    schema = PtzFields.model_json_schema()["properties"]["timeout_s"]
    assert (schema["default"], schema["maximum"]) == (1.0, 2.0)
    assert (await move(client, action="move", pan=1.0, timeout_s=2.01))[0] == 400


async def test_a_movement_ends_by_our_stop_after_its_time(client: Any, camera: OnvifCamera) -> None:
    await move(client, action="move", pan=1.0, timeout_s=0.2)
    await eventually(lambda: [name for name, _ in camera.moves] == ["ContinuousMove", "Stop"], "it was stopped")


async def test_a_movement_that_goes_on_is_not_stopped_by_the_time_of_the_one_before(
    client: Any, camera: OnvifCamera
) -> None:
    for _ in range(4):
        await move(client, action="move", pan=1.0, timeout_s=0.3)
        await asyncio.sleep(0.1)
    assert [name for name, _ in camera.moves] == ["ContinuousMove"] * 4


async def test_a_stop_overtakes_the_commands_of_a_slow_camera_and_is_repeated_after_them(
    client: Any, camera: OnvifCamera
) -> None:
    await client.get(PATH)
    camera.delays_s["ContinuousMove"] = 0.5
    first = asyncio.create_task(move(client, action="move", pan=1.0, timeout_s=2.0))
    await eventually(lambda: camera.asked["ContinuousMove"] == 1, "the camera has the movement")
    others = [asyncio.create_task(move(client, action="step", pan=0.1)) for _ in range(7)]
    await asyncio.sleep(0.1)
    assert await move(client, action="stop") == (204, "")
    assert camera.moves == [("Stop", camera.moves[0][1])]
    assert await asyncio.gather(first, *others) == [(204, "")] * 8
    assert [name for name, _ in camera.moves] == ["Stop", "ContinuousMove", "Stop"]


async def test_a_camera_that_takes_a_movement_after_its_time_is_stopped_again(client: Any, camera: OnvifCamera) -> None:
    await client.get(PATH)
    camera.delays_s["ContinuousMove"] = 0.5
    assert (await move(client, action="move", pan=1.0, timeout_s=0.1))[0] == 204
    await eventually(lambda: [name for name, _ in camera.moves][-1] == "Stop", "it was stopped")
    assert [name for name, _ in camera.moves][-2] == "ContinuousMove"


@pytest.mark.parametrize(
    "command",
    [
        {},
        {"action": "fly"},
        {"action": "move"},
        {"action": "move", "pan": 1.5},
        {"action": "move", "pan": 0.5, "timeout_s": 2.5},
        {"action": "preset"},
        {"action": "preset", "preset": "1\x01"},
        {"action": "center", "x": 0.5},
        {"action": "center", "x": 0.5, "y": 1.5},
        {"action": "stop", "other": 1},
    ],
)
async def test_commands_that_make_no_sense_are_refused(
    client: Any, camera: OnvifCamera, command: dict[str, Any]
) -> None:
    assert (await move(client, **command))[0] == 400
    assert camera.moves == []


async def test_cameras_without_onvif_and_unknown_ones_are_told(client: Any) -> None:
    assert (await client.get("/api/cameras/yard/ptz")).status == 409
    assert (await client.get("/api/cameras/ghost/ptz")).status == 404


@pytest.fixture
async def sio(client: Any) -> AsyncIterator[socketio.AsyncClient]:
    async with socketio.AsyncSimpleClient() as simple:
        await simple.connect(str(client.make_url("/")), transports=["websocket"])
        yield simple


async def test_a_socketio_client_that_goes_away_stops_what_it_moves(client: Any, camera: OnvifCamera, sio: Any) -> None:
    answer = await sio.call("ptz_request", {"camera_id": "door", "action": "move", "pan": 1.0, "timeout_s": 2.0})
    assert answer["camera_id"] == "door"
    refused = await sio.call("ptz_request", {"camera_id": "door", "action": "center"})
    assert refused["error"] == "bad_request"
    await sio.disconnect()
    await eventually(lambda: [name for name, _ in camera.moves] == ["ContinuousMove", "Stop"], "it was stopped")


async def test_a_client_that_goes_away_does_not_stop_what_another_moves(
    client: Any, camera: OnvifCamera, sio: Any
) -> None:
    await sio.call("ptz_request", {"camera_id": "door", "action": "move", "pan": 1.0, "timeout_s": 2.0})
    await move(client, action="move", tilt=1.0, timeout_s=1.0)
    await sio.disconnect()
    await eventually(lambda: [name for name, _ in camera.moves][-1] == "Stop", "the other one ends by its time")
    assert [name for name, _ in camera.moves] == ["ContinuousMove", "ContinuousMove", "Stop"]


async def test_ipycam_moves_and_stops(place: Path, ipycam: IPyCam, open_gateway: Callable[[], Any]) -> None:
    url = with_credentials(ipycam.url, Credentials(USER, PASSWORD))
    write(place, door={"start": "on-demand", "onvif_url": url, "onvif_events": False})
    client = await open_gateway()
    assert (await (await client.get(PATH)).json())["can_move"]
    assert await move(client, action="move", pan=0.5, timeout_s=0.3) == (204, "")
    assert await move(client, action="step", pan=0.1) == (204, "")
    assert await move(client, action="stop") == (204, "")
