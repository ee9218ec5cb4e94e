"""Start gateways from a process that has imported them already: a fork instead of 1.3 s of CPU time for imports.

The process that is forked has one thread, no event loop and no settings. Its child gets its own environment, folder and
output, and runs ``liveedge serve`` from its command line on, with the start-up checks, signals and exit code of the
command. Each worker of pytest has one such parent, which ends with it.

Rules:

1. A setting that must be there before Python starts, or a prefix of the command, needs a process of its own: see
   :func:`can_fork`.
2. An ended gateway stays a zombie until :meth:`ForkedProcess.poll` asks for it, so that no signal hits another process.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

BEFORE_PYTHON = ("PYTHON", "LD_", "MALLOC_", "GLIBC_", "LIVEEDGE_COMPILED", "OPENSSL_", "SSL_")

POLL_S = 0.01

MAX_MESSAGE = 1 << 20


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether a process that has imported the gateway already may take this environment."""
    return not any(name.startswith(BEFORE_PYTHON) for name in environment)


class ForkedProcess:
    """What ``subprocess.Popen`` is for a process that it started itself. ``stdout`` is a pipe."""

    def __init__(self, folder: Path, environment: Mapping[str, str], log: IO[str]) -> None:
        ours, theirs = os.pipe()
        self.stdout = os.fdopen(ours)
        self.returncode: int | None = None
        self._parent = parent()
        try:
            request = {"folder": str(folder), "environment": dict(environment)}
            self.pid: int = self._parent.ask(request, (theirs, log.fileno()))
        except BaseException:
            self.stdout.close()
            raise
        finally:
            os.close(theirs)

    def poll(self) -> int | None:
        """The exit code, or None while it runs. It is negative after a signal."""
        if self.returncode is None:
            self.returncode = self._parent.ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises ``subprocess.TimeoutExpired``."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("liveedge serve", timeout or 0.0)
            time.sleep(POLL_S)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Parent:
    """The process that gateways are forked from. Threads may use it at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.gateway_forks", str(theirs.fileno())],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={name: value for name, value in os.environ.items() if can_fork({name: value})}
                # OpenBLAS, which NumPy has, starts no threads then.
                | {"OPENBLAS_NUM_THREADS": "1"},
            )

    def close(self) -> None:
        """End it. Gateways that still run go on."""
        self._socket.close()
        self._process.wait()

    def ask(self, request: object, files: tuple[int, ...] = ()) -> Any:
        """Send a request and files; return the answer."""
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(request).encode()], files)
            answer = self._socket.recv(MAX_MESSAGE)
        if not answer:
            raise RuntimeError("the process that gateways are forked from has ended")
        return json.loads(answer)


@functools.cache
def parent() -> Parent:
    """The one of this process."""
    started = Parent()
    atexit.register(started.close)
    return started


# --- in the process that is forked


def _serve_requests(requests: socket.socket) -> int:
    """Fork and report ends until pytest ends."""
    while True:
        message, files, _, _ = socket.recv_fds(requests, MAX_MESSAGE, 2)
        if not message:
            return 0
        request = json.loads(message)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                requests.close()
                _run(request, files)
            for file in files:
                os.close(file)
        requests.send(json.dumps(answer).encode())


def _run(request: dict[str, Any], files: list[int]) -> NoReturn:
    from web.cli import main

    for target, file in zip((1, 2), files, strict=True):
        os.dup2(file, target)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    sys.path.insert(0, request["folder"])
    code = main(["serve"])
    # The end of a process, but for taking its modules apart: that would copy the memory that it shares with its parent.
    threading._shutdown()  # type: ignore[attr-defined] # waits for its threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _import_the_gateway() -> None:
    from aiohttp.web import Application

    # And the cameras of most tests, which need NumPy.
    for module in ("web.app", "web.cli", "tests.support.sources.engine"):
        importlib.import_module(module)
    # It generates the document of the HTTP API, which is the same in each gateway.
    importlib.import_module("web.api.routes").add_routes(Application())
    assert threading.active_count() == 1, "a thread would be missing in the children"
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    _import_the_gateway()
    with contextlib.closing(socket.socket(fileno=int(sys.argv[1]))) as from_pytest:
        raise SystemExit(_serve_requests(from_pytest))
