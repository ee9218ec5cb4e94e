"""Outbox: the messages that wait, in memory and in a journal on the disk.

Theory of operation. Each endpoint has a queue of its own in memory, from which it is served. A task writes what has
changed to the journal (:mod:`web.webhooks.journal`), many changes in one transaction. At the start the queues are read
from the journal.

Rules:

1. Nothing waits for the disk: while it is full or hangs, messages are delivered from memory, and the changes are
   written when it works again.
2. A queue has at most ``queue_max`` messages (:data:`QUEUE_MAX`) and :data:`QUEUE_MAX_BYTES`. Beyond, the oldest is
   dropped.
3. A message is removed after it was delivered or given up. After a crash in between, it is delivered again, with the
   same id. An id that is in a queue already is not added again.
4. Texts of the sources (which changes they have seen) are written in one transaction with the messages of the same
   moment.
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from web.webhooks.journal import Entry, Journal

log = logging.getLogger(__name__)

QUEUE_MAX = 5000
"""A day of 20 cameras: files of ten minutes, and a few thousand events."""

QUEUE_MAX_BYTES = 16 * 1024 * 1024

RETRY_S = 5.0
"""Between attempts to write, while the disk fails."""

CLOSE_S = 2.0
"""The last write must not take the whole shutdown, on a disk that hangs."""

FULL = "full"

ENDPOINT = "endpoint:"
"""The beginning of the names of texts about an endpoint."""


class EndpointQueue:
    """The messages that wait for one endpoint, oldest first."""

    def __init__(self, on_removed: Callable[[Entry], None], max_entries: int | None = None) -> None:
        self._max_entries = QUEUE_MAX if max_entries is None else max_entries
        self.dropped: Counter[str] = Counter()
        """Messages that were given up, by reason."""
        self._on_removed = on_removed
        self._entries: deque[Entry] = deque()
        self._ids: set[str] = set()
        self._bytes = 0
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def oldest(self) -> Entry | None:
        """The next one to deliver."""
        return self._entries[0] if self._entries else None

    def add(self, entry: Entry) -> bool:
        """Append a message; rules 2 and 3. Whether it was added."""
        if entry.id in self._ids:
            return False
        self._entries.append(entry)
        self._ids.add(entry.id)
        self._bytes += len(entry.body)
        while len(self._entries) > self._max_entries or (self._bytes > QUEUE_MAX_BYTES and len(self._entries) > 1):
            self.drop(self._entries[0], FULL)
        self._filled.set()
        return True

    def drop(self, entry: Entry, reason: str) -> None:
        """Give up a message."""
        if self.remove(entry):
            self.dropped[reason] += 1

    def remove(self, entry: Entry) -> bool:
        """Remove the oldest message. Whether ``entry`` is that one: it may have been dropped since."""
        if not self._entries or self._entries[0] is not entry:
            return False
        self._entries.popleft()
        self._ids.discard(entry.id)
        self._bytes -= len(entry.body)
        if not self._entries:
            self._filled.clear()
        self._on_removed(entry)
        return True

    def clear(self, reason: str) -> None:
        """Give up all messages."""
        while self._entries:
            self.drop(self._entries[0], reason)

    async def wait(self) -> Entry:
        """Wait for a message. Returns the oldest."""
        await self._filled.wait()
        return self._entries[0]


class Outbox:
    """See the module. Lives on the event loop. ``what`` is who has it, for the log."""

    def __init__(self, path: Path, what: str = "webhooks", queue_max: int | None = None) -> None:
        self._what = what
        self._queue_max = queue_max
        self.error: str | None = None
        """Why the journal cannot be written."""
        self._journal = Journal(path)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=what)
        self._queues: dict[str, EndpointQueue] = {}
        self._number = 0
        self._state: dict[str, str] = {}
        self._added: dict[int, Entry] = {}
        self._removed: set[int] = set()
        self._changed_state: dict[str, str | None] = {}
        self._dirty = asyncio.Event()
        self._written: asyncio.Future[None] | None = None
        self._is_writing = False
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the journal. If it cannot be read, messages are kept in memory, and :attr:`error` says why."""
        try:
            contents = await asyncio.get_running_loop().run_in_executor(self._executor, self._journal.read)
        except (sqlite3.Error, OSError) as error:
            self._note(error)
            # What is in it must not be replaced: the next start reads it.
            self._number = time.time_ns()
        else:
            self._state = contents.state
            for entry in contents.entries:
                self._number = max(self._number, entry.number)
                if not self.queue(entry.endpoint).add(entry):
                    self._removed.add(entry.number)
        self._task = asyncio.create_task(self._run(), name=f"{self._what}-outbox")

    async def close(self) -> None:
        """Write what has changed, and close the journal."""
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self.flush()
        self._task.cancel()
        await asyncio.wait([self._task])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.get_running_loop().run_in_executor(self._executor, self._journal.close)
        self._executor.shutdown(wait=False)

    # --- messages

    def queue(self, endpoint: str) -> EndpointQueue:
        """The queue of an endpoint."""
        found = self._queues.get(endpoint)
        if found is None:
            found = self._queues[endpoint] = EndpointQueue(self._on_removed, self._queue_max)
        return found

    def retain(self, endpoints: Collection[str]) -> None:
        """Forget all other endpoints: they were removed from the settings."""
        for name in self._queues.keys() - set(endpoints):
            self._queues.pop(name).clear("removed")
        for key in [each for each in self._state if each.startswith(ENDPOINT)]:
            if key.removeprefix(ENDPOINT) not in endpoints:
                self.set(key, None)

    def add(self, endpoint: str, message_id: str, kind: str, body: bytes, created_s: float) -> None:
        """Append a message to the queue of an endpoint."""
        self._number += 1
        entry = Entry(self._number, endpoint, message_id, kind, body, created_s)
        self._added[entry.number] = entry
        if not self.queue(endpoint).add(entry):
            del self._added[entry.number]
            return
        self._dirty.set()

    def _on_removed(self, entry: Entry) -> None:
        if self._added.pop(entry.number, None) is None:
            self._removed.add(entry.number)
        self._dirty.set()

    # --- texts of the sources (rule 4)

    def get(self, name: str) -> str | None:
        """A text."""
        return self._state.get(name)

    def set(self, name: str, value: str | None) -> None:
        """Keep a text; ``None`` removes it."""
        if self._state.get(name) == value:
            return
        if value is None:
            self._state.pop(name, None)
        else:
            self._state[name] = value
        self._changed_state[name] = value
        self._dirty.set()

    # --- the journal

    @property
    def is_saved(self) -> bool:
        """Whether the journal has everything."""
        return not (self._added or self._removed or self._changed_state or self._is_writing or self._dirty.is_set())

    async def flush(self) -> None:
        """Wait until everything up to now was written, or the disk has failed."""
        if self._task is None or self.is_saved:
            return
        if self._written is None:
            self._written = asyncio.get_running_loop().create_future()
        self._dirty.set()
        await asyncio.shield(self._written)

    async def _run(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            written, self._written = self._written, None
            try:
                await self._write()
            except (sqlite3.Error, OSError) as error:
                self._note(error)
            else:
                if self.error is not None:
                    log.info("%s: the outbox is on the disk again", self._what)
                self.error = None
            if written is not None and not written.done():
                written.set_result(None)
            if self.error is not None:
                await asyncio.sleep(RETRY_S)
                self._dirty.set()

    async def _write(self) -> None:
        added, self._added = self._added, {}
        removed, self._removed = self._removed, set()
        state, self._changed_state = self._changed_state, {}
        loop = asyncio.get_running_loop()
        self._is_writing = True
        try:
            await loop.run_in_executor(self._executor, self._journal.write, list(added.values()), list(removed), state)
        except (sqlite3.Error, OSError):
            gone = {number for number in added if number in self._removed}
            self._removed = (self._removed | removed) - gone
            self._added = {number: entry for number, entry in added.items() if number not in gone} | self._added
            self._changed_state = state | self._changed_state
            # The file may have been replaced, or its disk mounted again.
            await loop.run_in_executor(self._executor, self._journal.close)
            raise
        finally:
            self._is_writing = False

    def _note(self, error: Exception) -> None:
        if self.error is None:
            log.warning("%s: the outbox cannot be written, messages are kept in memory: %s", self._what, error)
        self.error = str(error)
