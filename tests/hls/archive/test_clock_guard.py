"""The clock guard: which readings of the clocks suspend the age rule, and what resumes it."""

from dataclasses import replace

import pytest

from gateway.clock import seconds_90k
from hls.archive.clock_guard import EARLIEST_90K, PLAUSIBLE_S, ClockFault, ClockGuard, ClockReading, ClockState
from tests.support.sources.packets import START_90K

DAY_S = 86_400.0


class Host:
    """A host, whose clocks the test sets, and the guard on it."""

    def __init__(self, wall_90k: int = START_90K, newest_90k: int | None = None) -> None:
        self.reading = ClockReading(wall_90k, 1000.0, "first boot")
        self.guard = ClockGuard(self.reading, None, newest_90k)

    def run(self, seconds: float, every_s: float = 5.0) -> None:
        for _ in range(max(1, round(seconds / every_s))):
            self.move(min(every_s, seconds))
            self.guard.observe(self.reading)

    def move(self, seconds: float) -> None:
        self.reading = replace(
            self.reading,
            wall_90k=self.reading.wall_90k + seconds_90k(seconds),
            boot_s=self.reading.boot_s + seconds,
        )

    def set_clock(self, seconds: float) -> None:
        self.reading = replace(self.reading, wall_90k=self.reading.wall_90k + seconds_90k(seconds))
        self.run(5)

    def restart(self, *, off_s: float = 10.0, set_s: float = 0.0, boots: bool = False) -> None:
        state = ClockState.model_validate_json(self.guard.state.model_dump_json())
        self.move(off_s)
        self.reading = replace(self.reading, wall_90k=self.reading.wall_90k + seconds_90k(set_s))
        if boots:
            self.reading = replace(self.reading, boot_id="another boot", boot_s=20.0)
        self.guard = ClockGuard(self.reading, state)

    @property
    def fault(self) -> ClockFault | None:
        return self.guard.suspension.fault if self.guard.suspension is not None else None


def test_an_ordinary_day_a_sleep_and_a_restart_are_trusted() -> None:
    host = Host()
    host.run(2 * DAY_S, 600)
    host.run(30 * DAY_S, 30 * DAY_S)  # a laptop that slept for a month: the boot clock went on
    host.restart(off_s=10 * DAY_S)
    host.restart(off_s=300, boots=True)
    assert host.fault is None
    assert host.guard.age_now_90k == host.reading.wall_90k


@pytest.mark.parametrize("step_s", [30 * DAY_S, 3600, 90, -90, -3600, -56 * 365 * DAY_S])
def test_a_jump_suspends_the_age_rule_over_restarts_and_boots(step_s: float) -> None:
    host = Host()
    host.run(60)
    host.set_clock(step_s)
    assert host.guard.age_now_90k is None
    for boots in (False, True):
        host.restart(boots=boots)
        host.run(3600)
        assert host.guard.age_now_90k is None


def test_a_clock_set_while_the_gateway_was_stopped_is_a_jump() -> None:
    host = Host()
    host.restart(set_s=30 * DAY_S)
    assert host.fault is ClockFault.JUMPED


def test_small_steps_add_up_and_delete_nothing_early() -> None:
    host = Host()
    for _ in range(6):
        host.set_clock(11)
        if host.fault is None:
            assert host.guard.age_now_90k is not None
            assert host.guard.age_now_90k < host.reading.wall_90k
    assert host.fault is ClockFault.JUMPED


def test_small_corrections_of_a_year_do_not_add_up() -> None:
    host = Host()
    for _ in range(365):
        host.run(DAY_S, 3600)
        host.set_clock(0.5)
    assert host.fault is None


def test_a_clock_that_stays_ahead_is_not_plausible_but_one_that_was_set_back_is_after_a_day() -> None:
    host = Host()
    host.set_clock(30 * DAY_S)
    host.run(3 * PLAUSIBLE_S, 600)
    host.restart(boots=True)
    host.run(3 * PLAUSIBLE_S, 600)
    assert host.fault is ClockFault.JUMPED
    host.set_clock(-30 * DAY_S)
    host.run(PLAUSIBLE_S - 600, 600)
    assert host.fault is ClockFault.JUMPED
    host.set_clock(-2)  # the day begins again
    host.run(PLAUSIBLE_S - 600, 600)
    assert host.fault is ClockFault.JUMPED
    host.run(600)
    assert host.fault is None
    assert host.guard.age_now_90k is not None


def test_a_clock_that_ntp_set_ahead_is_plausible_after_a_day() -> None:
    host = Host()
    host.set_clock(3600)
    host.reading = replace(host.reading, is_synchronized=True)
    host.run(PLAUSIBLE_S + 600, 600)
    assert host.fault is None


def test_an_operator_confirms() -> None:
    host = Host()
    host.set_clock(30 * DAY_S)
    host.guard.confirm(host.reading)
    assert host.guard.age_now_90k == host.reading.wall_90k
    host.restart()
    host.run(3600)
    assert host.fault is None


@pytest.mark.parametrize(
    ("gap_s", "fault"),
    [(60, None), (3000, None), (7200, ClockFault.LONG_ABSENCE), (-7200, ClockFault.BEHIND), (-20, None)],
)
def test_after_a_boot_the_last_run_is_compared(gap_s: float, fault: ClockFault | None) -> None:
    host = Host()
    host.restart(off_s=0, set_s=gap_s, boots=True)
    assert host.fault is fault
    host.run(PLAUSIBLE_S + 600, 600)
    assert host.fault is None


def test_a_long_absence_is_believed_where_ntp_set_the_clock() -> None:
    host = Host()
    host.restart(off_s=3 * DAY_S, boots=True)
    assert host.fault is ClockFault.LONG_ABSENCE
    host.reading = replace(host.reading, is_synchronized=True)
    host.run(5)
    assert host.fault is None


def test_without_a_state_the_newest_recording_is_compared() -> None:
    assert Host(newest_90k=START_90K - seconds_90k(600)).fault is None
    assert Host(newest_90k=START_90K - seconds_90k(30 * DAY_S)).fault is ClockFault.NO_STATE
    assert Host(newest_90k=START_90K + seconds_90k(3600)).fault is ClockFault.BEHIND


def test_a_first_start_in_1970_is_not_trusted_until_a_day_after_it_was_corrected() -> None:
    host = Host(wall_90k=seconds_90k(100))
    assert host.fault is ClockFault.IMPLAUSIBLE
    host.run(2 * PLAUSIBLE_S, 3600)
    assert host.fault is ClockFault.IMPLAUSIBLE
    host.reading = replace(host.reading, wall_90k=START_90K)
    host.run(PLAUSIBLE_S + 600, 600)
    assert host.fault is None
    assert EARLIEST_90K < START_90K


def test_a_first_start_in_2036_is_noticed_when_it_is_corrected() -> None:
    host = Host(wall_90k=START_90K + seconds_90k(10 * 365 * DAY_S))
    host.run(60)
    host.set_clock(-10 * 365 * DAY_S)
    assert host.fault is ClockFault.JUMPED


def test_numbers_never_go_back() -> None:
    host = Host()
    numbers = [host.guard.state.numbers_90k]
    for step_s, boots in ((3600, False), (-7200, False), (0, True), (-DAY_S, True)):
        host.set_clock(step_s)
        host.restart(boots=boots)
        host.run(60)
        numbers.append(host.guard.state.numbers_90k)
    assert numbers == sorted(set(numbers))
