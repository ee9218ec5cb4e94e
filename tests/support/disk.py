"""Disks that fill up, become read-only and are pulled, under a gateway in its own process.

:class:`MountedDisk` is real: a tmpfs of a few megabytes in the gateway's own mount namespace (``unshare``). It works
for root, and for users whom the kernel permits a user namespace. Elsewhere, :class:`PlainDisk` comes as near as a plain
folder can: a limit on the size of files, a file in the way, a folder that is moved.
"""

import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.support.gateway_process import GatewayProcess

SIZE_MB = 8
"""It has room for some minutes of the faulty engine's pictures, and is soon full."""


class Disk:
    """The place of a gateway's ``DATA_DIR``, ``folder/data``. The code that starts a gateway sets :attr:`gateway`."""

    prefix: Sequence[str] = ()
    """The prefix of the gateway's command."""
    gateway: GatewayProcess

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"

    def fill(self) -> None:
        """Leave no byte free."""
        raise NotImplementedError

    def make_room(self) -> None:
        """The inverse of :meth:`fill`."""
        raise NotImplementedError

    def forbid(self) -> None:
        """Let files be opened for reading only."""
        raise NotImplementedError

    def permit(self) -> None:
        """The inverse of :meth:`forbid`."""
        raise NotImplementedError

    def pull(self) -> None:
        """Remove the disk; an empty folder remains."""
        raise NotImplementedError

    def plug_in(self) -> None:
        """The inverse of :meth:`pull`."""
        raise NotImplementedError

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command that sees the gateway's file systems."""
        return subprocess.run(
            [*self._inside(), *command],
            env=self.gateway.environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def check(self) -> str:
        """The findings of ``liveedge check`` beside the running gateway; empty if there are none."""
        done = self.run(sys.executable, "-m", "web.cli", "check")
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def _inside(self) -> Sequence[str]:
        return ()


class MountedDisk(Disk):
    """See the module. The file system lies at ``folder/store`` and is bound to ``folder/data``."""

    @staticmethod
    def _unshare() -> list[str]:
        return ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]

    @classmethod
    def is_possible(cls) -> bool:
        """Whether the kernel lets this user make a namespace and mount in it."""
        command = [*cls._unshare(), "mount", "-t", "tmpfs", "none", "/mnt"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.store = folder / "store"
        for path in (self.store, self.data):
            path.mkdir()
        script = f'mount -t tmpfs -o size={SIZE_MB}m disk {self._q(self.store)} && {self._bind()} && exec "$@"'
        self.prefix = [*self._unshare(), "sh", "-c", script, "sh"]

    def fill(self) -> None:
        filler = self._q(self.store / "filler")
        # From large to small, until no byte is free.
        self._sh(f"for size in 65536 4096 1; do dd if=/dev/zero bs=$size >> {filler} 2>/dev/null || true; done")

    def make_room(self) -> None:
        self._sh(f"rm {self._q(self.store / 'filler')}")

    def forbid(self) -> None:
        self._sh(f"{self._bind()} && mount -o remount,ro,bind {self._q(self.data)}")

    def permit(self) -> None:
        self._sh(f"umount {self._q(self.data)}")

    def pull(self) -> None:
        self._sh(f"umount -l {self._q(self.data)}")

    def plug_in(self) -> None:
        self._sh(self._bind())

    def _bind(self) -> str:
        return f"mount --bind {self._q(self.store)} {self._q(self.data)}"

    def _sh(self, script: str) -> None:
        done = self.run("sh", "-c", script)
        assert done.returncode == 0, done.stderr

    def _inside(self) -> Sequence[str]:
        user = [] if os.getuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", f"--target={self.gateway.pid}", "--mount", *user, "--"]

    @staticmethod
    def _q(path: Path) -> str:
        return shlex.quote(str(path))


class PlainDisk(Disk):
    """See the module."""

    def fill(self) -> None:
        self._limit(0)

    def make_room(self) -> None:
        self._limit(resource.RLIM_INFINITY)

    def forbid(self) -> None:
        camera = self.data / "door"
        camera.rename(self.folder / "aside")
        camera.write_text("in the way")

    def permit(self) -> None:
        camera = self.data / "door"
        camera.unlink()
        (self.folder / "aside").rename(camera)

    def pull(self) -> None:
        self.data.rename(self.folder / "aside")

    def plug_in(self) -> None:
        (self.folder / "aside").rename(self.data)

    def _limit(self, size: int) -> None:
        psutil.Process(self.gateway.pid).rlimit(psutil.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def make_disk(folder: Path) -> Disk:
    """The most realistic disk that is available here."""
    return MountedDisk(folder) if MountedDisk.is_possible() else PlainDisk(folder)
