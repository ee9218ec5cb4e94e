"""What the whole suite shares: tiers, the rule for skipped tests, and fixtures for real cameras and free ports.

Each test belongs to one tier, and has its name as a marker. ``make test-unit`` runs ``-m unit``, and so on.

==============  ================================================================================================
``unit``        needs only Python. All tests outside the three folders below, but for those of ``integration``
``integration`` needs a real camera, server or tool, or takes many seconds: everything in ``tests/integration``, tests
                with a fixture of ``OUTSIDE``, and tests or modules that are marked so
``browser``     everything in ``tests/browser``
``faults``      everything in ``tests/faults``
==============  ================================================================================================

Rules:

1. A unit test that starts a program other than Python fails, and says so: the tier holds on a machine without them.
2. In CI (``CI=true``) a test that is skipped or expected to fail is a failure: CI shows what works.
3. What a test leaves open fails that test: files, sockets, transports, and every exception in a ``__del__``.
   pytest reports them when the garbage collector finds them, so it runs after each test. It looks only at what is new
   since the test began, or at everything when a fixture of several tests has ended.
4. A test with real parts that fails is run a second time, and the summary names it (``RERUN``): browsers and cameras of
   others fail now and then on a busy machine. A unit test is not. Gateways that the first try ended and other tests
   need are started again before.
5. An error that asyncio only logs fails the test, too: an exception in a callback of the event loop, and one in a task
   that nobody awaits.
"""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings

from tests.support import rtsp
from tests.support.gateway_process import GatewayProcess
from tests.support.order import mixed
from tests.support.postgres import postgres
from tests.support.rtsp import RtspServer
from tests.support.s3_server import KINDS, S3Server, s3_server

TESTS = Path(__file__).parent

# No test asserts a time: an example of Hypothesis may take as long as a busy machine needs.
settings.register_profile("liveedge", deadline=None)
settings.load_profile("liveedge")

GatewayProcess.may_fork = True

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

TIERS = ("unit", "integration", "browser", "faults")

OUTSIDE = {"rtsp_server", "own_rtsp_server", "s3", "own_s3"}
"""Fixtures that start a program that is not Python."""


# --- tiers and order


def pytest_configure(config: pytest.Config) -> None:
    """Keep pytest-xdist from sorting the files by their numbers of tests; see :mod:`tests.support.order`."""
    config.option.loadscopereorder = False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tier, before ``-m`` selects by it, and those with real parts for a second try.

    Then sort the files, with :func:`tests.support.order.mixed`.
    """
    for item in items:
        if not any(item.get_closest_marker(tier) for tier in TIERS):
            item.add_marker(tier_of(item.path, set(getattr(item, "fixturenames", ()))))
        if not item.get_closest_marker("unit"):
            item.add_marker(pytest.mark.flaky(reruns=1))
    by_file: dict[str, list[pytest.Item]] = {}
    for item in items:
        path = item.path.relative_to(TESTS) if item.path.is_relative_to(TESTS) else item.path
        by_file.setdefault(path.as_posix(), []).append(item)
    order = mixed({path: [tier_marked(item) for item in of_file] for path, of_file in by_file.items()})
    items[:] = [item for path in order for item in by_file[path]]


def tier_marked(item: pytest.Item) -> str:
    """The tier whose marker a test has."""
    return next(tier for tier in TIERS if item.get_closest_marker(tier))


def tier_of(path: Path, fixtures: set[str]) -> str:
    """The tier of a test that has no marker of its own."""
    folder = path.relative_to(TESTS).parts[0]
    if folder in TIERS:
        return folder
    return "integration" if OUTSIDE & fixtures else "unit"


running_unit_test: str | None = None
"""The unit test that runs at present in this process."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Note whether a unit test runs; see :func:`refuse_programs`."""
    global running_unit_test
    running_unit_test = item.nodeid if item.get_closest_marker("unit") else None
    try:
        return (yield)
    finally:
        running_unit_test = None


def refuse_programs(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook of Python: fail a unit test that starts anything but Python."""
    if event == "subprocess.Popen" and running_unit_test is not None:
        program = Path(os.fsdecode(arguments[0] or arguments[1][0]))
        if program != Path(sys.executable):
            raise RuntimeError(f"a unit test starts {program}: mark {running_unit_test} with pytest.mark.integration")


sys.addaudithook(refuse_programs)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give the second try of a test the gateways that the first one stopped."""
    if getattr(item, "execution_count", 1) > 1:  # of pytest-rerunfailures
        GatewayProcess.start_ended()


# --- skipped tests


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a skipped test in CI."""
    return fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a skipped module in CI."""
    return fail_if_skipped((yield))


def fail_if_skipped(report: Report) -> Report:
    """Turn the report of a skipped test into that of a failed one, in CI."""
    if report.outcome == "skipped" and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where every test has to run: {report.longrepr}"
    return report


# --- what tests leave open


def pytest_fixture_post_finalizer(fixturedef: pytest.FixtureDef[object]) -> None:
    """Give what was frozen while a fixture of several tests lived back to the garbage collector."""
    if fixturedef.scope != "function" and fixturedef.cached_result is not None:
        gc.unfreeze()


class AsyncioErrors(logging.Handler):
    """Collects what asyncio reports only in its log: errors in callbacks, and in tasks that nobody awaits."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's message and traceback."""
        error = record.exc_info[1] if record.exc_info else None
        # Python 3.11 asks the cancelled task of a stream server's connection for its exception (asyncio.streams; not in
        # 3.12). Nothing else logs a CancelledError from there.
        if isinstance(error, asyncio.CancelledError) and "StreamReaderProtocol.connection_made" in record.getMessage():
            return
        self.messages.append(self.format(record))


@pytest.fixture(autouse=True)
def check_what_is_left() -> Iterator[None]:
    """Find what a test left open while it is still that test: this fixture is the first one, and so ends last.

    What the tests before it left alive is frozen first: a run of the collector then takes a millisecond, not 30 to 100.
    """
    gc.collect()
    gc.freeze()
    errors = AsyncioErrors()
    logger = logging.getLogger("asyncio")
    logger.addHandler(errors)
    yield
    gc.collect()
    logger.removeHandler(errors)
    assert not errors.messages, "asyncio logged errors:\n" + "\n".join(errors.messages)


# --- fixtures


@pytest.fixture(scope="session")
def rtsp_server() -> Iterator[RtspServer]:
    """A camera that all tests share: leave it running."""
    with RtspServer() as server:
        yield server


@pytest.fixture
def own_rtsp_server() -> Iterator[RtspServer]:
    """A camera for one test, which may kill, freeze and restart it."""
    with RtspServer() as server:
        yield server


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens."""
    return rtsp.free_port()


@pytest.fixture
def gateways(tmp_path: Path) -> Iterator[Callable[..., GatewayProcess]]:
    """Make and start gateways in the test's folder; end them after the test."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(GatewayProcess(tmp_path, **settings))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The ``DATABASE_URL`` of a PostgreSQL server that all tests share: leave its database empty."""
    with postgres() as url:
        yield url


@pytest.fixture(scope="session", params=KINDS)
def s3(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    """Two S3 servers that all tests share: use a prefix of your own."""
    with s3_server(request.param) as server:
        yield server


@pytest.fixture
def own_s3() -> Iterator[S3Server]:
    """An S3 server for one test, which may freeze it."""
    with s3_server("gofakes3") as server:
        yield server
