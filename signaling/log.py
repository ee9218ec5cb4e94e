"""The logger that python-socketio and python-engineio are given.

Left alone they put a handler of their own on the root, and at INFO they log addresses with credentials, and whole
payloads. So they get one that speaks of errors only, cut by :func:`gateway.errors.redact`.
"""

import logging

from gateway.errors import redact


class _Redacting(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        return True


def library_logger() -> logging.Logger:
    """The one logger for all of them."""
    logger = logging.getLogger("signaling.socketio")
    if not logger.filters:
        logger.setLevel(logging.ERROR)
        logger.addFilter(_Redacting())
    return logger
