"""AccessIndex: where tokens and links are kept. For the event loop.

That is the database of the index (:class:`~hls.archive.index.SegmentIndex`). Workers share that of the first one, where
one process keeps them too: so they stay with another number of ``WORKERS``. The first worker has it open,
:class:`FileIndex` is for the others, and :class:`SharedIndex` tells all of them what one has written.

Rules:

1. :class:`FileIndex` opens the file for each transaction. It makes no file, migrates nothing and repairs nothing: all
   that is the first worker's, which may also put another file in the place of one that is damaged.
2. Without the file, or its tables, a call raises ``StorageError``.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import StorageError, UnavailableError, redact
from hls.archive.database import INDEX_FILE
from web.auth import access_table
from web.auth.access_table import AccessDatabase
from web.auth.shared_access import SharedAccess

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

BUSY_S = 5.0
"""How long a statement waits for the first worker's."""

CALLS_MAX = 256

NO_NEWS = (access_table.load_tokens, access_table.load_links, access_table.note_uses)
"""What changes nothing that another worker has to know."""


class AccessIndex(Protocol):
    """See the module."""

    async def call(self, function: Callable[Concatenate[AccessDatabase, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function of :mod:`web.auth.access_table`. Raises ``StorageError`` and ``UnavailableError``."""
        ...


class SharedIndex:
    """An index that other workers read."""

    def __init__(self, index: AccessIndex, shared: SharedAccess) -> None:
        self._index = index
        self._shared = shared

    async def call(self, function: Callable[Concatenate[AccessDatabase, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See :class:`AccessIndex`."""
        result = await self._index.call(function, *args, **kwargs)
        if function not in NO_NEWS:
            try:
                await self._shared.announce()
            except UnavailableError as error:
                log.warning("the other workers learn within a minute what was given or revoked: %s", error)
        return result


class _File:
    """The file of the first worker's index."""

    def __init__(self, path: Path) -> None:
        self._engine = create_engine("sqlite://", poolclass=NullPool, creator=partial(_connect, path))

    @contextlib.contextmanager
    def transaction(self, *, is_synced: bool = False) -> Iterator[Connection]:
        """One transaction. Raises ``StorageError``."""
        try:
            with self._engine.connect() as connection:
                if is_synced:
                    connection.exec_driver_sql("PRAGMA synchronous = FULL")
                    connection.commit()
                with connection.begin():
                    yield connection
        except SQLAlchemyError as error:
            raise StorageError(f"the index of the first worker failed: {redact(error)}") from None


class FileIndex:
    """See the module. ``data_dir`` is that of the first worker."""

    def __init__(self, data_dir: Path) -> None:
        self._file = _File(data_dir / INDEX_FILE)
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def call(self, function: Callable[Concatenate[AccessDatabase, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See :class:`AccessIndex`."""
        if self._waiting >= CALLS_MAX:
            raise UnavailableError("the index has too many requests at present", retry_after_s=2)
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(function, self._file, *args, **kwargs)
        finally:
            self._waiting -= 1


def _connect(path: Path) -> Any:
    # The mode makes no file (rule 1).
    uri = f"{path.resolve().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_S, check_same_thread=False)
