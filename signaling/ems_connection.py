"""EmsConnection: what is sent on one connection to the EMS, and in which order.

Rules:

1. Commands are executed at once, and answered one by one in the order of their arrival. Queries (a picture, a list of
   recordings) are answered when their answer is there.
2. A camera's status is sent before the frames that follow from it. A change that a command caused is in the
   command's answer, and is not sent again (:mod:`signaling.status_publisher`).
3. Commands that come before the connection is complete, from the EMS's own connect handler, are executed and answered
   when it is.
4. Frames of each camera have a window of their own (:mod:`signaling.frame_window`). A frame has arrived when the EMS
   acknowledges it. From an EMS that acknowledges no frame, the acknowledgement of TCP counts instead.
5. Nothing is larger than the EMS accepts (``maxPayload`` of its handshake), which would end the connection: frames
   become narrower, a larger answer is refused (:mod:`signaling.message_size`), anything else is left out and logged.
6. The EMS has heard of a change of an event when it acknowledges it, or when TCP has delivered it to an EMS that
   acknowledges none.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import socketio

from gateway.camera import Camera
from gateway.clock import Clock
from gateway.jpeg.codec import JPEG_QUALITY
from gateway.tcp_backlog import delivered
from signaling.control import STATUS, Control, Reply
from signaling.ems_client import EmsClient
from signaling.event_commands import EVENT_CHANGED, EventPublisher
from signaling.frame_options import FrameOptions, combined
from signaling.frames import VIDEO_FRAME, Arrived, FrameRequest, FrameStreams
from signaling.heartbeat import HEARTBEAT, Heartbeat
from signaling.message_size import fitting, message_bytes
from signaling.status_publisher import StatusPublisher

log = logging.getLogger(__name__)

ASKED_MAX = 8
"""Frames without an acknowledgement after which none is requested. The library keeps a callback for each."""

ACK_TIMEOUT_S = 30.0
"""A frame that was not acknowledged by then counts as arrived, and the EMS as one that does not acknowledge."""

FIRST_ACK_TIMEOUT_S = 2.0
"""The same for the first change of an event on a connection: several round trips."""

CLIENT = "ems"
"""The name of the EMS in the log."""


SendData = Callable[[dict[str, Any]], Awaitable[None]]


class EmsConnection:
    """See the module. Begins with :meth:`open`, once the EMS has accepted the connection."""

    def __init__(
        self,
        client: EmsClient,
        control: Control,
        clock: Clock,
        on_events_position: Callable[[str], None] = lambda _: None,
        make_heartbeat: Callable[[SendData], Heartbeat | None] = lambda _: None,
    ) -> None:
        """``on_events_position`` is called with the place in the log of events up to which the EMS has heard of all."""
        self._client = client
        self._on_events_position = on_events_position
        self._make_heartbeat = make_heartbeat
        self._heartbeat: Heartbeat | None = None
        self._control = control
        self._opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._last_answer = _done()
        self._acknowledges = False
        self._unanswered = 0
        self._deliveries: set[asyncio.Task[None]] = set()
        self._timeouts: set[asyncio.TimerHandle] = set()
        self._publisher: StatusPublisher | None = None
        self._events: EventPublisher | None = None
        self._acknowledges_events: bool | None = None
        self._event_acknowledged = asyncio.Event()
        self.frames = FrameStreams(
            self._send_frame, CLIENT, clock=clock, window_each=True, limit_bytes=lambda: client.jpeg_max_bytes
        )

    @property
    def invalid_packets(self) -> int:
        """Packets from the EMS that were not Socket.IO."""
        return self._client.invalid_packets

    def open(self, events_from: str | None = None) -> None:
        """The EMS has accepted the connection: send every camera's status, and the changes of events since then."""
        if self._control.events is not None:
            self._events = EventPublisher(
                self._control.events, self._send_event, events_from, self._events_arrived, self._on_events_position
            )
        self._publisher = StatusPublisher(self._control.service, self._control.status_for_ems, self._send_status)
        self._publisher.publish_all()
        self._heartbeat = self._make_heartbeat(self._send_heartbeat)
        self._opened.set_result(True)

    async def close(self) -> None:
        """Stop sending. May be called before :meth:`open`."""
        if not self._opened.done():
            self._opened.set_result(False)
        if self._publisher is not None:
            await self._publisher.close()
        if self._events is not None:
            await self._events.close()
        if self._heartbeat is not None:
            await self._heartbeat.close()
        await self.frames.close()
        for timeout in self._timeouts:
            timeout.cancel()
        for task in self._deliveries:
            task.cancel()
        if self._deliveries:
            await asyncio.wait(self._deliveries)

    async def start_frames(self, camera: Camera, wanted: Iterable[FrameOptions]) -> None:
        """Send a camera's frames, as the clients of the EMS want them. What is sent so already goes on."""
        settings = camera.settings
        frame_rate, width, quality = combined(wanted, settings.frame_rate, settings.frame_width)
        request = FrameRequest(camera, frame_rate, width, None if quality == JPEG_QUALITY else quality)
        if self.frames.request(camera.id) != request:
            await self.frames.start(request)

    async def answer_query(self, execute: Callable[[], Awaitable[Reply]]) -> Reply | None:
        """Execute a query, and answer it. Returns ``None`` if the connection ended before it was complete."""
        if not await asyncio.shield(self._opened):
            return None
        reply = self._fitting(await execute())
        if reply.event:
            await self._emit(reply.event, reply.data)
        return reply

    def _fitting(self, reply: Reply) -> Reply:
        return fitting(reply, self._client.text_max_bytes, self._client.jpeg_max_bytes)

    async def answer(self, camera_id: str | None, execute: Callable[[], Awaitable[Reply]]) -> Reply | None:
        """Execute a command for a camera, and answer it (rules 1 to 3).

        Call it in the order of arrival. Returns ``None`` if the connection ended before it was complete.
        """
        before, self._last_answer = self._last_answer, asyncio.get_running_loop().create_future()
        answered = self._last_answer
        try:
            if not await asyncio.shield(self._opened):
                return None
            assert self._publisher is not None
            with self._publisher.hold(camera_id) if camera_id is not None else contextlib.nullcontext():
                reply = self._fitting(await execute())
                await asyncio.wait([before])
                if reply.event:
                    if reply.event == STATUS and reply.refusal is None:
                        self._publisher.told(reply.data)
                    await self._emit(reply.event, reply.data)
            return reply
        finally:
            answered.set_result(None)

    async def _send_event(self, data: dict[str, Any]) -> None:
        if self._client.is_open:
            asks = self._acknowledges_events is not False
            if asks:
                self._event_acknowledged.clear()
            await self._emit(EVENT_CHANGED, data, self._on_event_acknowledged if asks else None)
        else:
            # The next connection sends it.
            await asyncio.Event().wait()

    def _on_event_acknowledged(self, *_: object) -> None:
        self._acknowledges_events = True
        self._event_acknowledged.set()

    async def _events_arrived(self) -> None:
        """Rule 6."""
        await self._client.drain()
        if self._acknowledges_events is not False:
            try:
                async with asyncio.timeout(ACK_TIMEOUT_S if self._acknowledges_events else FIRST_ACK_TIMEOUT_S):
                    await self._event_acknowledged.wait()
                return
            except TimeoutError:
                self._acknowledges_events = False
        await delivered(self._client.transport_socket, left_max_bytes=0)
        if not self._client.is_open:
            await asyncio.Event().wait()

    async def _send_heartbeat(self, data: dict[str, Any]) -> None:
        await self._emit(HEARTBEAT, data)

    async def _send_status(self, data: dict[str, Any]) -> None:
        await self._emit(STATUS, data)

    async def _emit(self, event: str, data: dict[str, Any], callback: Any = None) -> None:
        if event != VIDEO_FRAME and (size := message_bytes(event, data)[0]) > self._client.text_max_bytes:
            log.error(
                "%s is not sent: it has %d bytes, and the EMS accepts %d. Raise its limit (maxHttpBufferSize)",
                event,
                size,
                self._client.text_max_bytes,
            )
            if callback is not None:
                callback()
            return
        # The connection may have ended unnoticed. The next one sends every status.
        with contextlib.suppress(socketio.exceptions.BadNamespaceError):
            await self._client.send(event, data, callback=callback)

    # --- frames: rules 2 and 4

    async def _send_frame(self, data: dict[str, Any], arrived: Arrived) -> None:
        if self._publisher is not None:
            await self._publisher.flush(data["metadata"]["camera_id"])
        asks = self._acknowledges or self._unanswered < ASKED_MAX
        counts_tcp = not self._acknowledges
        callback = self._ask(arrived) if asks else None
        await self._emit(VIDEO_FRAME, data, callback)
        await self._client.drain()
        if counts_tcp:
            task = asyncio.create_task(self._deliver(arrived), name="frame-delivery")
            self._deliveries.add(task)
            task.add_done_callback(self._deliveries.discard)

    def _ask(self, arrived: Arrived) -> Callable[..., None]:
        """A callback for the acknowledgement of a frame."""
        self._unanswered += 1

        def acknowledged(*_: object) -> None:
            timeout.cancel()
            self._timeouts.discard(timeout)
            self._unanswered -= 1
            self._acknowledges = True
            arrived()

        def not_acknowledged() -> None:
            self._timeouts.discard(timeout)
            self._acknowledges = False
            arrived()

        timeout = asyncio.get_running_loop().call_later(ACK_TIMEOUT_S, not_acknowledged)
        self._timeouts.add(timeout)
        return acknowledged

    async def _deliver(self, arrived: Arrived) -> None:
        await delivered(self._client.transport_socket)
        arrived()


def _done() -> "asyncio.Future[None]":
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future
