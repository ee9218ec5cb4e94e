"""A real RTSP server in its own process. A test plays from it, stops, kills, freezes and restarts it."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

SYSTEM_PYTHON = "/usr/bin/python3"
"""Debian's Python: python3-gi is built for it."""

SCRIPT = Path(__file__).with_name("rtsp_server.py")

VIEWER = ("viewer", "p@ss:word")
"""A user of the mounts with authentication."""

AWKWARD = ("op/er#1", "a/b#c%20d?e f")
"""Another user. The name and password have many characters with a meaning in URLs."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RtspServer:
    """``tests/support/rtsp_server.py`` and its ports; the mounts are listed there. A context manager."""

    def __init__(self, certificate: Path | None = None) -> None:
        """``certificate`` is a PEM file with a certificate and its key, to serve over TLS as well."""
        self.port = 0
        self.guarded_port = 0
        self.tls_port = 0
        self._certificate = certificate
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start it, on its earlier ports if it had any, and wait until it listens."""
        assert self._process is None, "it runs already"
        command = [SYSTEM_PYTHON, str(SCRIPT), f"--port={self.port}", f"--guarded-port={self.guarded_port}"]
        if self._certificate is not None:
            command.append(f"--certificate={self._certificate}")
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.communicate()
            raise RuntimeError(
                f"{' '.join(command)} did not start; run it by hand to see why (make test installs its parts)"
            )
        ports = json.loads(line)
        self.port, self.guarded_port, self.tls_port = ports["port"], ports["guarded_port"], ports.get("tls_port", 0)
        self._process = process
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    def stop(self) -> None:
        """End it with SIGTERM. It may have ended already."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it if it runs and start it on the same ports."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Stop the process: its sockets stay open, and it sends nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo :meth:`freeze`."""
        os.kill(self.pid, signal.SIGCONT)

    def url(self, mount: str = "/cam") -> str:
        """The URL of a mount without authentication."""
        return f"rtsp://127.0.0.1:{self.port}/{mount.lstrip('/')}"

    def guarded_url(self, mount: str = "/video", user: str = VIEWER[0], password: str = VIEWER[1]) -> str:
        """The URL of a mount with authentication; credentials are percent-encoded."""
        userinfo = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"rtsp://{userinfo}@127.0.0.1:{self.guarded_port}/{mount.lstrip('/')}"

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        try:
            process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
