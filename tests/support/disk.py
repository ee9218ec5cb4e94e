"""Disks that fill up, become read-only and are pulled, under a gateway in a process of its own.

:class:`MountedDisk` is real: a tmpfs of a few megabytes in a mount namespace of the gateway's own (``unshare``), for
root as for anybody whom the kernel permits a user namespace. Where it permits neither, :class:`PlainDisk` comes as near
as a plain folder can: a limit on the size of files, something in the way, a folder that is moved.
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
    """Where a gateway's ``DATA_DIR`` is, ``folder/data``. :attr:`gateway` is set by whoever starts it."""

    prefix: Sequence[str] = ()
    """What comes before the gateway's command."""
    gateway: GatewayProcess

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"

    def fill(self) -> None:
        """No byte more."""
        raise NotImplementedError

    def make_room(self) -> None:
        """The inverse of :meth:`fill`."""
        raise NotImplementedError

    def forbid(self) -> None:
        """What is opened from now on can be read and not written."""
        raise NotImplementedError

    def permit(self) -> None:
        """The inverse of :meth:`forbid`."""
        raise NotImplementedError

    def pull(self) -> None:
        """It goes, and leaves an empty folder."""
        raise NotImplementedError

    def plug_in(self) -> None:
        """The inverse of :meth:`pull`."""
        raise NotImplementedError

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run something that sees what the gateway sees."""
        return subprocess.run(
            [*self._inside(), *command],
            env=self.gateway.environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def check(self) -> str:
        """What ``liveedge check`` finds beside the running gateway; empty where all is in order."""
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
        # From large to small, until there is no room for a single byte.
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
    """The most real one that can be had here."""
    return MountedDisk(folder) if MountedDisk.is_possible() else PlainDisk(folder)
