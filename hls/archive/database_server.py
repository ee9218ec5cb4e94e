"""DatabaseServer: a server behind ``DATABASE_URL`` or ``CLUSTER_URL`` that may be away, slow or silent.

Rules:

1. What the server or its driver says goes to the log alone, once for each kind of failure: it has the server's address.
2. A server that is away is tried again with each transaction. After an attempt that took long, transactions fail at
   once for as long, so that those who wait do not add up.
3. A transaction that the server does not answer can be ended from another thread (:meth:`DatabaseServer.interrupt`).
"""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import URL, Engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from gateway.errors import StorageError, redact

log = logging.getLogger(__name__)

AWAY = "the database of the index cannot be reached at present"

CONNECT_TIMEOUT_S = 3
"""How long a server may take to accept a connection. ``connect_timeout`` in ``DATABASE_URL`` replaces it."""

SILENT_MAX_S = 10
"""A server whose machine does not acknowledge for this long is away (``tcp_user_timeout``, RFC 5482)."""

LONG_S = 1.0
"""An attempt that took so long is followed by a pause (rule 2)."""

PAUSE_MAX_S = 5.0
"""The longest pause of rule 2."""

_LIBPQ_DRIVERS = {"psycopg", "psycopg2"}
_LIBPQ = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "tcp_user_timeout": SILENT_MAX_S * 1000,
    "keepalives_idle": SILENT_MAX_S,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
"""postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS"""


class DatabaseServer:
    """See the module. One thread at a time, except where a method says otherwise.

    ``setting`` has its URL, for the log. ``away`` is the error while it cannot be reached.
    """

    def __init__(self, setting: str = "DATABASE_URL", away: str = AWAY) -> None:
        self._setting = setting
        self._away = away
        self._connection: Any = None
        """The newest connection of the driver (PEP 249)."""
        self._in_transaction = False
        self._fault = ""
        """The kind of the present failure."""
        self._paused_until_s = 0.0

    @staticmethod
    def options(url: URL) -> dict[str, Any]:
        """Arguments for ``create_engine``."""
        # The server may have been restarted since the last call.
        options: dict[str, Any] = {"pool_pre_ping": True}
        if url.get_driver_name() in _LIBPQ_DRIVERS:
            options["connect_args"] = {name: value for name, value in _LIBPQ.items() if name not in url.query}
        return options

    def watch(self, engine: Engine) -> None:
        """Know the connections of an engine."""
        event.listen(engine, "connect", self._on_connect)

    def _on_connect(self, connection: Any, _: object) -> None:
        self._connection = connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Around one transaction. Raises :class:`~gateway.errors.StorageError` for SQLAlchemy's errors."""
        began_s = time.monotonic()
        if began_s < self._paused_until_s:
            raise StorageError(self._away)
        self._in_transaction = True
        try:
            yield
        except SQLAlchemyError as error:
            raise self._failed(error, time.monotonic() - began_s) from None
        finally:
            self._in_transaction = False
        if self._fault:
            log.info("the database of %s answers again", self._setting)
            self._fault = ""

    def _failed(self, error: SQLAlchemyError, took_s: float) -> StorageError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        sql_state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
        is_away = sql_state is None and (is_lost or took_s >= LONG_S or type(cause).__name__ == "OperationalError")
        # Connection exceptions; the server is being ended or started; it has ended a transaction that this process did
        # not go on with, because it was paused (PostgreSQL, appendix A).
        is_away = is_away or str(sql_state).startswith(("08", "57P", "25P03"))
        fault = "away" if is_away else f"{type(cause).__name__} {sql_state or ''}".strip()
        if fault != self._fault:
            log.warning("the database of %s failed: %s", self._setting, redact(cause))
            self._fault = fault
        if not is_away:
            return StorageError(f"the database of {self._setting} failed: {fault}")
        if took_s >= LONG_S:
            self._paused_until_s = time.monotonic() + min(took_s, PAUSE_MAX_S)
        return StorageError(self._away)

    def interrupt(self) -> None:
        """End a transaction that the server does not answer: it fails. From any thread."""
        if not self._in_transaction or self._connection is None:
            return
        log.warning("the database of %s does not answer; the connection is closed", self._setting)
        # The driver waits for this socket, and no other method of it may be called meanwhile.
        with contextlib.suppress(Exception), socket.socket(fileno=os.dup(self._connection.fileno())) as connected:
            connected.shutdown(socket.SHUT_RDWR)
