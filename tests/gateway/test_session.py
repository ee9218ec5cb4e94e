"""The capture state machine, with the time as an argument."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backoff import DELAY_MAX_S, STEADY_S
from gateway.session import (
    TRANSITIONS,
    CaptureSession,
    RetryPolicy,
    SessionEvent,
    SessionState,
)

URL = "rtsp://viewer:p@ss:word@192.0.2.7/stream"


def session(
    *, attempts: int = 3, delay_s: float = 2.0, persistent: bool = False, jitter: float = 1.0
) -> CaptureSession:
    return CaptureSession(URL, RetryPolicy(attempts, delay_s, persistent), jitter=lambda: jitter)


def attempt_and_lose(subject: CaptureSession, error: str = "no route") -> float:
    """Make the attempt that is due and let it fail; returns when it was made."""
    assert subject.attempt_at is not None
    now_s = subject.attempt_at
    subject.attempt()
    subject.lost(now_s, error)
    return now_s


def test_the_url_carries_no_credentials() -> None:
    assert session().rtsp_url == "rtsp://192.0.2.7/stream"


def test_a_start_makes_an_attempt_due_at_once() -> None:
    subject = session()
    assert not subject.is_active
    subject.start(10.0)
    assert subject.state is SessionState.CONNECTING
    assert subject.is_active
    assert subject.attempt_at == 10.0


def test_retries_follow_the_settings_and_then_the_session_has_failed() -> None:
    subject = session(attempts=3, delay_s=2.0)
    subject.start(10.0)
    made = [attempt_and_lose(subject) for _ in range(4)]
    assert made == [10.0, 12.0, 14.0, 16.0]
    assert subject.state is SessionState.FAILED
    assert not subject.is_active
    assert subject.error_message == "no route"
    assert subject.attempt_at is None


def test_it_is_down_from_the_start_or_the_loss_to_the_first_frame_or_a_stop() -> None:
    subject = session(attempts=3, delay_s=2.0)
    assert subject.down_since_s is None
    subject.start(10.0)
    subject.lost(12.0, "no route")
    assert subject.down_since_s == 10.0
    subject.first_frame(14.0)
    assert subject.down_since_s is None
    for now_s in (50.0, 60.0, 70.0, 80.0, 90.0):
        subject.lost(now_s, "no route")
    assert subject.state is SessionState.FAILED
    subject.start(95.0)
    assert subject.down_since_s == 50.0, "another attempt is the same outage"
    subject.stop()
    assert subject.down_since_s is None


def test_without_retries_it_fails_with_the_first_loss() -> None:
    subject = session(attempts=0)
    subject.start(0.0)
    attempt_and_lose(subject)
    assert subject.state is SessionState.FAILED


def test_a_persistent_session_continues_with_the_waits_of_the_back_off() -> None:
    subject = session(attempts=2, delay_s=2.0, persistent=True, jitter=1.0)
    subject.start(0.0)
    made = [attempt_and_lose(subject) for _ in range(12)]
    waits = [after - before for before, after in itertools.pairwise(made)]
    assert waits[:2] == [2.0, 2.0]
    assert waits[2:5] == [4.0, 8.0, 16.0]
    assert set(waits[5:]) == {DELAY_MAX_S}
    assert subject.state is SessionState.FAILED
    subject = session(attempts=0, delay_s=2.0, persistent=True, jitter=0.0)
    subject.start(0.0)
    attempt_and_lose(subject)
    assert subject.attempt_at == 2.0


def test_a_session_with_viewers_continues_until_they_have_left() -> None:
    subject = session(attempts=0, delay_s=2.0)
    subject.start(0.0)
    for now_s in (0.0, 10.0):
        subject.attempt()
        subject.lost(now_s, "no", is_watched=True)
        assert subject.state is SessionState.FAILED
        assert subject.attempt_at is not None
    subject.attempt()
    subject.lost(50.0, "no")
    assert subject.attempt_at is None


def test_a_camera_that_comes_back_after_a_failure_is_live_again() -> None:
    subject = session(attempts=0, persistent=True)
    subject.start(0.0)
    attempt_and_lose(subject)
    subject.attempt()
    subject.first_frame(50.0)
    assert subject.state is SessionState.LIVE
    assert subject.error_message is None


def test_after_a_steady_run_the_camera_is_tried_at_once_with_all_attempts() -> None:
    subject = session(attempts=1)
    subject.start(0.0)
    attempt_and_lose(subject)
    subject.attempt()
    subject.first_frame(3.0)
    subject.lost(3.0 + STEADY_S, "hung up")
    assert subject.state is SessionState.RETRYING
    assert subject.attempt_at == 3.0 + STEADY_S
    assert subject.reconnects == 1


def test_a_flapping_camera_uses_its_attempts_up() -> None:
    subject = session(attempts=3)
    subject.start(0.0)
    for _ in range(4):
        assert subject.state is not SessionState.FAILED
        now_s = subject.attempt_at or 0.0
        subject.attempt()
        subject.first_frame(now_s)
        subject.lost(now_s + 0.5, "hung up")
    assert subject.state is SessionState.FAILED


def test_a_start_after_a_failure_begins_anew() -> None:
    subject = session(attempts=0)
    subject.start(0.0)
    attempt_and_lose(subject)
    subject.start(9.0)
    assert subject.state is SessionState.CONNECTING
    assert subject.attempt_at == 9.0
    assert subject.error_message is None


def test_after_a_stop_a_late_loss_changes_nothing() -> None:
    subject = session()
    subject.start(0.0)
    subject.attempt()
    subject.first_frame(0.1)
    subject.stop()
    subject.lost(0.2, "interrupted")
    assert subject.state is SessionState.STOPPED
    assert subject.error_message is None
    assert subject.attempt_at is None


@pytest.mark.parametrize("state", SessionState)
def test_every_state_has_a_stop_and_a_way_out(state: SessionState) -> None:
    if state is not SessionState.STOPPED:
        assert TRANSITIONS[state, SessionEvent.STOP] is SessionState.STOPPED
    assert any(origin is state for origin, _ in TRANSITIONS)


@given(st.lists(st.sampled_from(["start", "attempt", "first_frame", "lost", "stop"]), max_size=60), st.booleans())
def test_the_session_stays_consistent_in_any_order_of_events(events: list[str], persistent: bool) -> None:
    subject = session(attempts=2, persistent=persistent)
    now_s = 0.0
    for event in events:
        now_s += 1.0
        match event:
            case "start":
                subject.start(now_s)
            case "attempt":
                subject.attempt()
            case "first_frame":
                subject.first_frame(now_s)
            case "lost":
                subject.lost(now_s, "lost")
            case "stop":
                subject.stop()
        if subject.state is SessionState.STOPPED:
            assert subject.attempt_at is None
        if subject.state is SessionState.LIVE:
            assert subject.error_message is None
        if subject.attempt_at is not None:
            assert subject.attempt_at - now_s <= DELAY_MAX_S


@pytest.mark.parametrize("persistent", [True, False])
def test_no_attempt_before_the_camera_may_be_tried_again(persistent: bool) -> None:
    subject = session(persistent=persistent)
    subject.start(0.0)
    subject.attempt()
    subject.lost(1.0, "wrong password", retry_after_s=180.0)
    assert subject.state is SessionState.RETRYING
    assert subject.attempt_at == pytest.approx(181.0)
    subject.start(2.0)
    assert subject.attempt_at == pytest.approx(181.0)
    subject.stop()
    subject.start(3.0)
    assert subject.attempt_at == pytest.approx(3.0)


def test_a_camera_that_was_steady_is_asked_again_when_it_said() -> None:
    subject = session()
    subject.start(0.0)
    subject.attempt()
    subject.first_frame(1.0)
    subject.lost(1.0 + STEADY_S, "busy", retry_after_s=30.0)
    assert subject.attempt_at == pytest.approx(31.0 + STEADY_S)


@pytest.mark.parametrize("stopped", [True, False])
def test_a_stream_that_is_only_waited_for_is_tried_when_an_attempt_is_due(stopped: bool) -> None:
    subject = session()
    subject.resume(0.0)
    assert subject.attempt_at == pytest.approx(0.0)
    subject.attempt()
    subject.lost(1.0, "wrong password", retry_after_s=180.0, is_final=True)
    assert subject.attempt_at is None
    if stopped:
        subject.stop()
    subject.resume(2.0)
    assert subject.attempt_at == pytest.approx(181.0)
    subject.resume(3.0)
    assert subject.attempt_at == pytest.approx(181.0)
    assert subject.state is (SessionState.CONNECTING if stopped else SessionState.FAILED)
    subject.stop()
    subject.resume(500.0)
    assert subject.attempt_at == pytest.approx(500.0)
    subject.stop()
    subject.reconfigure("rtsp://other/", subject.policy)
    subject.resume(4.0)
    assert subject.attempt_at == pytest.approx(4.0)


def test_who_asks_for_a_stream_has_it_tried_at_once_where_others_only_wait() -> None:
    subject = session()
    subject.start(0.0)
    subject.attempt()
    subject.lost(1.0, "wrong password", retry_after_s=180.0, is_final=True)
    subject.resume(2.0)
    subject.start(3.0)
    assert subject.attempt_at == pytest.approx(3.0)
