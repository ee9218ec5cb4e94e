"""When the motion sensor of a camera is on."""

from dataclasses import replace

from gateway.clock import CLOCK_RATE
from gateway.event import ChangeKind, Event, EventChange
from web.mqtt.motion import NEWS_S, Motion

NOW_90K = 1_763_837_400 * CLOCK_RATE

OPEN = Event("a", "door", NOW_90K, None, "motion", "api")


def change(event: Event, kind: ChangeKind = ChangeKind.CREATED) -> EventChange:
    return EventChange(1, kind, event)


def test_it_is_on_while_an_event_is_open() -> None:
    motion = Motion(["motion", "person"])
    assert motion.note(change(OPEN), NOW_90K)
    assert motion.note(change(replace(OPEN, id="b", label="person")), NOW_90K)
    assert motion.is_on("door")
    assert not motion.is_on("yard")
    ended = replace(OPEN, end_90k=NOW_90K)
    assert not motion.note(change(ended, ChangeKind.UPDATED), NOW_90K)
    assert motion.is_on("door")
    motion.note(change(replace(OPEN, id="b", label="person"), ChangeKind.DELETED), NOW_90K)
    assert not motion.is_on("door")


def test_other_labels_are_no_motion_and_a_change_of_the_label_counts() -> None:
    motion = Motion(["motion"])
    assert not motion.note(change(replace(OPEN, label="ring")), NOW_90K)
    assert not motion.is_on("door")
    assert motion.note(change(OPEN, ChangeKind.UPDATED), NOW_90K)
    assert motion.is_on("door")
    motion.note(change(replace(OPEN, label="cat"), ChangeKind.UPDATED), NOW_90K)
    assert not motion.is_on("door")


def test_an_event_that_is_over_is_a_moment_unless_it_is_old() -> None:
    motion = Motion(["motion"])
    over = replace(OPEN, end_90k=NOW_90K)
    assert motion.note(change(over), NOW_90K + NEWS_S * CLOCK_RATE)
    assert not motion.note(change(over), NOW_90K + (NEWS_S + 1) * CLOCK_RATE)
    assert not motion.note(change(over, ChangeKind.DELETED), NOW_90K)
    assert not motion.is_on("door")


def test_a_restart_and_a_camera_that_was_removed() -> None:
    motion = Motion(["motion"])
    motion.restore(
        [OPEN, replace(OPEN, id="b", camera_id="yard", end_90k=NOW_90K), replace(OPEN, id="c", label="ring")]
    )
    assert motion.is_on("door")
    assert not motion.is_on("yard")
    motion.forget("door")
    assert not motion.is_on("door")
