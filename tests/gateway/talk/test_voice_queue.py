"""The order, pace and bound of what waits for the camera, with a manual clock."""

import pytest

from gateway.talk.sound import Voice
from gateway.talk.voice_queue import QUEUE_MAX_S, SPEED, VoiceQueue

RATE = 8000
TICKS = 160
FRAME_S = TICKS / RATE


def voice(number: int) -> Voice:
    return Voice(number * TICKS, TICKS, bytes([number]))


def test_voice_that_comes_in_time_is_sent_at_once() -> None:
    queue = VoiceQueue(RATE)
    for number in range(10):
        queue.push(voice(number))
        assert queue.pop(number * FRAME_S) == voice(number)
        assert queue.due_at is None
    assert queue.pop(1.0) is None


def test_what_comes_at_once_is_sent_a_little_faster_than_real_time() -> None:
    queue = VoiceQueue(RATE)
    for number in range(10):
        queue.push(voice(number))
    sent, now = [], 5.0
    while queue.due_at is not None:
        now = max(now, queue.due_at)
        while (found := queue.pop(now)) is not None:
            sent.append((now, found))
    assert [found for _, found in sent] == [voice(number) for number in range(10)]
    assert sent[-1][0] - sent[0][0] == pytest.approx(9 * FRAME_S / SPEED)


def test_the_oldest_gives_way() -> None:
    queue = VoiceQueue(RATE)
    for number in range(100):
        queue.push(voice(number))
    kept = round(QUEUE_MAX_S / FRAME_S)
    assert (len(queue), queue.dropped) == (kept, 100 - kept)
    assert queue.pop(0.0) == voice(100 - kept)


def test_a_frame_that_is_longer_than_the_queue_is_sent_nevertheless() -> None:
    queue = VoiceQueue(RATE)
    long = Voice(0, RATE, b"long")
    queue.push(long)
    assert queue.pop(0.0) == long
