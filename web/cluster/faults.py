"""Faults: unexpected exceptions in the tasks of a node. They are logged at once and told, and the tasks go on."""

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

TOLD_S = 60.0
"""A fault is reported for so long after it last happened. One that happens again and again is logged as often."""


class Faults:
    """See the module. ``monotonic`` in seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        """Since the start."""
        self._monotonic = monotonic
        self._message = ""
        self._last_s = float("-inf")
        self._logged_s: dict[str, float] = {}

    @property
    def message(self) -> str | None:
        """The newest fault of the last :data:`TOLD_S`, as a sentence without text of the exception: that may have
        secrets."""
        return self._message if self._monotonic() - self._last_s < TOLD_S else None

    def add(self, what: str, error: Exception) -> None:
        """``what`` failed, as a phrase such as "the owners could not be followed"."""
        now_s = self._monotonic()
        self.count += 1
        self._message = f"{what}: an internal error, {type(error).__name__}; the log says more"
        self._last_s = now_s
        self._logged_s = {key: logged_s for key, logged_s in self._logged_s.items() if now_s - logged_s < TOLD_S}
        if self._message not in self._logged_s:
            self._logged_s[self._message] = now_s
            log.error("cluster: %s", what, exc_info=error)
