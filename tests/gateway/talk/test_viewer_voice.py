"""When a viewer that sends has the floor, with a manual clock and a camera that takes everything."""

from dataclasses import dataclass, field
from typing import cast

import pytest

from gateway.errors import CameraUnauthorizedError, CaptureError
from gateway.talk.camera_talk import CameraTalk
from gateway.talk.errors import TalkBusyError
from gateway.talk.turn import TalkCounters, Turn
from gateway.talk.viewer_voice import REST_S, RETRY_S, SILENCE_S, ViewerVoice
from tests.support.manual_clock import ManualClock

SOUND, SILENCE = b"\x12" * 160, b"\xff" * 160


@dataclass
class _Camera:
    id: str = "door"


@dataclass
class _Turn:
    """Counts what it is given; ``end`` tells its owner."""

    talk: "_Talk"
    taken: int = 0

    def take(self, payload: bytes, sequence: int, timestamp: int) -> None:
        self.taken += 1

    def end(self, reason: str) -> None:
        self.talk.end(reason)


@dataclass
class _Talk:
    """The floor of one camera. ``is_taken``: by another one."""

    camera: _Camera = field(default_factory=_Camera)
    counters: TalkCounters = field(default_factory=TalkCounters)
    is_taken: bool = False
    failure: CaptureError | None = None
    turns: list[_Turn] = field(default_factory=list)
    heard_count: int = 0

    def begin(self, who: str, offered: object, on_end: object, *, silence_s: float) -> Turn:
        if self.is_taken:
            self.counters.refused += 1
            raise TalkBusyError("somebody else talks")
        if self.failure is not None:
            raise self.failure
        self.on_end = on_end
        self.turns.append(_Turn(self))
        return cast("Turn", self.turns[-1])

    def heard(self, turn: object) -> None:
        self.heard_count += 1

    def end(self, reason: str) -> None:
        self.on_end(reason)  # type: ignore[operator]


class Viewer:
    """A viewer that sends a packet every 20 ms."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.talk = _Talk()
        self.talking: list[bool] = []
        self.sequence = 0
        self.voice = ViewerVoice("v", cast("CameraTalk", self.talk), "anna", "PCMU", self.clock, self.talking.append)

    def send(self, payload: bytes, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.voice.take(payload, self.sequence & 0xFFFF, self.sequence * 160)
            self.sequence += 1
            self.clock.now += 0.02


def test_the_first_sound_takes_the_floor_and_silence_does_not() -> None:
    viewer = Viewer()
    viewer.send(SILENCE, 5)
    assert not viewer.talk.turns
    viewer.send(SOUND, 0.1)
    viewer.send(SILENCE, 0.1)
    assert [turn.taken for turn in viewer.talk.turns] == [10], "a pause between two words is sent"
    assert viewer.talk.heard_count == 5, "and does not keep the floor"
    assert viewer.talking == [True]
    viewer.talk.end(f"silent for {SILENCE_S} s")
    assert viewer.talking == [True, False]


def test_what_is_sent_while_another_one_talks_is_one_refusal() -> None:
    viewer = Viewer()
    viewer.talk.is_taken = True
    viewer.send(SOUND, 1)
    assert (viewer.talk.counters.refused, viewer.talk.counters.packets_dropped) == (1, 50)
    viewer.clock.now += REST_S
    viewer.send(SOUND, 1)
    assert viewer.talk.counters.refused == 2
    viewer.talk.is_taken = False
    viewer.send(SOUND, 0.02)
    assert len(viewer.talk.turns) == 1, "it is heard as soon as the floor is free"


@pytest.mark.parametrize("rests", [True, False])
def test_one_that_was_ended_rests_before_it_is_heard_again(rests: bool) -> None:
    viewer = Viewer()
    viewer.send(SOUND, 1)
    viewer.talk.end("the longest time of one talker is over")
    viewer.send(SOUND, RETRY_S / 2)
    assert len(viewer.talk.turns) == 1
    viewer.send(SILENCE if rests else SOUND, REST_S)
    viewer.send(SOUND, 0.1)
    assert len(viewer.talk.turns) == (2 if rests else 1)
    viewer.send(SOUND, RETRY_S)
    assert len(viewer.talk.turns) == 2, "a camera that had failed may be there again"


def test_a_camera_that_refuses_the_password_costs_the_viewer_nothing_and_is_tried_again() -> None:
    viewer = Viewer()
    viewer.talk.failure = CameraUnauthorizedError("the camera refuses the password")
    viewer.send(SOUND, 1)
    assert (viewer.talk.counters.packets_dropped, viewer.talking) == (50, [])
    viewer.talk.failure = None
    viewer.send(SOUND, RETRY_S)
    assert (len(viewer.talk.turns), viewer.talking) == (1, [True])


def test_one_that_may_not_talk_any_more_is_not_heard() -> None:
    viewer = Viewer()
    ended: list[str] = []
    viewer.voice.close_callbacks.append(lambda: ended.append("closed"))
    viewer.send(SOUND, 0.1)
    viewer.voice.close_soon("not allowed")
    viewer.voice.close_soon("not allowed")
    viewer.send(SOUND, 0.1)
    assert (len(viewer.talk.turns), viewer.talk.turns[0].taken, ended) == (1, 5, ["closed"])
