"""ClockGuard: whether the wall clock may be used to delete recordings by their age. Sans-IO.

Theory of operation. A wall clock that is set ahead makes every recording look old. The boot clock of the kernel never
steps, and goes on while the host sleeps. So within one boot of the host it says what the wall clock should show,
exactly; NTP slews both alike. Over a boot, the time cannot have gone back, and should not be far beyond what it was
when the gateway stopped. Where the wall clock contradicts this, the age rule is suspended, also over restarts.

Rules:

1. The reference is a reading of both clocks that was trusted. While the wall clock differs from it by more than
   ``TOLERANCE_S``, in one step or several, the age rule is suspended. A reference lasts a day, so that the steps of
   a day add up and the corrections of a year do not.
2. After another boot, the wall clock must be between the last trusted time and ``DOWNTIME_MAX_S`` after it. A longer
   absence is believed where the kernel says that NTP has set the clock.
3. Without a state (the first start, or the first of this version) the newest recording is the last trusted time, and
   NTP is not asked: the host may be the one on which the gateway has just stopped. A time before ``EARLIEST_90K`` is
   never trusted.
4. It is resumed when an operator confirms the clock, or when the clock has been plausible for ``PLAUSIBLE_S``: it has
   not stepped, and is not ahead of the reference, unless NTP set it. A clock that is behind deletes nothing too early.
5. Where the clock may be used, the age rule still gets the earlier one of wall clock and reference
   (:attr:`ClockGuard.age_now_90k`): a step within the tolerance deletes nothing too early either.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from gateway.clock import CLOCK_RATE, seconds_90k, to_rfc3339, to_seconds

TOLERANCE_S = 60.0
"""A larger deviation is a jump. NTP corrects hosts that run by milliseconds."""

STEP_S = 1.0
"""A difference between two readings above this is a step; below, the clocks were not read at the same moment."""

DOWNTIME_MAX_S = 3600.0
"""For how long a host may be off without a doubt about its clock: a reboot with a check of its disks."""

PLAUSIBLE_S = 86_400.0

REFERENCE_S = 86_400.0

EARLIEST_90K = 1_767_225_600 * CLOCK_RATE
"""2026-01-01T00:00:00Z, before the first release. A host without a battery begins in 1970, or when its system was
made."""


class ClockFault(StrEnum):
    """What is wrong with the wall clock."""

    JUMPED = "jumped"
    BEHIND = "behind"
    LONG_ABSENCE = "long_absence"
    NO_STATE = "no_state"
    IMPLAUSIBLE = "implausible"


@dataclass(frozen=True, slots=True)
class ClockReading:
    """All clocks at one moment. ``boot_id`` names the boot of the host that ``boot_s`` counts from.

    ``is_synchronized``: the kernel says that NTP has set the wall clock.
    """

    wall_90k: int
    boot_s: float
    boot_id: str
    is_synchronized: bool = False


class ClockPoint(BaseModel):
    """A reading, as it is saved."""

    model_config = ConfigDict(frozen=True)

    wall_90k: int
    boot_s: float
    boot_id: str


class ClockSuspension(BaseModel):
    """Why and since when the age rule is suspended. ``plausible_s``: how long the clock has been plausible since."""

    model_config = ConfigDict(frozen=True)

    fault: ClockFault
    difference_s: float
    since_90k: int
    plausible_s: float = 0.0


class ClockState(BaseModel):
    """What is saved. ``is_exact``: the reference is of a boot in which the clock was trusted.

    ``numbers_90k`` never goes back: the latest wall clock ever seen, and what the boot clock added since.
    """

    model_config = ConfigDict(frozen=True)

    reference: ClockPoint
    last: ClockPoint
    is_exact: bool = True
    numbers_90k: int = 0
    suspension: ClockSuspension | None = None


class ClockGuard:
    """See the module. ``state`` is that of the last run, ``newest_90k`` the end of the newest recording."""

    def __init__(self, reading: ClockReading, state: ClockState | None = None, newest_90k: int | None = None) -> None:
        if state is None:
            self.state = _first_state(reading, newest_90k)
        elif state.last.boot_id != reading.boot_id or reading.boot_s < state.last.boot_s:
            self.state = _after_boot(reading, state)
        else:
            self.state = state
            self.observe(reading)

    @property
    def suspension(self) -> ClockSuspension | None:
        """``None`` while the age rule may be applied."""
        return self.state.suspension

    def observe(self, reading: ClockReading) -> None:
        """Take a later reading of the same boot."""
        state, last = self.state, self.state.last
        elapsed_s = max(0.0, reading.boot_s - last.boot_s)
        step_s = to_seconds(reading.wall_90k - last.wall_90k) - elapsed_s
        difference_s = to_seconds(reading.wall_90k - _expected_90k(state.reference, reading))
        reference, suspension, is_exact = state.reference, state.suspension, state.is_exact
        if suspension is None:
            if abs(difference_s) > TOLERANCE_S:
                suspension = _suspended(ClockFault.JUMPED, difference_s, reading)
            elif reading.boot_s - reference.boot_s > REFERENCE_S:
                reference = _point(reading)
        else:
            is_ahead = is_exact and difference_s > TOLERANCE_S and not reading.is_synchronized
            is_plausible = abs(step_s) <= STEP_S and reading.wall_90k >= EARLIEST_90K and not is_ahead
            plausible_s = suspension.plausible_s + elapsed_s if is_plausible else 0.0
            suspension = suspension.model_copy(update={"plausible_s": plausible_s})
            is_explained = suspension.fault is ClockFault.LONG_ABSENCE and reading.is_synchronized and is_plausible
            if plausible_s >= PLAUSIBLE_S or is_explained:
                reference, suspension, is_exact = _point(reading), None, True
        self.state = ClockState(
            reference=reference,
            last=_point(reading),
            is_exact=is_exact,
            numbers_90k=max(reading.wall_90k, state.numbers_90k + seconds_90k(elapsed_s)),
            suspension=suspension,
        )

    def confirm(self, reading: ClockReading) -> None:
        """An operator says that the wall clock is right."""
        self.observe(reading)
        self.state = self.state.model_copy(update={"reference": _point(reading), "is_exact": True, "suspension": None})

    @property
    def expected_90k(self) -> int:
        """What the wall clock should show, at the last reading."""
        return _expected_90k(self.state.reference, self.state.last)

    @property
    def age_now_90k(self) -> int | None:
        """The time for the age rule, at the last reading; ``None`` while it is suspended."""
        return None if self.state.suspension is not None else min(self.state.last.wall_90k, self.expected_90k)

    def describe(self) -> str | None:
        """The suspension in a sentence."""
        suspension = self.state.suspension
        if suspension is None:
            return None
        amount = _amount(abs(suspension.difference_s))
        direction = "ahead" if suspension.difference_s > 0 else "back"
        why = {
            ClockFault.JUMPED: f"the clock of the host was set {direction} by {amount}",
            ClockFault.BEHIND: f"the clock of the host is {amount} behind what it was before",
            ClockFault.LONG_ABSENCE: f"the clock of the host is {amount} after the last run of the gateway",
            ClockFault.NO_STATE: f"the clock of the host is {amount} after the newest recording",
            ClockFault.IMPLAUSIBLE: f"the clock of the host says {to_rfc3339(self.state.last.wall_90k)}",
        }[suspension.fault]
        return (
            f"{why}: no recording is deleted for its age until an administrator confirms the clock (liveedge"
            f" confirm-clock), or it has been plausible for {PLAUSIBLE_S / 3600:.0f} hours"
        )


def _first_state(reading: ClockReading, newest_90k: int | None) -> ClockState:
    gap_s = to_seconds(reading.wall_90k - newest_90k) if newest_90k is not None else 0.0
    fault = _fault(replace(reading, is_synchronized=False), gap_s)
    if fault is ClockFault.LONG_ABSENCE:
        fault = ClockFault.NO_STATE
    return ClockState(
        reference=_point(reading),
        last=_point(reading),
        is_exact=fault is None,
        numbers_90k=max(reading.wall_90k, newest_90k or 0),
        suspension=None if fault is None else _suspended(fault, gap_s, reading),
    )


def _after_boot(reading: ClockReading, state: ClockState) -> ClockState:
    trusted_90k = _expected_90k(state.reference, state.last) if state.is_exact else state.last.wall_90k
    gap_s = to_seconds(reading.wall_90k - trusted_90k)
    fault = _fault(reading, gap_s)
    reference, is_exact, suspension = _point(reading), fault is None, state.suspension
    if suspension is not None:
        suspension = suspension.model_copy(update={"plausible_s": 0.0})
        if state.is_exact and gap_s > DOWNTIME_MAX_S:
            # The clock was ahead before the boot, and still is.
            reference, is_exact = reference.model_copy(update={"wall_90k": trusted_90k}), True
    elif fault is not None:
        suspension = _suspended(fault, gap_s, reading)
    return ClockState(
        reference=reference,
        last=_point(reading),
        is_exact=is_exact,
        numbers_90k=max(reading.wall_90k, state.numbers_90k),
        suspension=suspension,
    )


def _fault(reading: ClockReading, gap_s: float) -> ClockFault | None:
    """Rules 2 and 3. ``gap_s``: the wall clock minus the last trusted time."""
    if reading.wall_90k < EARLIEST_90K:
        return ClockFault.IMPLAUSIBLE
    if gap_s < -TOLERANCE_S:
        return ClockFault.BEHIND
    if gap_s > DOWNTIME_MAX_S and not reading.is_synchronized:
        return ClockFault.LONG_ABSENCE
    return None


def _suspended(fault: ClockFault, difference_s: float, reading: ClockReading) -> ClockSuspension:
    return ClockSuspension(fault=fault, difference_s=difference_s, since_90k=reading.wall_90k)


def _point(reading: ClockReading) -> ClockPoint:
    return ClockPoint(wall_90k=reading.wall_90k, boot_s=reading.boot_s, boot_id=reading.boot_id)


def _expected_90k(reference: ClockPoint, now: ClockReading | ClockPoint) -> int:
    return reference.wall_90k + seconds_90k(now.boot_s - reference.boot_s)


def _amount(seconds: float) -> str:
    for unit, length_s in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} seconds"
