"""StorageHealth: whether the object storage can be used, and when it is tried again.

Rules:

1. A storage that fails is tried again, at first after a second, and less and less often up to :data:`PAUSE_MAX_S`.
2. What fails for a reason that nobody expected is logged at once, and told as the error of the storage.
"""

import logging

from gateway.backoff import Backoff
from gateway.clock import Clock
from gateway.errors import LiveedgeError, StorageError

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0

PAUSE_MAX_S = 60.0


class StorageHealth:
    """See the module. ``url`` is that of the storage, for the log."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.error: str | None = None
        """Why the storage cannot be used."""
        self.is_known_good = False
        """Whether it was reached since the start."""
        self.failures = 0
        self._url = url
        self._clock = clock
        self._backoff = Backoff(0, FIRST_PAUSE_S, longest_s=PAUSE_MAX_S)
        self._retry_at_s = float("-inf")

    @property
    def is_due(self) -> bool:
        """Whether the storage may be asked now."""
        return self._clock.monotonic() >= self._retry_at_s

    def succeeded(self) -> None:
        """The storage did what it was asked for."""
        if not self.is_known_good or self.error is not None:
            log.info("archive: the object storage is in use: %s", self._url)
        self.is_known_good, self.error = True, None
        self._backoff.reset()

    def failed(self, error: LiveedgeError) -> None:
        """Rule 1."""
        if self.error != str(error):
            log.warning("archive: %s; recording goes on to the disk, and what is missing is uploaded later", error)
        self.error = str(error)
        self.failures += 1
        # Turns that fail together are one failure: each would make the pause longer.
        if self.is_due:
            self._retry_at_s = self._clock.monotonic() + self._backoff.failed()

    def failed_on_disk(self, error: OSError) -> None:
        """The disk failed, not the storage: nothing can be uploaded."""
        self.failed(StorageError(f"DATA_DIR cannot be used: {error.strerror}"))

    def unexpected(self, what: str, error: Exception) -> None:
        """Rule 2. The exception itself is for the log alone: it may have secrets."""
        log.error("archive: %s: an unexpected error", what, exc_info=error)
        self.failed(StorageError(f"{what}: an internal error, {type(error).__name__}; the log says more"))
