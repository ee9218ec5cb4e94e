"""Worker: what one of the processes of ``WORKERS`` gets from the parent process (:mod:`web.workers.supervisor`).

Rules:

1. A worker is a node of a cluster on this machine. It has an archive of its own: the first one in ``DATA_DIR``, so that
   what one process recorded before is found again, and the others in a folder there. The same in ``ARCHIVE_URL``.
2. All workers accept connections of the same sockets, which the parent keeps open: while a worker is started again,
   connections wait for the others. Each has a port of its own, on loopback, for the others.
3. A worker ends with its parent.
"""

import ctypes
import json
import os
import signal
import socket
import sys
import time
from collections.abc import MutableMapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.cluster.model import Node
from web.settings import Settings

VARIABLE = "LIVEEDGE_WORKER"
"""Of the environment: the fields of a :class:`Worker` as JSON."""

FOLDER = ".workers"
"""In ``DATA_DIR`` and ``ARCHIVE_URL``. No camera has such a name."""

SHARED_FILE = "cluster.sqlite3"
ACCESS_FILE = "access.sqlite3"

PR_SET_PDEATHSIG = 1
"""prctl(2)."""


@dataclass(frozen=True, slots=True)
class Worker:
    """See the module. ``number`` begins with 1.

    ``offset_s``: the wall clock less the monotonic one when the parent began. ``http``, ``rtsp``, ``private`` and
    ``ready`` are descriptors: listening sockets, and a pipe that gets a byte when the worker serves.
    """

    number: int
    count: int
    parent: int
    data_dir: str
    offset_s: float
    http: tuple[int, ...]
    rtsp: tuple[int, ...]
    private: int
    private_port: int
    ready: int

    @property
    def name(self) -> str:
        """The name of its node."""
        return node_name(self.number)

    @property
    def node(self) -> Node:
        """The node of this process."""
        return Node(
            f"{self.name}#{os.getpid()}-{time.monotonic_ns()}", self.name, f"http://127.0.0.1:{self.private_port}"
        )

    @property
    def shared_file(self) -> Path:
        """What all workers share."""
        return Path(self.data_dir) / FOLDER / SHARED_FILE

    @property
    def access_file(self) -> Path:
        """What all workers know of access (:mod:`web.auth.access_file`)."""
        return Path(self.data_dir) / FOLDER / ACCESS_FILE

    @property
    def cameras_file(self) -> Path:
        """The cameras that the API added or changed."""
        return Path(self.data_dir) / "cameras.json"

    def wall_s(self) -> float:
        """A clock that all workers share and nobody sets, in Unix seconds."""
        return time.monotonic() + self.offset_s

    def sockets(self, descriptors: Sequence[int]) -> list[socket.socket]:
        """Listening sockets of the parent. The worker owns them."""
        return [socket.socket(fileno=each) for each in descriptors]

    def tell_ready(self) -> None:
        """It serves now."""
        os.write(self.ready, b"1")
        os.close(self.ready)

    def settings(self, settings: Settings) -> Settings:
        """The settings of this process, of those of the gateway."""
        changes: dict[str, object] = {
            "export_max_bytes": settings.export_max_bytes // self.count,
            "archive_cache_bytes": settings.archive_cache_bytes // self.count,
            "archive_uploads": max(1, settings.archive_uploads // self.count),
        }
        if settings.archive_max_bytes is not None:
            changes["archive_max_bytes"] = max(1, settings.archive_max_bytes // self.count)
        if settings.archive_upload_rate is not None:
            changes["archive_upload_rate"] = settings.archive_upload_rate // self.count
        if settings.webrtc_udp_port:
            changes["webrtc_udp_port"] = settings.webrtc_udp_port + self.number - 1
        if self.number > 1:
            changes |= _place(settings, self.number)
        return settings.model_copy(update=changes)

    def beside(self, settings: Settings, number: int) -> Settings:
        """The settings of this process with the archive of another worker. ``settings`` are those of this process."""
        url = settings.archive_url
        if url is not None and self.number > 1:
            url = url.removesuffix(f"/{FOLDER}/{self.number}")
        whole = settings.model_copy(update={"data_dir": Path(self.data_dir), "archive_url": url})
        return whole.model_copy(update=_place(whole, number)) if number > 1 else whole

    def to_json(self) -> str:
        """For :data:`VARIABLE`."""
        return json.dumps(asdict(self))


def archives(settings: Settings) -> list[Settings]:
    """The settings of each archive in ``DATA_DIR``: that of one process, and those of the other workers there were."""
    try:
        numbers = sorted(int(entry.name) for entry in os.scandir(settings.data_dir / FOLDER) if entry.name.isdecimal())
    except OSError:
        numbers = []
    return [settings, *(settings.model_copy(update=_place(settings, number)) for number in numbers)]


def _place(settings: Settings, number: int) -> dict[str, object]:
    """Where the archive of a worker is, other than the first one (rule 1)."""
    changes: dict[str, object] = {"data_dir": settings.data_dir / FOLDER / str(number)}
    if settings.archive_url is not None:
        changes["archive_url"] = f"{settings.archive_url.rstrip('/')}/{FOLDER}/{number}"
    return changes


def node_name(number: int) -> str:
    """The name of the node of a worker."""
    return f"worker-{number}"


def worker_number(name: str) -> int:
    """The inverse of :func:`node_name`."""
    return int(name.rpartition("-")[2])


def this_worker(environment: MutableMapping[str, str] = os.environ) -> Worker | None:
    """What this process is; ``None``: no worker. Can be asked once."""
    written = environment.pop(VARIABLE, None)
    if written is None:
        return None
    fields = json.loads(written)
    worker = Worker(**fields | {"http": tuple(fields["http"]), "rtsp": tuple(fields["rtsp"])})
    for descriptor in (*worker.http, *worker.rtsp, worker.private, worker.ready):
        os.set_inheritable(descriptor, False)
    _end_with(worker.parent)
    return worker


def _end_with(parent: int) -> None:
    """Rule 3."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(1)
