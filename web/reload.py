"""SettingsWatch: settings that change while the gateway runs are in force a moment later, and only where they changed.

Theory of operation. The files are looked at every ``POLL_S``, which costs a few ``stat`` calls and works on every file
system, a mounted ConfigMap included; SIGHUP looks at once. Files that cannot be meant are told, once for each state of
them, and everything stays as it was. What a process cannot change while it runs (:data:`web.gateway.NEXT_START`) is
told in the log, and under ``settings`` of ``GET /api/status`` until the restart.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from gateway.config.loader import config_file, env_files
from gateway.errors import LiveedgeError
from web.gateway import Gateway
from web.settings import Settings

log = logging.getLogger("liveedge")

POLL_S = 2.0
"""How long a changed file may go unnoticed: less than the way from the editor to the browser."""

Stamp = tuple[tuple[int, int, int] | None, ...]


class SettingsWatch:
    """See the module. Lives on the event loop."""

    def __init__(self, gateway: Gateway, load: Callable[[], Settings]) -> None:
        self._gateway = gateway
        self._load = load
        self._hurried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._seen = _stamp()

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch(), name="settings-watch")

    def hurry(self) -> None:
        """Read the settings again now: SIGHUP."""
        self._hurried.set()

    async def close(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._hurried.wait()
            stamp = await asyncio.to_thread(_stamp)
            if self._hurried.is_set() or stamp != self._seen:
                self._hurried.clear()
                self._seen = stamp
                await self.reload()

    async def reload(self) -> None:
        """Read the settings and make them be in force. Never raises: what is wrong is told."""
        try:
            settings = await asyncio.to_thread(self._load)
            told = await self._gateway.reload(settings)
        except LiveedgeError as error:
            self._gateway.reload_error = str(error)
            log.error("the settings stay as they were: %s", error)  # noqa: TRY400  (the sentence says it all)
        except Exception:
            self._gateway.reload_error = "the new settings could not be taken over; the log has the reason"
            log.exception("the new settings could not be taken over")
        else:
            self._gateway.reload_error = None
            log.info("settings read again: %s", told)
            if self._gateway.restart_needed:
                log.warning("restart needed for: %s", ", ".join(self._gateway.restart_needed))


def _stamp() -> Stamp:
    """What tells one state of the files from another."""
    return tuple(_stat(path) for path in (config_file(), *map(Path, env_files())))


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
