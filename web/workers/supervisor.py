"""Supervisor: the parent process of the workers. It serves nothing itself.

Rules:

1. It opens the sockets for HTTP and RTSP, and keeps them: connections wait in them, and none is refused, while a worker
   is started again.
2. A worker that ends is started again, with growing waits, at most :data:`WAIT_MAX_S`. Its lease ends at once, so that
   the others take its cameras without waiting for it.
3. At the first start each worker must come to serve. If one cannot, all are ended, with its exit code.
4. SIGTERM and SIGINT end all workers, SIGHUP has them read the settings. A worker that has not ended after
   :data:`END_MAX_S` is killed. The exit code is 0 if all ended as they should.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.cluster.model import KeyName
from gateway.errors import LiveedgeError, SettingsError, StorageError
from gateway.tcp_server import listening_sockets
from hls.archive.data_dir import lock_data_dir, unlock_data_dir
from hls.cluster.sqlite_store import SqliteStore
from hls.evidence.signing import FILE_NAME, load_key
from web.announcement import announcement
from web.auth.access_file import make_file
from web.auth.signing_key import kept_key
from web.descriptors import raise_limit
from web.listen_error import listen_error
from web.private_files import write_private
from web.settings import Settings
from web.socket_activation import inherited_sockets
from web.workers.worker import ACCESS_FILE, FOLDER, SHARED_FILE, VARIABLE, Worker, node_name

log = logging.getLogger("liveedge.workers")

COMMAND = (sys.executable, "-P", "-m", "web", "serve")
"""``-P``: not from the working directory."""

WAIT_MIN_S, WAIT_MAX_S = 1.0, 30.0

STEADY_S = 60.0
"""A worker that ran for so long is started again at once when it ends."""

END_MAX_S = 15.0
"""More than the shutdown of a gateway takes (:data:`web.gateway.CLOSE_STEP_S`)."""


@dataclass(slots=True)
class _Child:
    number: int
    private: socket.socket
    process: asyncio.subprocess.Process | None = None
    wait_s: float = WAIT_MIN_S
    code: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether any of its processes has served."""
    serves: bool = False
    """Whether the present one does. Before, it would end by SIGHUP."""
    is_reload_wanted: bool = False


class Supervisor:
    """See the module. Raises a ``LiveedgeError`` where the sockets or ``DATA_DIR`` cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.data_dir / FOLDER
        self._offset_s = time.time() - time.monotonic()
        self._http: Sequence[socket.socket] = ()
        self._rtsp: Sequence[socket.socket] = ()
        self._is_ending = asyncio.Event()
        self._children: list[_Child] = []
        self._store = SqliteStore(self._folder / SHARED_FILE, lambda: time.monotonic() + self._offset_s)

    async def run(self) -> int:
        """Run the workers until a signal ends them; returns the exit code."""
        raise_limit()
        lock = lock_data_dir(self._folder)
        try:
            self._open_sockets()
            await asyncio.to_thread(self._prepare)
            return await self._run()
        finally:
            for each in (*self._http, *self._rtsp, *(child.private for child in self._children)):
                each.close()
            self._store.close()
            unlock_data_dir(lock)

    def _prepare(self) -> None:
        """Make what the workers share. Blocking."""
        try:
            self._store.open()
        except StorageError:
            for name in ("", "-wal", "-shm"):
                (self._folder / f"{SHARED_FILE}{name}").unlink(missing_ok=True)
            self._store.open()
        data_dir = self._settings.data_dir
        self._store.begin({KeyName.URLS.value: kept_key(data_dir)})
        make_file(self._folder / ACCESS_FILE)
        # One key signs the recordings of all of them.
        load_key(data_dir, write_private)
        key = (data_dir / FILE_NAME).read_bytes()
        for number in range(2, self._settings.workers + 1):
            path = self._folder / str(number) / FILE_NAME
            if not path.is_file() or path.read_bytes() != key:
                write_private(path, key)

    def _open_sockets(self) -> None:
        settings = self._settings
        self._http = inherited_sockets()
        if not self._http:
            try:
                self._http = listening_sockets(settings.host, settings.port)
            except OSError as error:
                raise listen_error(settings.host, settings.port, error) from None
        if settings.rtsp_server:
            try:
                self._rtsp = listening_sockets(settings.host, settings.rtsp_port)
            except OSError as error:
                why = f"port {settings.rtsp_port} on {settings.host} cannot be used for RTSP ({error.strerror})"
                if "rtsp_port" in settings.model_fields_set:
                    raise SettingsError(f"{why}; set RTSP_PORT to another, or RTSP_SERVER=false") from None
                log.warning("no RTSP server: %s", why)

    async def _run(self) -> int:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        numbers = range(1, self._settings.workers + 1)
        self._children = [_Child(number, listening_sockets("127.0.0.1", 0)[0]) for number in numbers]
        tasks = [asyncio.create_task(self._keep(child), name=node_name(child.number)) for child in self._children]
        announcing = asyncio.create_task(self._announce(), name="announce")
        await asyncio.wait(tasks)
        announcing.cancel()
        for task in tasks:
            task.result()
        codes = [child.code for child in self._children if child.code]
        return 0 if not codes else max(codes) if min(codes) > 0 else 1

    async def _announce(self) -> None:
        for child in self._children:
            await child.ready.wait()
        host, port = self._http[0].getsockname()[:2]
        log.info("%d workers serve", len(self._children))
        # On standard output and without a prefix: this line is for the person who started the process.
        url, hint = announcement(host, port)
        print(f"liveedge is at {url} with {len(self._children)} workers{hint}", flush=True)  # noqa: T201

    async def _keep(self, child: _Child) -> None:
        """Rules 2 and 3."""
        while not self._is_ending.is_set():
            began_s = time.monotonic()
            child.code = await self._run_once(child)
            if self._is_ending.is_set():
                break
            if not child.ready.is_set():
                log.error("worker %d cannot start; all are ended", child.number)
                child.code = child.code or 1
                self._end()
                break
            await asyncio.to_thread(self._end_lease, child)
            child.wait_s = WAIT_MIN_S if time.monotonic() - began_s > STEADY_S else child.wait_s
            log.error(
                "worker %d ended (%s); it is started again in %.2g s", child.number, _ended(child.code), child.wait_s
            )
            child.code = 0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(child.wait_s):
                    await self._is_ending.wait()
            child.wait_s = min(WAIT_MAX_S, child.wait_s * 2)

    async def _run_once(self, child: _Child) -> int:
        reading, writing = os.pipe()
        worker = Worker(
            number=child.number,
            count=self._settings.workers,
            parent=os.getpid(),
            data_dir=str(self._settings.data_dir),
            offset_s=self._offset_s,
            http=tuple(each.fileno() for each in self._http),
            rtsp=tuple(each.fileno() for each in self._rtsp),
            private=child.private.fileno(),
            private_port=child.private.getsockname()[1],
            ready=writing,
        )
        try:
            child.process = await asyncio.create_subprocess_exec(
                *COMMAND,
                env=os.environ | {VARIABLE: worker.to_json()},
                pass_fds=(*worker.http, *worker.rtsp, worker.private, worker.ready),
            )
        finally:
            os.close(writing)
        log.info("worker %d is process %d", child.number, child.process.pid)
        loop = asyncio.get_running_loop()
        loop.add_reader(reading, self._is_ready, child, reading)
        try:
            if self._is_ending.is_set():
                child.process.terminate()
            return await child.process.wait()
        finally:
            child.serves = False
            loop.remove_reader(reading)
            os.close(reading)

    def _is_ready(self, child: _Child, reading: int) -> None:
        if os.read(reading, 1):
            child.ready.set()
            child.serves = True
            if child.is_reload_wanted:
                self._reload_child(child)
        asyncio.get_running_loop().remove_reader(reading)

    def _end_lease(self, child: _Child) -> None:
        try:
            self._store.end_lease(node_name(child.number))
        except LiveedgeError as error:
            log.warning("the other workers wait for the lease of worker %d: %s", child.number, error)

    def _end(self) -> None:
        self._signal(signal.SIGTERM)
        if not self._is_ending.is_set():
            self._is_ending.set()
            asyncio.get_running_loop().call_later(END_MAX_S, self._signal, signal.SIGKILL)

    def _reload(self) -> None:
        for child in self._children:
            self._reload_child(child)

    def _reload_child(self, child: _Child) -> None:
        """Have it read the settings now, or as soon as it serves: it may have read them before they changed."""
        child.is_reload_wanted = not child.serves
        if child.serves:
            _send(child, signal.SIGHUP)

    def _signal(self, number: signal.Signals) -> None:
        for child in self._children:
            _send(child, number)


def _send(child: _Child, number: signal.Signals) -> None:
    if child.process is not None and child.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.process.send_signal(number)


def _ended(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
