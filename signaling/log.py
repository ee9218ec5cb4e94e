"""The logger that python-socketio and python-engineio are given.

By default they add a handler to the root logger, and at INFO they log addresses with credentials and whole payloads.
This logger passes errors only, and removes credentials with :func:`gateway.errors.redact`.
"""

import logging

from gateway.errors import redact


class _RedactingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        return True


def library_logger() -> logging.Logger:
    """The one logger for both libraries. It is configured by the first call, not by import."""
    logger = logging.getLogger("signaling.socketio")
    if not logger.filters:
        logger.setLevel(logging.ERROR)
        logger.addFilter(_RedactingFilter())
    return logger
