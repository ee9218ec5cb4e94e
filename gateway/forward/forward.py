"""Forward: one camera pushed to one server, for as long as it is configured.

Theory of operation. A task waits for the camera's keyframe, connects, and hands packets to a process that sends them:
with libav (:mod:`gateway.forward.libav_connection`) or WebRTC (:mod:`gateway.forward.whip_connection`). Any end is
followed by another attempt.

Rules:

1. The camera is kept captured. A forward that fails or is slow costs the camera and its viewers nothing: packets wait
   in a bounded queue, and are dropped up to the next keyframe where it is full (:class:`~gateway.hub.Subscription`).
2. Connections are made to addresses that were checked, as for cameras.
3. Another stream of the camera (a new run, another size or codec) is another connection.
"""

import asyncio
import logging
from enum import StrEnum

from gateway.backoff import Backoff
from gateway.capture.engine import CaptureSource, CheckAddress
from gateway.clock import Clock
from gateway.errors import CaptureError, redact
from gateway.forward.connection import TIMEOUT_S, Write
from gateway.forward.libav_connection import libav_connection
from gateway.forward.process import ForwardError
from gateway.forward.target import ForwardTarget
from gateway.forward.whip_connection import WhipHttp, whip_connection
from gateway.hub import Subscription, SubscriptionClosed
from gateway.media import Packet
from gateway.rendition import Rendition

log = logging.getLogger(__name__)

SILENT_S = 5.0
"""Without a packet of the camera for so long the connection is closed, in seconds: servers end it soon after."""

RETRY_S = 2.0
RETRIES_AT_ONCE = 2
RETRY_MAX_S = 60.0

QUEUE_MAX_PACKETS = 512
QUEUE_MAX_BYTES = 32 * 1024 * 1024

BATCH_MAX = 64


class ForwardState(StrEnum):
    """What a forward does now."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    LIVE = "live"
    RETRYING = "retrying"


class Forward:
    """See the module. Runs from :meth:`start` to :meth:`close`."""

    def __init__(
        self,
        rendition: Rendition,
        target: ForwardTarget,
        clock: Clock,
        check_address: CheckAddress | None,
        whip_http: WhipHttp | None = None,
    ) -> None:
        self.target = target
        self.state = ForwardState.WAITING
        self.error: str | None = None
        """Why the last connection has ended or was not made; ``None`` while it is live."""
        self.packets_sent = 0
        self.reconnects = 0
        self._rendition = rendition
        self._clock = clock
        self._check_address = check_address
        self._whip_http = whip_http
        self._backoff = Backoff(RETRIES_AT_ONCE, RETRY_S, longest_s=RETRY_MAX_S)
        self._task: asyncio.Task[None] | None = None
        self._queue: Subscription | None = None
        self._dropped = 0

    @property
    def packets_dropped(self) -> int:
        """Packets that the server did not get because it was slower. Never decreases."""
        return self._dropped + (self._queue.dropped if self._queue is not None else 0)

    def start(self) -> None:
        """Push from now on."""
        self._task = asyncio.create_task(self._run(), name=f"forward-{self._rendition.camera_id}")

    async def close(self) -> None:
        """End it. May be called twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        hold = self._rendition.hold("forward")
        try:
            while True:
                began_s = self._clock.monotonic()
                try:
                    await self._push()
                except (ForwardError, CaptureError) as error:
                    self._failed(str(error))
                except Exception as error:
                    log.exception("camera %s: a forward failed", self._rendition.label)
                    self._failed(f"it failed: {type(error).__name__}")
                self.reconnects += 1
                await asyncio.sleep(self._backoff.ended(self._clock.monotonic() - began_s))
        finally:
            hold.release()

    def _failed(self, reason: str) -> None:
        """Note an end. What advises about cameras, after a semicolon, is left out."""
        reason = redact(reason.partition(";")[0].replace("the camera at", "the server at"))
        self.state = ForwardState.RETRYING
        if reason != self.error:
            extra = {"camera": self._rendition.camera_id}
            log.warning("camera %s: forward to %s: %s", self._rendition.label, self.target.name, reason, extra=extra)
        self.error = reason

    async def _push(self) -> None:
        """One connection, from the camera's keyframe to its end. Raises ``ForwardError`` and ``CaptureError``."""
        queue = self._queue = self._rendition.hub.subscribe(max_packets=QUEUE_MAX_PACKETS, max_bytes=QUEUE_MAX_BYTES)
        try:
            first = await queue.get()
            while not (first.is_video and first.is_keyframe):
                first = await queue.get()
            self.state = ForwardState.CONNECTING
            await self._connected(queue, first)
        except SubscriptionClosed:
            raise ForwardError("the camera was removed") from None
        finally:
            self._dropped += queue.dropped
            self._queue = None
            queue.close()

    async def _connected(self, queue: Subscription, first: Packet) -> None:
        settings = self._rendition.settings
        source = CaptureSource(
            self._rendition.camera_id,
            self.target.text,
            timeout_s=TIMEOUT_S,
            check_address=self._check_address,
            tls_verify=settings.capture_tls_verify,
            tls_ca_file=settings.capture_tls_ca_file,
        )
        if self.target.is_whip:
            if self._whip_http is None:
                raise ForwardError("this program sends no WHIP")
            connection = whip_connection(self.target, source, first, self._whip_http)
        else:
            connection = libav_connection(self.target, source, first)
        async with connection as write:
            await self._write(write, queue, first)

    async def _write(self, write: Write, queue: Subscription, first: Packet) -> None:
        packets = [first]
        while True:
            await write(packets)
            self.packets_sent += len(packets)
            if self.state is not ForwardState.LIVE:
                self.state, self.error = ForwardState.LIVE, None
                name, extra = self.target.name, {"camera": self._rendition.camera_id}
                log.info("camera %s: is forwarded to %s", self._rendition.label, name, extra=extra)
            try:
                async with asyncio.timeout(SILENT_S):
                    packets = [await queue.get()]
            except TimeoutError:
                raise ForwardError("the camera sends nothing at present") from None
            while len(packets) < BATCH_MAX and (more := queue.get_nowait()) is not None:
                packets.append(more)
            if any(each.run != first.run or each.info != first.info for each in packets):
                raise ForwardError("the camera's stream has changed")
