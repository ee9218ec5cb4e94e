"""RelayCaptureEngine: the packets of a camera that another node of a cluster captures.

Theory of operation. A run is one stream (:mod:`gateway.capture.relay_protocol`) from the owner of the camera. How its
bytes come is not known here: ``connect`` is passed in. All that is behind the hub works as for a camera.

Rules:

1. The packets are the owner's: frames, times and parameters. The number of the run is this node's own, which grows by
   one where the owner's does.
2. What the owner says of a camera without video is :attr:`problem` here.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from gateway.capture.engine import AsyncCaptureEngine, CaptureSource
from gateway.capture.relay_protocol import End, Hello, RelayDecoder, State
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import CameraEndedError
from gateway.media import Packet

RelayConnect = Callable[[CaptureSource], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""Opens a stream of the camera's owner. Raises a :class:`~gateway.errors.CaptureError`, at the beginning and later."""


class RelayCaptureEngine(AsyncCaptureEngine):
    """See the module."""

    def __init__(self, source: CaptureSource, clock: Clock, connect: RelayConnect) -> None:
        super().__init__(source, clock or SYSTEM_CLOCK)
        self._connect = connect
        self._problem: str | None = None
        self.hello: Hello | None = None
        """Who sends the stream, once it has begun."""

    @property
    def problem(self) -> str | None:
        return self._problem

    async def run(self, on_packet: Callable[[Packet], None]) -> None:
        decoder = RelayDecoder(self.source.run)
        async with self._connect(self.source) as stream:
            async for data in stream:
                for message in decoder.feed(data):
                    match message:
                        case Packet():
                            self._problem = None
                            on_packet(message)
                        case State():
                            self._problem = message.reason
                        case Hello():
                            self.hello = message
                        case End():
                            raise CameraEndedError(message.reason)
        raise CameraEndedError("the node that captures the camera has ended the stream")
