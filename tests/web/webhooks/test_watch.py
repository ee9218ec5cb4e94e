"""What is reported of cameras, problems and the disk, and when."""

from gateway.clock import CLOCK_RATE
from web.observability.health import Problem
from web.webhooks.watch import DISK_HOLD_S, HOLD_S, START_S, Report, Seen, Told, Watch

T0_90K = 1_763_837_400 * CLOCK_RATE

CAMERA = Problem(component="capture", code="camera_down", camera_id="door", message="the camera is failed: no route")
DISK = Problem(component="archive", code="retention_failed", camera_id=None, message="nothing may be deleted")


class Run:
    """A watch of one camera, and its clock."""

    def __init__(self, told: Told | None = None) -> None:
        self.watch = Watch(told or Told(), 0.0)
        self.now_s = 0.0

    def after(self, seconds: float, *problems: Problem, live: bool = False, low: bool | None = None) -> Report:
        self.now_s += seconds
        cameras = ("door",)
        seen = Seen(problems, cameras, cameras if live else (), low)
        return self.watch.update(self.now_s, T0_90K + round(self.now_s * CLOCK_RATE), seen)


def test_a_camera_goes_down_and_comes_back() -> None:
    run = Run()
    assert run.after(1).cameras == []
    assert run.after(1, live=True).cameras == [("door", True)]
    assert run.after(60, live=True).cameras == []
    assert run.after(1, CAMERA).cameras == []
    report = run.after(HOLD_S, CAMERA)
    assert report.cameras == [("door", False)]
    assert [(each.problem, each.ended) for each in report.problems] == [(CAMERA, None)]
    assert run.after(60, CAMERA) == Report()
    assert run.after(1, live=True).cameras == [("door", True)]
    ended = run.after(HOLD_S, live=True).problems
    assert [each.problem for each in ended] == [CAMERA]
    assert ended[0].begun == report.problems[0].begun
    assert ended[0].ended is not None
    assert ended[0].ended > ended[0].begun


def test_what_comes_and_goes_within_seconds_is_not_reported() -> None:
    run = Run()
    run.after(60, live=True)
    for _ in range(10):
        assert run.after(1, CAMERA) == Report()
        assert run.after(HOLD_S - 1, CAMERA) == Report()
        assert run.after(1, live=True) == Report()


def test_a_problem_that_flickers_does_not_end() -> None:
    run = Run()
    run.after(60, DISK)
    assert len(run.after(HOLD_S, DISK).problems) == 1
    for _ in range(10):
        assert run.after(HOLD_S - 1) == Report()
        assert run.after(1, DISK.model_copy(update={"message": "another reason"})) == Report()


def test_a_camera_that_was_stopped_is_neither_up_nor_down() -> None:
    run = Run()
    run.after(1, live=True)
    assert run.after(600) == Report()
    assert run.after(1, live=True) == Report()


def test_a_restart_reports_nothing_twice_and_the_end_of_what_has_begun() -> None:
    run = Run()
    run.after(1, live=True)
    run.after(1, DISK)
    run.after(HOLD_S, DISK)
    told = Told.model_validate_json(run.watch.told.model_dump_json())
    again = Run(told)
    assert again.after(1, DISK, live=True) == Report()
    again = Run(told)
    assert again.after(0.1) == Report()
    assert again.after(START_S - 1) == Report()  # cameras connect
    assert [each.ended is not None for each in again.after(2).problems] == [True]


def test_a_camera_that_was_removed_is_forgotten() -> None:
    run = Run()
    run.after(1, live=True)
    run.watch.update(2.0, T0_90K, Seen())
    assert run.watch.told.cameras == {}
    assert run.after(1, live=True).cameras == [("door", True)]


def test_the_disk() -> None:
    run = Run()
    assert run.after(1, low=True).is_disk_low is None
    assert run.after(DISK_HOLD_S - 1, low=True).is_disk_low is None
    assert run.after(1, low=None).is_disk_low is None  # not measured: no news
    assert run.after(1, low=True).is_disk_low is True
    assert run.after(60, low=True).is_disk_low is None
    assert run.after(1, low=False).is_disk_low is None
    assert run.after(DISK_HOLD_S, low=False).is_disk_low is False
