"""A test's own PostgreSQL server: made in a folder, on a free port of the loopback, removed afterwards."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# PostgreSQL refuses to run as root. Debian's package creates this user.
_AS_USER: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


def _program(name: str) -> str:
    """Find a program of the server. Debian keeps them outside the search path, in a folder for each version."""
    found = shutil.which(name) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default=None)
    assert found, f"{name} is not there: run scripts/install-test-packages"
    return found


@contextmanager
def postgres() -> Iterator[str]:
    """Run a server; yield the ``DATABASE_URL`` of its empty database."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        if _AS_USER:
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        data = str(folder / "data")
        _run(_program("initdb"), "-D", data, "-U", "liveedge", "-A", "trust", "-E", "UTF8", "--no-sync")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = subprocess.Popen(
            [_program("postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", "", "-F"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **_AS_USER,
        )
        try:
            deadline = time.monotonic() + 30
            while subprocess.run(
                [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)], check=False, timeout=30
            ).returncode:
                assert server.poll() is None, "the server has ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.05)
            yield f"postgresql+psycopg://liveedge@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
