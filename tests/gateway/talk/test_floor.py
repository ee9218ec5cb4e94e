"""Who may talk, and for how long, with a manual clock."""

import pytest

from gateway.talk.errors import TalkBusyError
from gateway.talk.floor import CONNECT_S, Floor

ANNA, BEN = object(), object()


def taken() -> Floor:
    floor = Floor("door")
    floor.take(ANNA, 0.0, silence_s=2.0, max_s=60.0)
    return floor


def test_the_second_one_is_refused_and_told() -> None:
    floor = taken()
    with pytest.raises(TalkBusyError, match="door") as refusal:
        floor.take(BEN, 1.0, silence_s=2.0, max_s=60.0)
    assert (refusal.value.status, refusal.value.code) == (409, "talk_busy")
    floor.end(BEN)
    assert floor.is_taken, "who has no floor gives none back"
    floor.end(ANNA)
    floor.take(BEN, 1.0, silence_s=2.0, max_s=60.0)


def test_one_who_does_not_come_keeps_nobody_out_for_long() -> None:
    floor = taken()
    assert floor.over(CONNECT_S) is None
    assert "nothing was heard" in str(floor.over(CONNECT_S + 0.1))


def test_silence_gives_the_floor_back() -> None:
    floor = taken()
    floor.heard(5.0)
    floor.heard(6.9)
    assert floor.over(8.8) is None
    assert "silent" in str(floor.over(9.0))


def test_nobody_talks_for_ever() -> None:
    floor = taken()
    for now in range(5, 66):
        floor.heard(float(now))
        assert floor.over(float(now)) is None, "the time counts from the first word"
    floor.heard(65.5)
    assert "longest" in str(floor.over(65.5))


def test_a_floor_that_is_free_is_never_over() -> None:
    floor = taken()
    floor.end(ANNA)
    assert floor.over(1e9) is None
