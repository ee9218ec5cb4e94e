"""SettingsWatch: apply settings that change while the gateway runs.

Theory of operation. The watch reads the state of the files every ``POLL_S``. That costs a few ``stat`` calls and works
on every file system, including a mounted ConfigMap. SIGHUP makes it read at once. If the files changed, the watch loads
the settings again and gives them to the gateway, which applies them as their data says
(:class:`gateway.config.field.Applies`).

Rules:

1. If the new settings have a mistake, nothing changes. The log reports the mistake once for each state of the files,
   and ``GET /api/status`` shows it until the files are correct.
2. A file that is being written is read when it has stayed the same for :data:`SETTLE_S`: an editor may empty it first,
   and a file without cameras would end all viewers.
3. A setting that applies after a restart is listed in the log and under ``settings`` of ``GET /api/status`` until then.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from gateway.config.loader import config_file, env_files, located
from gateway.errors import LiveedgeError
from web.gateway import Gateway
from web.settings import Settings

log = logging.getLogger("liveedge")

POLL_S = 2.0
"""How long a changed file may go unnoticed: less time than it takes to go from the editor to the browser."""

SETTLE_S, SETTLE_LOOKS_MAX = 0.25, 20
"""A file that does not come to rest is read after so many looks."""

FileState = tuple[int, int, int] | None
"""Time of the last change, size and inode; ``None`` for a file that does not exist."""


class SettingsWatch:
    """See the module. Lives on the event loop."""

    def __init__(self, gateway: Gateway, load: Callable[[], Settings]) -> None:
        self._gateway = gateway
        self._load = load
        self._requested = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._seen = _file_states()

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch(), name="settings-watch")

    def request(self) -> None:
        """Load the settings now, whether the files changed or not: SIGHUP."""
        self._requested.set()

    async def close(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._requested.wait()
            states = await asyncio.to_thread(_file_states)
            if self._requested.is_set() or states != self._seen:
                self._seen = await _settled(states)
                self._requested.clear()
                await self.reload()

    async def reload(self) -> None:
        """Load the settings and apply them. Never raises: the log and the status report an error."""
        try:
            settings = await asyncio.to_thread(self._load)
            summary = await self._gateway.reload(settings)
        except LiveedgeError as error:
            told = located(error, Settings)
            self._gateway.reload_error = told
            log.error("the settings are not changed: %s", told)  # noqa: TRY400  (the message is complete)
        except Exception:
            self._gateway.reload_error = "the new settings could not be applied; the log has the reason"
            log.exception("the new settings could not be applied")
        else:
            self._gateway.reload_error = None
            log.info("settings read again: %s", summary)
            if self._gateway.restart_needed:
                log.warning("restart needed for: %s", ", ".join(self._gateway.restart_needed))


async def _settled(states: tuple[FileState, ...]) -> tuple[FileState, ...]:
    """The states of the files when they have come to rest; rule 2."""
    for _ in range(SETTLE_LOOKS_MAX):
        before = states
        await asyncio.sleep(SETTLE_S)
        states = await asyncio.to_thread(_file_states)
        if states == before:
            break
    return states


def _file_states() -> tuple[FileState, ...]:
    return tuple(_file_state(path) for path in (config_file(), *map(Path, env_files())))


def _file_state(path: Path) -> FileState:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
