"""SharedAccess: what the workers of one machine tell each other about access, in a file (:mod:`web.workers`).

It has the sign-ins of all workers, and a number that grows when something was given or has ended: a sign-in, a token, a
link, a mark of a camera. Each worker looks at the number every :data:`WATCH_S`.

Rules:

1. The file is made anew when the gateway starts, for its user alone. A restart ends the sign-ins, as with one process;
   a worker that is started again finds them.
2. It has the hash of a secret, and not the secret.
3. Moments are those of the monotonic clock, which all processes of a machine share.
4. A number that was missed, because the file failed, is made up for every :data:`RELOAD_S`.
"""

import asyncio
import contextlib
import json
import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gateway.access import Scope
from gateway.clock import Clock
from gateway.errors import LiveedgeError, UnavailableError
from web.auth.grant import Grant

log = logging.getLogger(__name__)

R = TypeVar("R")

WATCH_S = 0.5
"""How long an end may be unknown to another worker. A look costs some 50 µs."""

RELOAD_S = 60.0

BUSY_S = 5.0
"""How long a statement waits for another process."""

CALLS_MAX = 256

TABLES = """
CREATE TABLE change (number INTEGER NOT NULL);
INSERT INTO change VALUES (0);
CREATE TABLE sign_in (key TEXT PRIMARY KEY, body TEXT NOT NULL, id_token TEXT NOT NULL, used_s REAL NOT NULL);
CREATE INDEX sign_in_used ON sign_in (used_s);
"""


@dataclass(frozen=True, slots=True)
class SharedSignIn:
    """A row. ``used_s``: when it was used last, as far as the file knows."""

    grant: Grant
    id_token: str
    used_s: float


def make_file(path: Path) -> None:
    """Make an empty file, before any worker runs (rule 1). Blocking. Raises ``OSError`` and ``sqlite3.Error``."""
    for name in ("", "-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(TABLES)


class SharedAccess:
    """See the module. Lives on the event loop. Coroutines raise ``UnavailableError`` if the file fails."""

    def __init__(self, path: Path, clock: Clock, data_dir: Path) -> None:
        self.data_dir = data_dir
        """The first worker's, where all keep what they share for longer than a run."""
        self._path = path
        self._clock = clock
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="shared-access")
        self._connection: sqlite3.Connection | None = None
        self._waiting = 0
        self._is_closed = False
        self._seen: int | None = None
        self._reloaded_s = clock.monotonic()
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.on_changed: list[Callable[[], Awaitable[None]]] = []
        """Called when another worker, or this one, has changed something."""
        self.before_look: list[Callable[[], Awaitable[None]]] = []
        """Called before each look."""

    def start(self) -> None:
        """Begin to look for changes."""
        self._task = asyncio.create_task(self._run(), name="shared-access")

    async def close(self) -> None:
        """Stop, and close the file."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._is_closed = True
        await asyncio.to_thread(self._executor.shutdown)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def refresh(self) -> bool:
        """Take over what has changed; returns whether anything had."""
        async with self._lock:
            number = await self._call(_number)
            now_s = self._clock.monotonic()
            if number == self._seen and now_s - self._reloaded_s < RELOAD_S:
                return False
            for callback in self.on_changed:
                await callback()
            self._seen, self._reloaded_s = number, now_s
            return True

    async def announce(self) -> None:
        """Something was changed elsewhere, which all are to read again."""
        await self._call(_change)

    async def add(self, key: str, sign_in: SharedSignIn, count_max: int, idle_s: float) -> None:
        """Keep a sign-in. Those that are over are removed, and beyond ``count_max`` those that are idle longest."""
        await self._call(_add, key, sign_in, count_max, sign_in.used_s - idle_s)

    async def find(self, key: str) -> SharedSignIn | None:
        """A sign-in."""
        return await self._call(_find, key)

    async def remove(self, key: str) -> SharedSignIn | None:
        """End a sign-in, at all workers; returns it."""
        return await self._call(_remove, key)

    async def missing(self, keys: Collection[str]) -> list[str]:
        """Those that are no sign-ins."""
        return await self._call(_missing, list(keys))

    async def note_uses(self, used_s: Mapping[str, float]) -> None:
        """Keep when sign-ins were used last."""
        await self._call(_note_uses, dict(used_s))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                for callback in self.before_look:
                    await callback()
                await self.refresh()
            except LiveedgeError as error:
                log.warning("what other workers change is late: %s", error)
            except Exception:
                log.exception("what other workers change could not be read")

    async def _call(self, function: Callable[..., R], *args: object) -> R:
        if self._is_closed:
            raise UnavailableError("the gateway is stopping", retry_after_s=5)
        if self._waiting >= CALLS_MAX:
            raise UnavailableError("too many requests ask for sign-ins at present", retry_after_s=2)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._execute, function, args)
        finally:
            self._waiting -= 1

    def _execute(self, function: Callable[..., R], args: tuple[object, ...]) -> R:
        try:
            if self._connection is None:
                uri = f"{self._path.resolve().as_uri()}?mode=rw"
                self._connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, check_same_thread=False)
                # Rule 1: nothing in it is needed after a crash of the machine.
                self._connection.execute("PRAGMA synchronous = OFF")
            with self._connection:
                return function(self._connection, *args)
        except sqlite3.Error as error:
            raise UnavailableError(
                f"the file that the workers share cannot be used at present ({error})", retry_after_s=2
            ) from None


def _number(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT number FROM change").fetchone()[0])


def _change(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE change SET number = number + 1")


def _add(connection: sqlite3.Connection, key: str, sign_in: SharedSignIn, count_max: int, idle_before_s: float) -> None:
    connection.execute("DELETE FROM sign_in WHERE used_s < ?", (idle_before_s,))
    row = (key, _to_json(sign_in.grant), sign_in.id_token, sign_in.used_s)
    connection.execute("INSERT INTO sign_in VALUES (?, ?, ?, ?)", row)
    over = connection.execute("SELECT count(*) FROM sign_in").fetchone()[0] - count_max
    if over > 0:
        oldest = "SELECT key FROM sign_in ORDER BY used_s LIMIT ?"
        connection.execute(f"DELETE FROM sign_in WHERE key IN ({oldest})", (over,))  # noqa: S608
        _change(connection)


def _find(connection: sqlite3.Connection, key: str) -> SharedSignIn | None:
    row = connection.execute("SELECT body, id_token, used_s FROM sign_in WHERE key = ?", (key,)).fetchone()
    return None if row is None else SharedSignIn(_from_json(row[0]), row[1], row[2])


def _remove(connection: sqlite3.Connection, key: str) -> SharedSignIn | None:
    found = _find(connection, key)
    if found is not None:
        connection.execute("DELETE FROM sign_in WHERE key = ?", (key,))
        _change(connection)
    return found


def _missing(connection: sqlite3.Connection, keys: list[str]) -> list[str]:
    statement = "SELECT 1 FROM sign_in WHERE key = ?"
    return [key for key in keys if connection.execute(statement, (key,)).fetchone() is None]


def _note_uses(connection: sqlite3.Connection, used_s: dict[str, float]) -> None:
    rows = [(moment_s, key) for key, moment_s in used_s.items()]
    connection.executemany("UPDATE sign_in SET used_s = max(used_s, ?) WHERE key = ?", rows)


def _to_json(grant: Grant) -> str:
    """The grant of a person: it has no span."""
    return json.dumps(
        {
            "name": grant.name,
            "scopes": sorted(grant.scopes),
            "cameras": None if grant.cameras is None else sorted(grant.cameras),
            "expires_at_s": grant.expires_at_s,
            "subject": grant.subject,
        }
    )


def _from_json(text: str) -> Grant:
    body = json.loads(text)
    cameras = body["cameras"]
    return Grant(
        body["name"],
        frozenset(Scope(scope) for scope in body["scopes"]),
        None if cameras is None else frozenset(cameras),
        body["expires_at_s"],
        subject=body["subject"],
    )
