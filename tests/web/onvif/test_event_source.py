"""web.onvif.event_source in a whole gateway: what a camera detects is in the list of events."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.configured import write
from tests.support.eventually import eventually
from tests.support.onvif_camera import ENVELOPE, OnvifCamera, fault
from web.onvif.service import ONVIF

pytestmark = pytest.mark.integration

MOTION = ("tns1:RuleEngine/CellMotionDetector/Motion", "IsMotion")
LINE = ("tns1:RuleEngine/LineDetector/Crossed", "ObjectId")


@pytest.fixture
def camera() -> Iterator[OnvifCamera]:
    with OnvifCamera("admin", "s3cret") as camera:
        yield camera


@pytest.fixture
async def open_door(
    place: Path, camera: OnvifCamera, open_gateway: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Any]:
    """Opens a gateway with the camera ``door``, whose ONVIF is ``camera``."""
    monkeypatch.setattr("gateway.onvif.events.PULL_S", 1)
    userinfo = camera.url.replace("http://", "http://admin:s3cret@")
    write(place, door={"start": "on-demand", "onvif_url": userinfo})

    async def open_it() -> Any:
        client = await open_gateway()
        source = client.app[ONVIF].cameras.running["door"].source
        await eventually(lambda: source.is_listening, "the gateway listens to the camera")
        return client

    return open_it


async def events(client: Any) -> list[dict[str, Any]]:
    """Oldest first."""
    return list(reversed((await (await client.get("/api/cameras/door/events")).json())["events"]))


async def test_motion_is_an_event_with_begin_and_end_and_a_line_is_a_moment(
    camera: OnvifCamera, open_door: Callable[[], Any]
) -> None:
    client = await open_door()
    camera.notify(*MOTION, "true")

    async def first() -> Any:
        return await events(client)

    (motion,) = await eventually(first, "motion is an event")
    assert (motion["label"], motion["source"], motion["end"]) == ("motion", "onvif", None)
    assert motion["data"]["topic"] == "RuleEngine/CellMotionDetector/Motion"
    camera.notify(*MOTION, "false")
    camera.notify(*LINE, "7")

    async def ended() -> Any:
        found = await events(client)
        return found if len(found) == 2 and found[0]["end"] is not None else None

    _, line = await eventually(ended, "motion has ended")
    assert line["label"] == "line"
    assert line["start"] == line["end"]
    assert line["data"]["ObjectId"] == "7"
    assert camera.asked["CreatePullPointSubscription"] == 1


async def test_events_go_on_over_a_restart_and_end_if_nothing_is_detected_any_more(
    camera: OnvifCamera, open_door: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.onvif.event_source.LOST_S", 0.5)
    client = await open_door()
    for source in ("a", "b", "c"):
        camera.notify(*MOTION, "true", source=source)

    async def are_there() -> bool:
        return len(await events(client)) == 3

    await eventually(are_there, "three events")
    await client.close()
    assert camera.subscriptions == {}  # it has unsubscribed
    camera.initial = [
        camera.notify(*MOTION, value, source=name, kind="Initialized")
        for name, value in (("a", "true"), ("b", "false"))
    ]
    camera.messages.queue.clear()
    client = await open_door()

    async def one() -> bool:
        return [each["data"]["source"] for each in await events(client) if each["end"] is None] == ["a"]

    await eventually(one, "b has ended, and c, of which the camera knows no more")
    assert len(await events(client)) == 3


async def test_a_subscription_that_is_shorter_than_asked_is_renewed_in_time(
    camera: OnvifCamera, open_door: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    camera.subscription_s = 2.0
    await open_door()
    await eventually(lambda: camera.asked["Renew"] >= 2, "it is renewed")
    assert camera.asked["CreatePullPointSubscription"] == 1


async def test_the_end_of_a_state_counts_however_long_an_answer_is(
    camera: OnvifCamera, open_door: Callable[[], Any]
) -> None:
    client = await open_door()
    notices = [camera.notify(*LINE, "7", kind="Initialized") for _ in range(150)]
    begin, end = camera.notify(*MOTION, "true"), camera.notify(*MOTION, "false")
    camera.messages.queue.clear()
    camera.messages.put(begin + "".join(notices) + end)

    async def ended() -> bool:
        return [each["end"] is not None for each in await events(client)] == [True]

    await eventually(ended, "motion has ended")


async def test_a_subscription_that_the_camera_forgets_is_made_again(
    camera: OnvifCamera, open_door: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.onvif.event_source.RETRY_S", 0.05)
    client = await open_door()
    camera.subscriptions.clear()
    await eventually(lambda: camera.asked["CreatePullPointSubscription"] == 2, "it has subscribed again")
    camera.notify(*MOTION, "true")

    async def some() -> Any:
        return await events(client)

    await eventually(some, "events come")


async def test_a_camera_whose_clock_is_set_goes_on_telling(
    camera: OnvifCamera, open_door: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.onvif.event_source.RETRY_S", 0.05)
    client = await open_door()
    camera.clock_offset_s = 3600.0  # and it refuses what we send with its time of before
    await eventually(lambda: camera.asked["CreatePullPointSubscription"] == 2, "it has subscribed again")
    camera.notify(*MOTION, "true")

    async def some() -> Any:
        return await events(client)

    await eventually(some, "events come")


@pytest.mark.parametrize("refusal", ["ter:InvalidArgVal", "ter:NotAuthorized"])
async def test_a_camera_that_refuses_to_renew_goes_on_telling(
    camera: OnvifCamera, open_door: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    monkeypatch.setattr("web.onvif.event_source.SUBSCRIPTION_S", 0)
    camera.replies["Renew"] = ENVELOPE.format(fault(refusal, "no")).encode()
    client = await open_door()
    await eventually(lambda: camera.asked["Renew"] >= 2, "it was asked to renew")
    camera.notify(*MOTION, "true")

    async def some() -> Any:
        return await events(client)

    await eventually(some, "events come")
    assert camera.asked["CreatePullPointSubscription"] == 1


async def test_a_flood_of_events_is_bounded(
    camera: OnvifCamera, open_door: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.onvif.event_source.PER_MINUTE", 5)
    client = await open_door()
    for number in range(40):
        camera.notify(*LINE, str(number))
    source = client.app[ONVIF].cameras.running["door"].source
    await eventually(lambda: source.dropped > 0 and camera.messages.empty(), "some are dropped")

    async def count() -> int:
        return len(await events(client)) if source.dropped > 0 else 0

    async def are_kept() -> bool:
        return await count() >= 5

    await eventually(are_kept, "the others are kept")
    assert await count() <= 10  # a minute may have begun meanwhile
    assert "liveedge_onvif_events_dropped_total" in await (await client.get("/metrics")).text()


async def test_a_wrong_clock_and_a_refused_password_are_problems_of_the_camera(
    place: Path, camera: OnvifCamera, open_gateway: Callable[[], Any]
) -> None:
    camera.clock_offset_s = -90.0
    url = camera.url.replace("http://", "http://admin:wrong@")
    write(place, door={"start": "on-demand", "onvif_url": url})
    client = await open_gateway()

    async def problems() -> dict[str, str]:
        found = (await (await client.get("/api/status")).json())["problems"]
        return {each["code"]: each["message"] for each in found if each["component"] == "onvif"}

    async def refused() -> bool:
        return "onvif_away" in await problems()

    await eventually(refused, "the refusal is a problem")
    found = await problems()
    assert "correct user and password" in found["onvif_away"]
    assert "wrong" not in found["onvif_away"]
    right = camera.url.replace("http://", "http://admin:s3cret@")
    assert (await client.patch("/api/cameras/door", json={"onvif_url": right})).status == 200

    async def clock() -> bool:
        return set(await problems()) == {"camera_clock_off"}

    await eventually(clock, "the clock is a problem")
    # The answer of a busy camera takes a second or two.
    assert re.search(r"\b(8[5-9]|9[0-1]) s behind", (await problems())["camera_clock_off"])
    assert camera.refused == 1
