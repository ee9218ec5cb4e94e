"""Sightings: when events of a detector begin and end."""

import pytest

from gateway.clock import CLOCK_RATE
from gateway.detect.detector import Detection
from hls.events.sightings import HOLD_90K, LABELS_MAX, Sightings

S = CLOCK_RATE


def add(sightings: Sightings, second: float, **scores: float) -> tuple[list[str], list[str]]:
    changes = sightings.add(round(second * S), [Detection(label, score) for label, score in scores.items()])
    return [each.label for each in changes.begun], [each.label for each in changes.ended]


def test_a_sure_detection_begins_at_once_and_a_faint_one_with_the_second() -> None:
    sightings = Sightings()
    assert add(sightings, 0, person=0.9, cat=0.3) == (["person"], [])
    assert add(sightings, 2, cat=0.2) == (["cat"], [])
    [cat] = [each for each in sightings.end() if each.label == "cat"]
    assert (cat.first_90k, cat.last_90k, cat.best.score) == (0, 2 * S, 0.3)


def test_a_faint_one_alone_is_no_event() -> None:
    sightings = Sightings()
    assert add(sightings, 0, cat=0.3) == ([], [])
    assert add(sightings, 2) == ([], [])
    assert add(sightings, 4, cat=0.3) == ([], [])
    assert sightings.end() == []


@pytest.mark.parametrize("interval_s", [1, 2, 8])
def test_an_event_goes_on_over_pictures_without_it(interval_s: int) -> None:
    sightings = Sightings()
    add(sightings, 0, person=0.6)
    assert add(sightings, interval_s) == ([], [])
    assert add(sightings, 2 * interval_s, person=0.1) == ([], [])
    hold_s = max(HOLD_90K / S, 2.5 * interval_s)
    last_s = 2 * interval_s
    assert sightings.expire(round((last_s + hold_s) * S)) == []
    [over] = sightings.expire(round((last_s + hold_s + 0.1) * S))
    assert over.last_90k == last_s * S


def test_the_best_of_a_picture_and_of_an_event_counts_and_labels_are_limited() -> None:
    sightings = Sightings()
    both = [Detection("car", 0.6, {"box": [1]}), Detection("car", 0.9, {"box": [2]}), Detection("car", 0.7)]
    [car] = sightings.add(0, both).begun
    assert (car.best.score, car.best.data) == (0.9, {"box": [2]})
    many = [Detection(f"label {number}", 1.0) for number in range(2 * LABELS_MAX)]
    assert len(sightings.add(S, many).begun) == LABELS_MAX - 1


def test_a_clock_that_is_set_back_ends_what_is_open() -> None:
    sightings = Sightings()
    add(sightings, 1000, person=0.6)
    assert add(sightings, 10, person=0.6) == ([], ["person"]) or len(sightings.expire(10 * S)) == 1
