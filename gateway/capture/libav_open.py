"""LibavInput: a source that libav has opened, with the bounds that libav does not have.

Rules:

1. An opening takes ``timeout_s`` at most, redirects included, and so does each silence: the input's
   :class:`~gateway.capture.watch.Watch`. libav itself has no time-out; PyAV's would take the GIL for every packet.
2. :meth:`LibavInput.interrupt` makes a thread that waits inside libav return at once, from any other thread.
3. What the input knows about an error comes before libav's error number.
"""

from abc import ABC, abstractmethod
from typing import Any

import av
from av.container import InputContainer

from gateway.capture.engine import CaptureSource
from gateway.capture.libav_errors import open_error, read_error
from gateway.capture.url import CameraUrl
from gateway.capture.watch import Watch
from gateway.errors import CaptureError

LIBAV_ERRORS = (av.FFmpegError, OSError, ValueError)
"""What PyAV raises for a source that cannot be opened or read."""


class LibavInput(ABC):
    """See the module. One thread opens, reads and closes it. ``url`` is the one that messages name."""

    def __init__(self, source: CaptureSource, url: CameraUrl, watch: Watch) -> None:
        self.source = source
        self.url = url
        self.watch = watch

    @abstractmethod
    def open(self) -> InputContainer | None:
        """Open the source; ``None`` after an interrupt. Raises a :class:`~gateway.errors.CaptureError`."""

    @abstractmethod
    def interrupt(self) -> None:
        """End it; see rule 2."""

    @property
    @abstractmethod
    def is_interrupted(self) -> bool:
        """Whether it was interrupted."""

    @property
    @abstractmethod
    def known_error(self) -> CaptureError | None:
        """Why it ended, where that is known."""

    @abstractmethod
    def close(self) -> None:
        """Release everything. The container is closed before."""

    def open_error(self, error: Exception) -> CaptureError:
        """The error for one of :data:`LIBAV_ERRORS` while it was opened."""
        return self.known_error or open_error(error, self.url, self.source.timeout_s)

    def read_error(self, error: Exception) -> CaptureError:
        """The same while it was read."""
        return self.known_error or read_error(error, self.url)


def av_open(name: str, **options: Any) -> InputContainer:
    """``av.open``, for reading."""
    # Cameras name their sessions in any encoding, and liveedge does not use the names.
    container: InputContainer = av.open(name, "r", metadata_errors="replace", **options)
    return container
