"""MalformedRequests: count requests that are not HTTP, instead of a traceback in the log for each.

aiohttp answers them 400 before any middleware, and logs each as an error, as if the gateway had failed.
"""

import logging
from collections import Counter

from aiohttp.http_exceptions import HttpProcessingError

log = logging.getLogger(__name__)


class MalformedRequests(logging.Filter):
    """A filter of aiohttp's log. ``refused`` counts refused requests by reason."""

    def __init__(self, refused: Counter[str]) -> None:
        super().__init__()
        self._refused = refused

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        self._refused["malformed"] += 1
        log.debug("%s: not HTTP: %s", record.getMessage(), type(error).__name__)
        return False
