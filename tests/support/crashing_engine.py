"""An engine of somebody's own that fails, and says all that it knows: ``tests.support.crashing_engine:Engine``."""

from collections.abc import Iterator

from gateway.capture.engine import CaptureEngine
from gateway.capture.url import parse
from gateway.media import Packet


class Engine(CaptureEngine):
    """It cannot keep a secret."""

    def packets(self) -> Iterator[Packet]:
        try:
            raise ConnectionError(f"no answer from {self.source.url}")
        except ConnectionError as error:
            raise RuntimeError(f"could not open {parse(self.source.url)} ({self.source.url})") from error
        yield

    def interrupt(self) -> None:
        return
