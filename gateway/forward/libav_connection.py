"""A connection of a forward by libav (RTMP, RTSP): through a relay of our own, in a process of its own.

The relay connects to addresses that were checked, as for cameras. When it closes, libav's wait is over.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.capture.engine import CaptureSource
from gateway.capture.tcp_relay import TcpRelay
from gateway.capture.watch import Watch
from gateway.errors import CameraTimeoutError
from gateway.forward.connection import TIMEOUT_S, Write, require_codec
from gateway.forward.process import ForwardError, ForwardProcess
from gateway.forward.target import TLS_SCHEMES, VIDEO_CODECS, ForwardTarget
from gateway.media import Packet


@asynccontextmanager
async def libav_connection(target: ForwardTarget, source: CaptureSource, first: Packet) -> AsyncIterator[Write]:
    """Connect; what writes packets. Raises ``ForwardError`` and ``CaptureError``, and so does writing."""
    require_codec(first, VIDEO_CODECS)
    process = await ForwardProcess.start("gateway.forward.libav_worker")
    late = CameraTimeoutError(f"the server at {target.name} did not take the stream within {TIMEOUT_S:.0f} s")
    watch = Watch(TIMEOUT_S, target.name, late, lambda: late)
    relay = TcpRelay(target.url, source, watch, TLS_SCHEMES)

    async def write(packets: list[Packet]) -> None:
        await process.ask(packets)
        watch.frame()

    try:
        place = await relay.start()
        await process.ask((target.text, place, first.info))
        watch.opened()
        yield write
    except ForwardError as error:
        raise relay.error or error from None
    finally:
        await (process.close() if relay.error is None else process.kill())
        await relay.close()
