"""The log: one line an event on standard error, for people or (``LOG_FORMAT=json``) as one JSON object.

Levels: DEBUG detail of frames and libraries, INFO changes of state, WARNING what is tried again, ERROR what is lost.

Rules:

1. No credential of any URL reaches the log, whoever wrote the line: this is the last line of defence.
2. One event is one line, whatever a client put into it; only a traceback has more, and in JSON not even that.
3. The same event within ``STORM_S`` is counted and not repeated; how often it came is told when that time is over, with
   the next line of any kind. DEBUG is left alone: who asked for detail gets it.
4. Lines name cameras and viewers in words (``camera %s: viewer %s …``); the fields of JSON are read off the template,
   so that nobody has to write them twice.
"""

import json
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from gateway.errors import redact
from web.settings import LogFormat, Settings

STORM_S = 10.0
"""Longer than CONNECTION_RETRY_DELAY: a camera that cannot be reached is a line now and then, not one an attempt."""

STORMS_MAX = 512
"""Different events that are remembered at a time; the oldest are forgotten first."""

LIBRARIES = ("aioice", "aiortc", "socketio", "engineio", "libav", "asyncio", "py.warnings", "dotenv")
"""Their INFO is our DEBUG."""

_SUBJECT = re.compile(r"(?:\b(?P<field>camera|viewer) )?%(?:%|[-#0 +]*\d*(?:\.\d+)?[a-zA-Z])")


def set_up_logging(settings: Settings) -> None:
    """Log as the settings say; again with others is fine."""
    handler = CalmHandler()
    handler.setFormatter(JsonFormatter() if settings.log_format is LogFormat.JSON else ConsoleFormatter())
    root = logging.getLogger()
    for old in root.handlers:
        if isinstance(old, CalmHandler):
            old.tell_storms(everything=True)
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if settings.debug else logging.INFO)
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.INFO if settings.debug else logging.WARNING)
    logging.captureWarnings(True)


def subjects(record: logging.LogRecord) -> dict[str, str]:
    """Which camera and which viewer a line is about; rule 4."""
    if isinstance(known := getattr(record, "subjects", None), dict):
        return known
    found: dict[str, str] = {}
    if not isinstance(record.args, tuple):
        return found
    place = 0
    for match in _SUBJECT.finditer(str(record.msg)):
        if match[0].endswith("%%"):
            continue
        if match["field"] and place < len(record.args):
            found.setdefault(match["field"], str(record.args[place]))
        place += 1
    return found


class ConsoleFormatter(logging.Formatter):
    """``2026-11-23T18:50:00.123Z INFO    gateway.camera: camera door: live``."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {_message(record)}"
        if record.exc_info:
            line += "\n" + redact(self.formatException(record.exc_info))
        return line


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "message"}`` and, where there is one, ``camera, viewer, repeated, exception``."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        fields |= {name: redact(value) for name, value in subjects(record).items()}
        if repeated := getattr(record, "repeated", 0):
            fields["repeated"] = repeated
        if record.exc_info:
            fields["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(fields, ensure_ascii=False)


@dataclass(slots=True)
class _Storm:
    record: logging.LogRecord
    since_s: float
    times: int = 0


class CalmHandler(logging.StreamHandler[TextIO]):
    """Writes to standard error; rule 3. ``clock`` gives monotonic seconds."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._storms: OrderedDict[tuple[str, int, str], _Storm] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        # logging holds the handler's lock around this.
        self.tell_storms()
        if record.levelno <= logging.DEBUG:
            super().emit(record)
            return
        key = (record.name, record.levelno, _message(record))
        storm = self._storms.get(key)
        if storm is not None:
            storm.times += 1
            return
        self._storms[key] = _Storm(_bare(record), self._clock())
        if len(self._storms) > STORMS_MAX:
            self._tell(self._storms.popitem(last=False)[1])
        super().emit(record)

    def tell_storms(self, *, everything: bool = False) -> None:
        """Say how often came what is over."""
        now_s = self._clock()
        while self._storms:
            key, storm = next(iter(self._storms.items()))
            if not everything and now_s - storm.since_s < STORM_S:
                return
            del self._storms[key]
            self._tell(storm)

    def close(self) -> None:
        """Say what is left to say."""
        self.acquire()
        try:
            self.tell_storms(everything=True)
        finally:
            self.release()
        super().close()

    def _tell(self, storm: _Storm) -> None:
        if not storm.times:
            return
        storm.record.created = time.time()
        storm.record.repeated = storm.times
        super().emit(storm.record)


def _bare(record: logging.LogRecord) -> logging.LogRecord:
    """A record to keep: its words, and nothing that would keep a traceback and all in its frames alive."""
    return logging.makeLogRecord(
        {
            "name": record.name,
            "levelno": record.levelno,
            "levelname": record.levelname,
            "msg": _message(record),
            "subjects": subjects(record),
        }
    )


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except (TypeError, ValueError):
        message = f"{record.msg} {record.args}"  # a line that was written wrongly is still a line
    message = redact(message)
    if any(character < " " for character in message):
        message = "".join(c if c >= " " else c.encode("unicode_escape").decode() for c in message)
    repeated = getattr(record, "repeated", 0)
    return f"{message} ({repeated} more of these)" if repeated else message


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
