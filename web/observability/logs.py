"""The log: one line per event on standard error, for people or (``LOG_FORMAT=json``) as a JSON object.

Levels: DEBUG details of frames and libraries, INFO changes of state, WARNING what is tried again, ERROR what is lost.

Rules:

1. No credential of a URL reaches the log, whichever module wrote the line: :class:`RateLimitedHandler` redacts every
   record.
2. One event is one line, whatever text a client sent. Only a traceback has more lines, and none in JSON.
3. The same message within :data:`REPEAT_S` is counted and not repeated (:class:`RateLimitedHandler`).
4. So are messages of one kind beyond :data:`VARIANTS_MAX`: those of one place in the code, about the same camera or
   none, that differ in an address or an id.
5. The caller passes the fields of the JSON object: ``extra={"camera": …, "viewer": …, "client": …}``.
"""

import copy
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter as JsonLogFormatter

from gateway.errors import redact
from web.settings import LogFormat, Settings

REPEAT_S = 10.0
"""Longer than CONNECTION_RETRY_DELAY, so that an unreachable camera is not a line for each attempt."""

MESSAGES_MAX = 512
"""Different messages that are remembered at a time. Beyond it, the oldest is forgotten."""

VARIANTS_MAX = 50
"""Messages of one kind that are written within :data:`REPEAT_S`. An attack from many addresses has more."""

LIBRARIES = ("aioice", "aiortc", "socketio", "engineio", "libav", "asyncio", "py.warnings", "dotenv")
"""Libraries whose INFO is shown only with DEBUG."""


_worker: int | None = None


def name_worker(number: int) -> None:
    """This process is a worker: each line says which, once :func:`set_up_logging` is called."""
    global _worker  # noqa: PLW0603  (one log a process)
    _worker = number


def set_up_logging(settings: Settings) -> None:
    """Log as the settings say. May be called again with other settings."""
    handler = RateLimitedHandler()
    handler.setFormatter(JsonFormatter() if settings.log_format is LogFormat.JSON else ConsoleFormatter())
    root = logging.getLogger()
    for old in root.handlers:
        if isinstance(old, RateLimitedHandler):
            old.flush_repeats(all_of_them=True)
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if settings.debug else logging.INFO)
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.INFO if settings.debug else logging.WARNING)
    logging.captureWarnings(True)


class _UtcTime(logging.Formatter):
    """RFC 3339 in UTC, with milliseconds."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


class ConsoleFormatter(_UtcTime):
    """``2026-11-23T18:50:00.123Z INFO    gateway.camera: camera door: live``."""

    def __init__(self) -> None:
        worker = f"[worker {_worker}] " if _worker is not None else ""
        super().__init__(f"%(asctime)s %(levelname)-7s {worker}%(name)s: %(message)s")


class JsonFormatter(JsonLogFormatter, _UtcTime):
    """``time``, ``level``, ``logger``, ``message``, the fields of the caller, and ``repeated`` and ``exception``."""

    def __init__(self) -> None:
        super().__init__(
            ["asctime", "levelname", "name", "message"],
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger", "exc_info": "exception"},
            json_ensure_ascii=False,
        )

    def process_log_record(self, log_data: dict[str, object]) -> dict[str, object]:
        """Write the level in lower case."""
        worker = {"worker": _worker} if _worker is not None else {}
        return log_data | {"level": str(log_data["level"]).lower()} | worker


@dataclass(slots=True)
class _Repeats:
    record: logging.LogRecord
    since_s: float
    count: int = 0
    created: float = 0.0
    """When the first one came, if that is not ``record`` (Unix seconds)."""


@dataclass(slots=True)
class _Kind:
    since_s: float
    written: int = 0
    left_out: _Repeats | None = None
    """The newest record that was not written, and how many there were."""


class RateLimitedHandler(logging.StreamHandler[TextIO]):
    """Writes redacted records to standard error, each message at most once within :data:`REPEAT_S`.

    Repeats are counted. Their number and the time of the first message are written when the next line of any kind
    follows after that time: ``repeated 3 times since 19:07:32Z: camera door: …``; for messages of one kind (rule 4),
    with the newest one: ``40 more like this since 19:07:32Z: wrong token from …``. DEBUG is not limited.

    ``clock`` gives monotonic seconds.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._repeats: OrderedDict[tuple[str, int, str], _Repeats] = OrderedDict()
        self._kinds: OrderedDict[tuple[str, int, str, str], _Kind] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        # logging holds the handler's lock meanwhile.
        self.flush_repeats()
        message = _message(record)
        if record.levelno <= logging.DEBUG:
            super().emit(_redacted(record, message))
            return
        key = (record.name, record.levelno, message)
        if (repeats := self._repeats.get(key)) is not None:
            repeats.count += 1
            return
        if self._is_left_out(record, message):
            return
        record = _redacted(record, message)
        self._repeats[key] = _Repeats(record, self._clock())
        if len(self._repeats) > MESSAGES_MAX:
            self._write_count(self._repeats.popitem(last=False)[1])
        super().emit(record)

    def _is_left_out(self, record: logging.LogRecord, message: str) -> bool:
        """Rule 4. Counts the record."""
        key = (record.name, record.levelno, str(record.msg), str(getattr(record, "camera", "")))
        kind = self._kinds.setdefault(key, _Kind(self._clock()))
        if len(self._kinds) > MESSAGES_MAX:
            self._write_left_out(self._kinds.popitem(last=False)[1])
        if kind.written < VARIANTS_MAX:
            kind.written += 1
            return False
        created = kind.left_out.created if kind.left_out is not None else record.created
        count = kind.left_out.count + 1 if kind.left_out is not None else 1
        kind.left_out = _Repeats(_redacted(record, message), kind.since_s, count, created)
        return True

    def flush_repeats(self, *, all_of_them: bool = False) -> None:
        """Write how often messages were repeated, for those whose time is over."""
        now_s = self._clock()
        while self._repeats:
            key, repeats = next(iter(self._repeats.items()))
            if not all_of_them and now_s - repeats.since_s < REPEAT_S:
                break
            del self._repeats[key]
            self._write_count(repeats)
        while self._kinds:
            kind_key, kind = next(iter(self._kinds.items()))
            if not all_of_them and now_s - kind.since_s < REPEAT_S:
                return
            del self._kinds[kind_key]
            self._write_left_out(kind)

    def close(self) -> None:
        """Write the counts that are left."""
        self.acquire()
        try:
            self.flush_repeats(all_of_them=True)
        finally:
            self.release()
        super().close()

    def _write_count(self, repeats: _Repeats) -> None:
        times = "once" if repeats.count == 1 else f"{repeats.count} times"
        self._write(repeats, f"repeated {times}")

    def _write_left_out(self, kind: _Kind) -> None:
        if kind.left_out is not None:
            self._write(kind.left_out, f"{kind.left_out.count} more like this")

    def _write(self, repeats: _Repeats, count: str) -> None:
        if not repeats.count:
            return
        record = repeats.record
        first = time.strftime("%H:%M:%SZ", time.gmtime(repeats.created or record.created))
        record.created = time.time()
        record.msecs = record.created % 1 * 1000
        record.repeated = repeats.count
        record.msg = f"{count} since {first}: {record.msg}"
        record.exc_text = None
        super().emit(record)


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except (TypeError, ValueError):
        message = f"{record.msg} {record.args}"  # a wrong format string must not lose the event
    message = redact(message)
    if any(character < " " for character in message):
        message = "".join(c if c >= " " else c.encode("unicode_escape").decode() for c in message)
    return message


def _redacted(record: logging.LogRecord, message: str) -> logging.LogRecord:
    """A copy with the final message and without credentials. It keeps no traceback, which would keep frames alive."""
    record = copy.copy(record)
    if record.exc_info:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    record.msg, record.args, record.exc_info = message, None, None
    for name, value in vars(record).items():
        if isinstance(value, str) and name != "msg":
            setattr(record, name, redact(value))
    return record
