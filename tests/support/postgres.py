"""A test's own PostgreSQL server: made in a folder, on a free port of the loopback, removed afterwards."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

# PostgreSQL refuses to run as root. Debian's package creates this user.
_AS_USER: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


def _program(name: str) -> str:
    """Find a program of the server. Debian keeps them outside the search path, in a folder for each version."""
    found = shutil.which(name) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default=None)
    assert found, f"{name} is not there: run scripts/install-test-packages"
    return found


class PostgresServer:
    """A server whose process a test may stop, halt and start again. ``address`` is one of this machine."""

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self._folder = folder
        self._address = address
        with socket.socket() as probe:
            probe.bind((address, 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The ``DATABASE_URL`` of its database."""
        return f"postgresql+psycopg://liveedge@{self._address}:{self.port}/postgres"

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def make(self) -> None:
        """Make an empty database."""
        if _AS_USER:
            owner = pwd.getpwnam("postgres")
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        _run(_program("initdb"), "-D", self._data, "-U", "liveedge", "-A", "trust", "-E", "UTF8", "--no-sync")
        with (Path(self._data) / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet trust\n")

    def start(self) -> None:
        """Run it until it answers."""
        self._process = subprocess.Popen(
            [_program("postgres"), "-D", self._data, "-h", self._address, "-p", str(self.port), "-k", "", "-F"],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **_AS_USER,
        )
        deadline = time.monotonic() + 30
        while subprocess.run(
            [_program("pg_isready"), "-q", "-h", self._address, "-p", str(self.port)], check=False, timeout=30
        ).returncode:
            assert self._process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it, with all its connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def halted(self) -> AbstractContextManager[None]:
        """The server and its connections stay, and do nothing meanwhile."""
        assert self._process is not None
        return _halted([self._process.pid, *_children(self._process.pid)])


@contextmanager
def _halted(processes: list[int]) -> Iterator[None]:
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def _children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@contextmanager
def postgres_server(address: str = "127.0.0.1") -> Iterator[PostgresServer]:
    """Run a server of which a test may do what it likes."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = PostgresServer(folder, address)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres() -> Iterator[str]:
    """Run a server; yield the ``DATABASE_URL`` of its empty database."""
    with postgres_server() as server:
        yield server.url


def _run(*command: str) -> None:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd="/",
        timeout=60,
        check=False,
        **_AS_USER,
    )
    assert done.returncode == 0, done.stderr
