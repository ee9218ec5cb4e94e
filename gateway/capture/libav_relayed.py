"""RelayedInput: a camera that libav reads through a relay of ours, which connects, checks and bounds.

Theory of operation. libav connects to a port of this machine, and the relay on the background loop to the camera. libav
has no time-out: a wait of it ends because the relay closes its connection.
"""

import asyncio
import threading
from abc import abstractmethod
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from typing import Generic, Protocol, TypeVar

from gateway.capture import camera_errors
from gateway.capture.background_loop import background_loop
from gateway.capture.camera_errors import host_and_port
from gateway.capture.engine import CaptureSource
from gateway.capture.libav_open import LibavInput
from gateway.capture.url import CameraUrl
from gateway.capture.watch import Watch
from gateway.errors import CaptureError

CLOSE_S = 1.0
"""How long closing waits for the relay, in seconds; it takes milliseconds."""


class Relay(Protocol):
    """One connection to a camera. All methods are called on the loop.

    ``error`` is what the camera did wrong, ``refusal`` is what it refused last.
    """

    error: CaptureError | None
    refusal: CaptureError | None

    async def start(self) -> str:
        """Connect to the camera; the URL that libav opens. Raises a :class:`~gateway.errors.CaptureError`."""
        ...

    def end(self) -> None:
        """Close all connections at once."""
        ...

    async def close(self) -> None:
        """End, and wait until everything is closed."""
        ...


RelayT = TypeVar("RelayT", bound=Relay)


class RelayedInput(LibavInput, Generic[RelayT]):
    """See the module."""

    def __init__(self, source: CaptureSource, url: CameraUrl) -> None:
        watch = Watch(
            source.timeout_s,
            host_and_port(url),
            camera_errors.timed_out(url, source.timeout_s),
            lambda: camera_errors.silent(url, source.timeout_s),
        )
        super().__init__(source, url, watch)
        self._resources = ExitStack()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._relay: RelayT | None = None
        self._starting: Future[str] | None = None

    @abstractmethod
    def _make_relay(self) -> RelayT:
        """A relay to where the camera is."""

    def interrupt(self) -> None:
        with self._lock:
            self._stop.set()
            if self._starting is not None:
                self._starting.cancel()
            relay, loop = self._relay, self._loop
            if relay is not None and loop is not None:
                loop.call_soon_threadsafe(relay.end)

    @property
    def is_interrupted(self) -> bool:
        return self._stop.is_set()

    @property
    def known_error(self) -> CaptureError | None:
        return None if self._relay is None else self._relay.error or self._relay.refusal

    def close(self) -> None:
        self._close_relay()
        with self._lock:
            self._loop = None
        self._resources.close()

    def _start_relay(self) -> str | None:
        """The URL of a new relay; ``None`` after an interrupt."""
        with self._lock:
            if self.is_interrupted:
                return None
            if self._loop is None:
                self._loop = self._resources.enter_context(background_loop())
            self._relay = relay = self._make_relay()
            self._starting = starting = asyncio.run_coroutine_threadsafe(relay.start(), self._loop)
        try:
            return starting.result(max(0.0, self.watch.remaining_s))
        except CancelledError:
            return None
        except TimeoutError:
            starting.cancel()
            raise camera_errors.timed_out(self.url, self.source.timeout_s) from None
        finally:
            with self._lock:
                self._starting = None

    def _close_relay(self) -> None:
        with self._lock:
            relay, loop = self._relay, self._loop
        if relay is not None and loop is not None:
            closing = asyncio.run_coroutine_threadsafe(relay.close(), loop)
            try:
                closing.result(CLOSE_S)
            except TimeoutError:
                closing.cancel()
