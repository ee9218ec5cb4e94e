"""EmsConnection: what is sent on one connection to the EMS, and in which order.

Rules:

1. Commands are executed at once, and answered one by one in the order of their arrival.
2. A camera's status is sent before the frames that follow from it. A change that a command caused is in the
   command's answer, and is not sent again (:mod:`signaling.status_publisher`).
3. Commands that come before the connection is complete, from the EMS's own connect handler, are executed and answered
   when it is.
4. Frames of each camera have a window of their own (:mod:`signaling.frame_window`). A frame has arrived when the EMS
   acknowledges it. From an EMS that acknowledges no frame, the acknowledgement of TCP counts instead.
5. Frames are no larger than the EMS accepts (``maxPayload`` of its handshake).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import socketio

from gateway.camera import Camera
from gateway.clock import Clock
from gateway.tcp_backlog import delivered
from signaling.control import STATUS, Control, Reply
from signaling.ems_client import EmsClient
from signaling.event_commands import EVENT_CHANGED, EventPublisher
from signaling.frames import VIDEO_FRAME, Arrived, FrameRequest, FrameStreams
from signaling.status_publisher import StatusPublisher

ASKED_MAX = 8
"""Frames without an acknowledgement after which none is requested. The library keeps a callback for each."""

ACK_TIMEOUT_S = 30.0
"""A frame that was not acknowledged by then counts as arrived, and the EMS as one that does not acknowledge."""

CLIENT = "ems"
"""The name of the EMS in the log."""


class EmsConnection:
    """See the module. Begins with :meth:`open`, once the EMS has accepted the connection."""

    def __init__(self, client: EmsClient, control: Control, clock: Clock) -> None:
        self._client = client
        self._control = control
        self._opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._last_answer = _done()
        self._acknowledges = False
        self._unanswered = 0
        self._deliveries: set[asyncio.Task[None]] = set()
        self._timeouts: set[asyncio.TimerHandle] = set()
        self._publisher: StatusPublisher | None = None
        self._events: EventPublisher | None = None
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
            self._events = EventPublisher(self._control.events, self._send_event, events_from)
        self._publisher = StatusPublisher(self._control.service, self._control.status_for_ems, self._send_status)
        self._publisher.publish_all()
        self._opened.set_result(True)

    async def close(self) -> None:
        """Stop sending. May be called before :meth:`open`."""
        if not self._opened.done():
            self._opened.set_result(False)
        if self._publisher is not None:
            await self._publisher.close()
        if self._events is not None:
            await self._events.close()
        await self.frames.close()
        for timeout in self._timeouts:
            timeout.cancel()
        for task in self._deliveries:
            task.cancel()
        if self._deliveries:
            await asyncio.wait(self._deliveries)

    async def start_frames(self, camera: Camera) -> None:
        """Send a camera's frames, at the rate and width of its settings."""
        await self.frames.start(FrameRequest(camera, camera.settings.frame_rate, camera.settings.frame_width))

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
                reply = await execute()
                await asyncio.wait([before])
                if reply.event:
                    if reply.event == STATUS and reply.refusal is None:
                        self._publisher.told(reply.data)
                    await self._emit(reply.event, reply.data)
            return reply
        finally:
            answered.set_result(None)

    @property
    def events_position(self) -> str | None:
        """Where the EMS is in the log of events, for its next connection."""
        return self._events.position if self._events is not None else None

    async def _send_event(self, data: dict[str, Any]) -> None:
        if self._client.is_open:
            await self._emit(EVENT_CHANGED, data)
            await self._client.drain()
        else:
            # The next connection sends it.
            await asyncio.Event().wait()

    async def _send_status(self, data: dict[str, Any]) -> None:
        await self._emit(STATUS, data)

    async def _emit(self, event: str, data: dict[str, Any], callback: Any = None) -> None:
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
