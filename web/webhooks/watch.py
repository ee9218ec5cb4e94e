"""Watch: which cameras are up, which problems there are and whether the disk is low, as messages. Sans-IO.

Rules:

1. A problem has begun when it has been there for :data:`HOLD_S`, and has ended when it was absent for as long: what
   comes and goes within seconds is not reported. The disk has :data:`DISK_HOLD_S`, since retention frees space within
   seconds.
2. A camera is down when it has had the problem :data:`~web.observability.health.CAMERA_DOWN` for :data:`HOLD_S`. It is
   up with its first frame. A camera that was stopped by an order is neither.
3. What was reported is kept over restarts (:attr:`Watch.told`), so that each beginning has its end. Nothing ends within
   :data:`START_S` of the start, while cameras connect.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from gateway.clock import to_rfc3339
from web.api.webhook_messages import ProblemData
from web.observability.health import CAMERA_DOWN, Problem

HOLD_S = 5.0
DISK_HOLD_S = 30.0
START_S = 30.0

DISK = "disk"


class Told(BaseModel):
    """What was reported: problems and when they began, cameras and whether they are up, and whether the disk is low."""

    model_config = ConfigDict(validate_assignment=True)

    problems: dict[str, ProblemData] = Field(default_factory=dict)
    cameras: dict[str, bool] = Field(default_factory=dict)
    is_disk_low: bool = False


@dataclass(frozen=True)
class Seen:
    """The gateway at a moment. ``is_disk_low`` is ``None`` where the disk was not measured."""

    problems: Collection[Problem] = ()
    cameras: Collection[str] = ()
    live: Collection[str] = ()
    is_disk_low: bool | None = None


@dataclass
class Report:
    """What changed, in order."""

    cameras: list[tuple[str, bool]] = field(default_factory=list)
    """Camera and whether it is up."""
    problems: list[ProblemData] = field(default_factory=list)
    is_disk_low: bool | None = None


class Watch:
    """See the module. ``now_s`` is monotonic."""

    def __init__(self, told: Told, now_s: float) -> None:
        self.told = told
        self._ends_from_s = now_s + START_S
        self._since_s: dict[str, float] = {}
        """Since when something differs from what was reported."""

    def update(self, now_s: float, wall_90k: int, seen: Seen) -> Report:
        """Compare what is seen with what was reported."""
        report = Report()
        problems = {f"{each.component}/{each.code}/{each.camera_id or ''}": each for each in seen.problems}
        self._cameras(now_s, seen, problems, report)
        self._problems(now_s, wall_90k, problems, report)
        if seen.is_disk_low is not None and self._is_due(
            DISK, seen.is_disk_low != self.told.is_disk_low, now_s, DISK_HOLD_S
        ):
            del self._since_s[DISK]
            self.told.is_disk_low = report.is_disk_low = seen.is_disk_low
        return report

    def _cameras(self, now_s: float, seen: Seen, problems: Mapping[str, Problem], report: Report) -> None:
        told = self.told.cameras
        for camera_id in [each for each in told if each not in seen.cameras]:
            del told[camera_id]
            self._since_s.pop(f"camera/{camera_id}", None)
        for camera_id in seen.cameras:
            is_down = f"capture/{CAMERA_DOWN}/{camera_id}" in problems
            differs = is_down and told.get(camera_id) is not False
            if self._is_due(f"camera/{camera_id}", differs, now_s, HOLD_S):
                del self._since_s[f"camera/{camera_id}"]
                told[camera_id] = False
                report.cameras.append((camera_id, False))
            elif camera_id in seen.live and told.get(camera_id) is not True:
                told[camera_id] = True
                report.cameras.append((camera_id, True))

    def _problems(self, now_s: float, wall_90k: int, problems: Mapping[str, Problem], report: Report) -> None:
        told = self.told.problems
        for key in [*problems, *(each for each in told if each not in problems)]:
            is_ending = key in told
            differs = (key in problems) is not is_ending
            if not self._is_due(f"problem/{key}", differs, now_s, HOLD_S):
                continue
            if not is_ending:
                since_90k = wall_90k - round(HOLD_S * 90_000)
                del self._since_s[f"problem/{key}"]
                told[key] = ProblemData(problem=problems[key], begun=to_rfc3339(since_90k))
                report.problems.append(told[key])
            elif now_s >= self._ends_from_s:
                del self._since_s[f"problem/{key}"]
                report.problems.append(told.pop(key).model_copy(update={"ended": to_rfc3339(wall_90k)}))
        keys = {f"problem/{key}" for key in (*problems, *told)}
        for key in [each for each in self._since_s if each.startswith("problem/") and each not in keys]:
            del self._since_s[key]

    def _is_due(self, key: str, differs: bool, now_s: float, hold_s: float) -> bool:
        """Whether something has differed for so long."""
        if not differs:
            self._since_s.pop(key, None)
            return False
        return now_s - self._since_s.setdefault(key, now_s) >= hold_s
