"""The whole gateway in its own process, started by its command line.

In tests most are forked instead, at the point where the command line begins: see ``tests.support.gateway_forks``.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, Self

from tests.support.eventually import eventually_sync
from tests.support.gateway_forks import ForkedProcess, can_fork

PYTHONPATH = {"PYTHONPATH": str(Path(__file__).parents[2])}

START_S = 30.0
"""Far more than a start takes, even on a machine that does ten things at a time."""


PASS_SOCKET = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes a command that has a socket, by its descriptor, as sd_listen_fds(3) wants it."""


class GatewayProcess:
    """``liveedge serve`` with its own environment and folder, on free ports. A context manager."""

    may_fork: ClassVar[bool] = False
    """Whether it may be forked from a process that has imported it. Not in benchmarks."""

    entered: ClassVar[list["GatewayProcess"]] = []
    """Those that are started and not left, also where a test has stopped or killed them."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.log_path = folder / "gateway.log"
        self.url = ""
        self.headers: dict[str, str] = {}
        """Of each request."""
        inherited = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
        self.environment: dict[str, str] = {name: os.environ[name] for name in inherited if name in os.environ}
        self.environment |= {"PORT": "0", "WEBRTC_UDP_PORT": "0", "RTSP_PORT": "0", "DATA_DIR": str(folder / "data")}
        self.environment |= {"ARCHIVE_MIN_FREE_BYTES": "0"}
        self.environment |= {name: str(value) for name, value in settings.items()}
        self.prefix: Sequence[str] = ()
        """A prefix of the command. It must replace itself with the rest, like ``exec``."""
        self.listening: socket.socket | None = None
        """What it listens on instead of a port of its own, as a socket unit of systemd passes it."""
        self.process: subprocess.Popen[str] | ForkedProcess | None = None

    def start(self) -> Self:
        """Start it and wait until it prints its address. Close the output of an earlier start."""
        self.close_output()
        with self.log_path.open("a") as log:
            if self.may_fork and not self.prefix and self.listening is None and can_fork(self.environment):
                self.process = ForkedProcess(self.folder, self.environment | PYTHONPATH, log)
            else:
                self.process = self._popen(log)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("liveedge is at "):
            self.process.wait(START_S)
            raise AssertionError(f"the gateway did not start (exit code {self.process.returncode}):\n{self.log()}")
        self.url = line.split()[3].rstrip("/")
        # It keeps this port, also after a restart.
        self.environment["PORT"] = self.url.rsplit(":", 1)[1]
        return self

    def _popen(self, log: IO[str]) -> subprocess.Popen[str]:
        prefix = self.prefix
        fds: tuple[int, ...] = ()
        if self.listening is not None:
            fds = (self.listening.fileno(),)
            prefix = (*prefix, sys.executable, "-c", PASS_SOCKET, str(fds[0]))
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", "web", "serve"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=self.folder,
            env=self.environment | PYTHONPATH,
            pass_fds=fds,
        )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self) -> float:
        """Send SIGTERM and wait. Return how long it took, in seconds."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(START_S)
        return time.monotonic() - began

    def kill(self) -> None:
        """``kill -9``."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def log(self) -> str:
        """Its standard error so far."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    @classmethod
    def start_ended(cls) -> None:
        """Start those again that a test has stopped or killed, and left so because it failed."""
        for gateway in cls.entered:
            if gateway.process is not None and gateway.process.poll() is not None:
                gateway.start()

    def __enter__(self) -> Self:
        self.start()
        self.entered.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self in self.entered:  # not where it was started without ``with``
            self.entered.remove(self)
        if self.process is not None:
            if self.process.poll() is None:
                self.process.terminate()
                try:
                    self.process.wait(10)
                except subprocess.TimeoutExpired:
                    self.kill()
            self.close_output()
        if error is not None:
            print(self.log()[-8000:])

    def close_output(self) -> None:
        """Close the pipe of its standard output, if there is one."""
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()

    # --- requests

    def fetch(
        self, path: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of the answer to a request, for every status."""
        request = urllib.request.Request(
            self.url + path, data=body, method=method, headers={**self.headers, **(headers or {})}
        )
        try:
            with urllib.request.urlopen(request, timeout=START_S) as reply:
                return reply.status, dict(reply.headers.items()), reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers.items()), error.read()

    def json(self, path: str, method: str = "GET", body: object = None) -> Any:
        """The JSON of an answer, for every status."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data is not None else None
        return json.loads(self.fetch(path, method, data, headers)[2])

    def camera(self, camera_id: str = "default") -> dict[str, Any]:
        """A camera as the API returns it."""
        camera: dict[str, Any] = self.json(f"/api/cameras/{camera_id}")
        return camera

    def wait_for_state(self, state: str, camera_id: str = "default") -> dict[str, Any]:
        """Wait until a camera is in ``state``; return it."""

        def camera_in_state() -> dict[str, Any]:
            camera = self.camera(camera_id)
            return camera if camera["state"] == state else {}

        found: dict[str, Any] = eventually_sync(camera_in_state, f"camera {camera_id!r} is {state}")
        return found
