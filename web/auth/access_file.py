"""AccessFile: where the workers of one machine keep what they share of access, for :mod:`web.auth.shared_access`.

Rules:

1. The file is made anew when the gateway starts, for its user alone. A restart ends the sign-ins, as with one process;
   a worker that is started again finds them.
2. Moments are those of the monotonic clock, which all processes of a machine share.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, Float, StaticPool, create_engine, insert, literal
from sqlalchemy.exc import SQLAlchemyError

from gateway.clock import Clock
from gateway.errors import UnavailableError, redact
from hls.cluster import schema
from web.auth.sign_in_table import Moment

P = ParamSpec("P")
R = TypeVar("R")

BUSY_S = 5.0
"""How long a statement waits for another process."""

CALLS_MAX = 256


def make_file(path: Path) -> None:
    """Make an empty file, before any worker runs (rule 1). Blocking. Raises ``OSError`` and ``SQLAlchemyError``."""
    for name in ("", "-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    engine = _engine(path)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            schema.tables.create_all(connection, [schema.change, schema.sign_in])
            connection.execute(insert(schema.change).values(number=0))
    finally:
        engine.dispose()


class AccessFile:
    """See the module, and :class:`~web.auth.shared_access.AccessStore`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._engine = _engine(path)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="shared-access")
        self._waiting = 0
        self._is_closed = False

    async def call(
        self, function: Callable[Concatenate[Connection, Moment, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        if self._is_closed:
            raise UnavailableError("the gateway is stopping", retry_after_s=5)
        if self._waiting >= CALLS_MAX:
            raise UnavailableError("too many requests ask for sign-ins at present", retry_after_s=2)
        self._waiting += 1

        def execute() -> R:
            try:
                with self._engine.begin() as connection:
                    return function(connection, literal(self._clock.monotonic(), Float), *args, **kwargs)
            except SQLAlchemyError as error:
                raise UnavailableError(
                    f"the file that the workers share cannot be used at present ({redact(error)})", retry_after_s=2
                ) from None

        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, execute)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        self._is_closed = True
        await asyncio.to_thread(self._executor.shutdown)
        self._engine.dispose()


def _engine(path: Path) -> Engine:
    def connect() -> Any:
        uri = f"{path.resolve().as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, check_same_thread=False)
        # Rule 1: nothing in it is needed after a crash of the machine.
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    return create_engine("sqlite://", creator=connect, poolclass=StaticPool)
