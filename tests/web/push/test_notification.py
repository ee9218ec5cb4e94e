"""What is notified, when, and in which words."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import web
from web.api import models
from web.api.push_models import PushChoice, QuietHours
from web.api.webhook_messages import CameraData, CameraState, EventData, Message, ProblemData, message
from web.observability.health import CAMERA_DOWN, Problem
from web.push.notification import is_quiet, notification, topic_of, wants
from web.push.problem_texts import KOREAN

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
AT = "2026-07-01T11:59:58.000Z"


def event(label: str = "person", camera_id: str = "door") -> Message:
    fields: dict[str, Any] = {
        "id": "01234567-89ab-4def-8123-456789abcdef",
        "camera_id": camera_id,
        "start": "2026-07-01T11:59:50.000Z",
        "label": label,
        "source": "test",
        "clip": "",
        "thumbnail": "",
    }
    return message("event.created", AT, EventData(event=models.Event.model_construct(**fields)))


def camera(kind: str, camera_id: str = "door") -> Message:
    return message(kind, AT, CameraData(camera=CameraState.model_construct(camera_id=camera_id)))


def problem(code: str, camera_id: str | None = None) -> Message:
    found = Problem(component="archive", code=code, camera_id=camera_id, message="the disk is slow")
    return message("problem.begun", AT, ProblemData(problem=found, begun=AT))


def choice(**values: Any) -> PushChoice:
    kinds = ["event.created", "camera.down", "camera.up", "problem.begun"]
    return PushChoice.model_validate({"name": "phone", "kinds": kinds} | values)


@pytest.mark.parametrize(
    ("chosen", "about", "expected"),
    [
        ({}, event(), True),
        ({"kinds": ["camera.down"]}, event(), False),
        ({"cameras": ["yard"]}, event(), False),
        ({"cameras": ["yard"]}, event(camera_id="yard"), True),
        ({"cameras": ["yard"]}, problem("index_failed"), True),
        ({"labels": ["PERSON", "ring"]}, event(), True),
        ({"labels": ["ring"]}, event(), False),
        ({"labels": ["ring"]}, camera("camera.down"), True),
        ({}, problem("index_failed"), True),
        # camera.down says so already.
        ({}, problem(CAMERA_DOWN, "door"), False),
        ({"quiet_hours": {"start": "11:00", "end": "13:00", "time_zone": "UTC"}}, event(), False),
    ],
)
def test_who_wants_what(chosen: dict[str, Any], about: Message, expected: bool) -> None:
    assert wants(choice(**chosen), about, NOW) is expected


@pytest.mark.parametrize(
    ("start", "end", "zone", "quiet"),
    [
        ("22:00", "07:00", "UTC", False),
        ("22:00", "12:01", "UTC", True),
        ("12:00", "12:01", "UTC", True),  # the start is in it, and the end is not
        ("11:00", "12:00", "UTC", False),
        ("21:00", "22:00", "Asia/Seoul", True),  # UTC+9
        ("14:00", "15:00", "Europe/Berlin", True),  # UTC+2 in summer
        ("13:00", "14:00", "Europe/Berlin", False),
    ],
)
def test_quiet_hours_are_those_of_the_subscriber(start: str, end: str, zone: str, quiet: bool) -> None:
    assert is_quiet(QuietHours(start=start, end=end, time_zone=zone), NOW) is quiet


@pytest.mark.parametrize(
    "hours",
    [
        {"start": "22:00", "end": "22:00", "time_zone": "UTC"},
        {"start": "24:00", "end": "07:00", "time_zone": "UTC"},
        {"start": "22:00", "end": "07:00", "time_zone": "../../etc/passwd"},
        {"start": "22:00", "end": "07:00", "time_zone": "Mars/Olympus"},
    ],
)
def test_quiet_hours_that_are_none_are_refused(hours: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        QuietHours.model_validate(hours)


def test_a_notification_opens_the_moment_in_the_language_of_the_subscriber() -> None:
    said = notification(event(), "ko", {"door": "정문"})
    assert (said.title, said.body) == ("정문", "이벤트: person")
    assert said.url == "#/camera/door?t=2026-07-01T11:59:50.000Z"
    assert said.timestamp_ms == 1_782_907_190_000
    assert notification(event("Motion", "yard"), "en", {}).title == "yard"
    assert notification(event("Motion"), "ko", {}).body == "움직임 감지"
    assert notification(problem("index_failed"), "en", {}).body == "Problem: the disk is slow"
    assert notification(problem("index_failed"), "ko", {}).body == f"문제 발생: {KOREAN['index_failed']}"
    assert notification(problem("of_tomorrow"), "ko", {}).body == "문제 발생: the disk is slow"


def test_every_problem_has_a_korean_text() -> None:
    written = (path.read_text() for path in Path(web.__file__).parent.rglob("*.py"))
    codes = {code for text in written for code in re.findall(r'yield \("[a-z]+", "([a-z_]+)", ', text)}
    assert {"index_failed", "walls_unreadable", "webhook_failing"} <= codes
    assert codes <= KOREAN.keys()


def test_the_later_message_about_one_thing_replaces_the_earlier_one() -> None:
    tags = [
        notification(each, "en", {}).tag
        for each in (camera("camera.down"), camera("camera.up"), camera("camera.down", "yard"), event(), event("ring"))
    ]
    assert tags[0] == tags[1]
    assert len(set(tags)) == 4
    assert all(len(topic_of(tag)) == 32 for tag in tags)  # RFC 8030 §5.4: at most 32


def test_the_longest_notification_fits_into_a_message() -> None:
    found = Problem(component="archive", code="x", camera_id=None, message="한" * 5000)
    said = notification(message("problem.begun", AT, ProblemData(problem=found, begun=AT)), "ko", {})
    assert len(said.payload) < 3993
