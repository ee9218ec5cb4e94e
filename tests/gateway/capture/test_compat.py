"""What the capture engines rely on in PyAV and OpenCV, and that importing liveedge changes nothing outside it.

A failure here means that a new version of a library works differently, and names how.
"""

import subprocess
import sys
import threading
import time
from itertools import count
from pathlib import Path

import av
import av.container.core
import pytest

from gateway.capture import compat
from gateway.errors import CaptureError
from tests.support.hostile import HostileServer, say_nothing

ROOT = Path(__file__).parents[3]

IMPORT_EVERYTHING = """
import av, av.container.core, cv2, importlib, logging, os, pkgutil, signal, sys, time, warnings
before = dict(os.environ), cv2.utils.logging.getLogLevel(), list(warnings.filters), logging.root.manager.disable
import gateway
for module in pkgutil.walk_packages(gateway.__path__, "gateway."):
    importlib.import_module(module.name)
after = dict(os.environ), cv2.utils.logging.getLogLevel(), list(warnings.filters), logging.root.manager.disable
assert before == after
assert av.container.core.time is time, "importing replaced PyAV's clock"
assert av.logging.get_level() is None, "PyAV no longer discards libav's log, which has URLs with passwords in it"
assert not logging.root.handlers
muted = [name for name, log in logging.root.manager.loggerDict.items() if getattr(log, "disabled", False)]
assert not muted, muted
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
print(sum(name.startswith("gateway.capture") for name in sys.modules))
"""


def test_importing_the_library_changes_nothing_outside_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15


@pytest.fixture
def restored_clock(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(av.container.core, "time", time)
    return monkeypatch


def test_pyav_reads_the_clock_in_its_module_on_the_thread_that_waits(restored_clock: pytest.MonkeyPatch) -> None:
    """``av.container.core.time.monotonic`` is called by the interrupt callback, and its deadline ends the wait."""
    threads: list[int] = []
    jumps = count(0, 10**9)

    def monotonic() -> float:
        threads.append(threading.get_ident())
        return float(next(jumps))

    compat.set_interrupt_clock(monotonic)
    with HostileServer(say_nothing) as server, pytest.raises(av.ExitError):
        av.open(server.url, timeout=60.0)
    assert set(threads) == {threading.get_ident()}


def test_a_pyav_without_that_clock_is_an_error_that_says_so(restored_clock: pytest.MonkeyPatch) -> None:
    restored_clock.delattr(av.container.core, "time")
    with pytest.raises(CaptureError, match=rf"PyAV {av.__version__} has no av\.container\.core\.time"):
        compat.set_interrupt_clock(time.monotonic)
