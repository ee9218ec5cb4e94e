"""A third-party engine that fails with secrets in its exception: ``tests.support.crashing_engine:Engine``."""

from collections.abc import Iterator

from gateway.capture.engine import CaptureEngine
from gateway.capture.url import parse
from gateway.media import Packet


class Engine(CaptureEngine):
    """Its exception contains the camera's URL."""

    def packets(self) -> Iterator[Packet]:
        try:
            raise ConnectionError(f"no answer from {self.source.url}")
        except ConnectionError as error:
            raise RuntimeError(f"could not open {parse(self.source.url)} ({self.source.url})") from error
        yield

    def interrupt(self) -> None:
        return
