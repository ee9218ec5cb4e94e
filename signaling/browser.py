"""BrowserSignaling: the gateway's own Socket.IO server, for browsers and other clients.

Rules:

1. Every command is answered twice: by its acknowledgement, and by the event that an EMS would get. An error is
   ``{"error": code, "message": sentence}`` in the acknowledgement, as over HTTP.
2. Every client receives every camera's status, on connecting and on each change.
3. Frames come after ``frames_subscribe`` and hold their camera captured. The client acknowledges each frame, and gets
   the next one only then.
4. What a client requested ends when the last connection that used its ``client_id`` has been closed for
   :data:`GRACE_S`. If the client reconnects before that, it continues. A camera that it moves stops at once.
5. With authentication (:mod:`signaling.access`), a client receives nothing about a camera that it may not view. When
   its access to frames that it receives is revoked, they stop, and ``access_ended`` gives the reason. When it may no
   longer be connected, its connection is closed too.
6. A client that does not read is disconnected when ``QUEUE_MAX`` packets wait for it.
7. The number of clients is limited (:mod:`signaling.browser_clients`). An administrator is not refused.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

from aiohttp import web
from socketio.exceptions import ConnectionRefusedError as Refused

from gateway.client_address import client_network
from gateway.errors import ConflictError, LiveedgeError, UnavailableError, redact
from gateway.service import CaptureService
from gateway.webrtc.server import WebRtcServer
from signaling.access import UNRESTRICTED, Authenticate
from signaling.answers import AccessEnded, Done, FramesSubscribed
from signaling.browser_clients import BrowserClient, BrowserClients
from signaling.client_ids import ClientIds
from signaling.control import STATUS, Caller, Control, LiveEdgeSource, Reply
from signaling.event_commands import EVENT_CHANGED, EventCommands, EventPublisher
from signaling.event_store import EventStore
from signaling.events import Endpoint
from signaling.frames import FrameRequest
from signaling.ptz import Ptz
from signaling.recording_commands import RecordingCommands
from signaling.recordings import Recordings
from signaling.requests import CaptureRequest, FramesSubscribe, FramesUnsubscribe, parse
from signaling.settings import MessagingSettings
from signaling.socket_server import PROCESS_END, SocketServer
from signaling.status import BrowsersStatus
from signaling.status_publisher import StatusPublisher
from signaling.webrtc import create_control

log = logging.getLogger(__name__)

GRACE_S = 10.0
"""A page that is reloaded, or a phone that changes networks, has reconnected by then."""

DISCONNECT_TIMEOUT_S = 0.5
"""How long clients may take to receive the disconnect when the gateway stops or their access is revoked."""

STATUSES_PER_TICK = 16
"""Status messages in one turn of the event loop. To a thousand clients it takes some 100 ms, and frames do not wait."""

CAMERAS_MAX = 16
"""Cameras whose frames one client may ask for at the same time."""


class BrowserSignaling:
    """See the module. Created outside of the event loop; ``attach`` it to the application, which starts it."""

    def __init__(
        self,
        settings: MessagingSettings,
        service: CaptureService,
        webrtc: WebRtcServer | None = None,
        *,
        live_edge: LiveEdgeSource | None = None,
        events: EventStore | None = None,
        recordings: Recordings | None = None,
        ptz: Ptz | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        self.settings = settings
        self.control: Control = create_control(service, webrtc, live_edge)
        if events is not None:
            EventCommands(self.control, events)
        RecordingCommands(self.control, recordings)
        self._ptz = ptz or Ptz()
        self._ptz.add_to(self.control)
        self.control.add_handler("frames_subscribe", self._subscribe)
        self.control.add_handler("frames_unsubscribe", self._unsubscribe)
        self._service = service
        self._clients = BrowserClients()
        self._client_ids = ClientIds(grace_s, lambda name: self._spawn(service.end_client(name)))
        self._tasks: set[asyncio.Task[None]] = set()
        self.slow_clients_disconnected = 0
        """Clients disconnected because they did not read (rule 6)."""
        self._status_publisher: StatusPublisher | None = None
        self._event_publisher: EventPublisher | None = None
        self._closed = False
        self._sio = SocketServer()
        self._sio.on("connect", self._on_connect)
        self._sio.on("disconnect", self._on_disconnect)
        self._sio.on("*", self._on_event)

    def name_process(self, name: str) -> None:
        """This process is one of several: the ids of its sessions begin with its name."""
        self._sio.eio.sid_prefix = f"{name}{PROCESS_END}"

    def attach(self, app: web.Application, authenticate: Authenticate | None = None) -> None:
        """Serve ``/socket.io/`` in this application. Without ``authenticate``, to every client."""
        self._authenticate = authenticate
        self._sio.attach(app)

        async def start(_: web.Application) -> None:
            self._status_publisher = StatusPublisher(self._service, self.control.status_response, self._send_status)
            if self.control.events is not None:
                self._event_publisher = EventPublisher(self.control.events, self._send_event)

        async def stop(_: web.Application) -> None:
            await self.close()

        app.on_startup.append(start)
        # Before the server waits for its connections to end: these do not end by themselves.
        app.on_shutdown.append(stop)

    async def close(self) -> None:
        """Disconnect all clients. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._status_publisher is not None:
            await self._status_publisher.close()
            self._status_publisher = None
        if self._event_publisher is not None:
            await self._event_publisher.close()
            self._event_publisher = None
        self._client_ids.close()
        clients = tuple(self._clients)
        for client in clients:
            await client.frames.close()
        if clients:
            disconnects = [asyncio.ensure_future(self._sio.disconnect(client.sid)) for client in clients]
            await asyncio.wait(disconnects, timeout=DISCONNECT_TIMEOUT_S)
        await self._sio.abort_all()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._sio.shutdown()

    @property
    def invalid_packets(self) -> int:
        """Packets from clients that were not Engine.IO or not Socket.IO, since the start."""
        return self._sio.invalid_packets

    @property
    def connections_refused(self) -> int:
        """Clients refused by rule 7."""
        return self._clients.refused

    @property
    def clients_displaced(self) -> int:
        """Clients disconnected for others (rule 7)."""
        return self._clients.displaced

    @property
    def unjoined(self) -> int:
        """Connections that have not joined."""
        return self._sio.unjoined

    @property
    def unjoined_evicted(self) -> int:
        """Connections that had not joined and were closed for another, since the start."""
        return self._sio.unjoined_evicted

    def status(self) -> BrowsersStatus:
        """The server at this moment, as ``/api/status`` shows it."""
        return BrowsersStatus(
            clients=len(self._clients),
            frames_sent=self._clients.frames_sent,
            frames_skipped=self._clients.frames_skipped,
        )

    # --- connections

    async def _on_connect(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        if sid in self._clients:
            return  # a client sent an event named "connect"
        request: web.Request = environ["aiohttp.request"]
        access = UNRESTRICTED
        if self._authenticate is not None:
            try:
                access = await self._authenticate(request, auth)
            except LiveedgeError as error:
                raise _refused(error) from None
            if not self._sio.is_open(environ):
                raise Refused("the client has disconnected")
        counted_as = access.counted_as or client_network(request.remote or "")
        if access.is_limited:
            try:
                displaced = self._clients.make_room(counted_as)
            except UnavailableError as error:
                raise _refused(error) from None
            if displaced is not None:
                await self._sio.abort(displaced.sid)
        client = BrowserClient(self._sio, sid, request.remote or "", access, counted_as)
        self._clients.add(client)
        client.eio_sid = self._sio.joined(sid)
        client.unsubscribe = access.on_revoke(lambda error: self._revoke(client, error))
        # In a task: the client is connected only after this returns.
        self._spawn(self._send_all_statuses(sid))

    async def _send_all_statuses(self, sid: str) -> None:
        for camera in tuple(self._service.cameras.values()):
            client = self._clients.get(sid)
            if client is None or not client.access.may_view(camera.id):
                continue
            await self._sio.emit(STATUS, self.control.status_response(camera.status()).wire(), to=sid)

    async def _on_disconnect(self, sid: str, *_: object) -> None:
        if self._sio.is_connected(sid):
            return  # a client sent an event named "disconnect"
        client = self._clients.remove(sid)
        if client is None:
            return
        client.unsubscribe()
        self._sio.left(client.eio_sid)
        await self._clients.end_frames(client)
        # After the commands that it has sent before it disconnected.
        self._spawn(self._end(client))

    async def _end(self, client: BrowserClient) -> None:
        await self._ptz.release(client.sid)
        async with self.control.queues.turn(client.sid, bounded=False):
            self._client_ids.end(client.client_ids)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_status(self, data: dict[str, Any]) -> None:
        await self._send_to_all(STATUS, data["camera_id"], data)

    async def _send_event(self, data: dict[str, Any]) -> None:
        await self._send_to_all(EVENT_CHANGED, data["event"]["camera_id"] if "event" in data else None, data)

    async def _send_to_all(self, event: str, camera_id: str | None, data: dict[str, Any]) -> None:
        """Send to every client that may view the camera."""
        for place, client in enumerate(self._clients):
            if place % STATUSES_PER_TICK == STATUSES_PER_TICK - 1:
                await asyncio.sleep(0)
            if client.sid not in self._clients:
                continue
            if client.is_too_slow:
                await self._disconnect_slow_client(client)
            elif camera_id is None or client.access.may_view(camera_id):
                await self._sio.emit(event, data, to=client.sid)

    def _revoke(self, client: BrowserClient, error: LiveedgeError) -> None:
        """Close a connection whose credential was revoked or expired."""
        client.is_revoked = True
        self._spawn(self._disconnect_revoked(client, error))

    async def _disconnect_revoked(self, client: BrowserClient, error: LiveedgeError) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCONNECT_TIMEOUT_S):
                await client.frames.close()
                await self._send_access_ended(client, None, error)
                await self._sio.drain(client.sid)
        await self._sio.abort(client.sid)

    async def _end_frames(self, client: BrowserClient, camera_id: str, error: LiveedgeError) -> None:
        """Stop the frames of a camera that a client may no longer see."""
        await client.frames.stop(camera_id)
        if not client.is_revoked:
            await self._send_access_ended(client, camera_id, error)

    async def _send_access_ended(self, client: BrowserClient, camera_id: str | None, error: LiveedgeError) -> None:
        ended = AccessEnded(camera_id=camera_id, error=error.code, message=redact(error))
        await self._sio.emit("access_ended", ended.wire(), to=client.sid)

    async def _disconnect_slow_client(self, client: BrowserClient) -> None:
        if self._clients.get(client.sid) is client and not client.is_disconnected:
            client.is_disconnected = True
            self.slow_clients_disconnected += 1
        log.warning(
            "a Socket.IO client at %s does not read and is disconnected",
            client.address,
            extra={"client": client.address},
        )
        await self._sio.abort(client.sid)

    # --- commands

    async def _on_event(self, event: object, sid: str, *args: object) -> Any:
        client = self._clients.get(sid)
        if client is None:
            return None
        if client.is_too_slow:
            await self._disconnect_slow_client(client)
            return None
        payload = args[0] if args else None
        name = event if isinstance(event, str) else ""
        caller = Caller(Endpoint.BROWSER, sid, client.address, client.access)
        reply = await self.control.execute(name, payload, caller)
        if reply.refusal is None and name in ("capture_start_request", "capture_stop_request"):
            client_id = caller.client(parse(name, CaptureRequest, payload).client_id)
            if name == "capture_start_request":
                self._client_ids.add(client.client_ids, client_id)
            elif not any(client_id in camera.clients for camera in self._service.cameras.values()):
                self._client_ids.remove(client.client_ids, client_id)
        if reply.event and sid in self._clients:
            await self._sio.emit(reply.event, reply.data, to=sid)
        return reply.ack

    async def _subscribe(self, caller: Caller, request: FramesSubscribe) -> Reply:
        camera = self._service.camera(request.camera_id)
        frame_rate = request.frame_rate or camera.settings.frame_rate
        width = request.width or camera.settings.frame_width
        client = self._clients.get(caller.connection)
        if client is not None:
            if camera.id not in client.frames and len(client.frames) >= CAMERAS_MAX:
                raise ConflictError(
                    f"frames of {CAMERAS_MAX} cameras are sent to this client; unsubscribe from one first"
                )
            await client.frames.stop(camera.id)
            on_end = client.access.on_revoke(
                lambda error: self._spawn(self._end_frames(client, camera.id, error)), "frames_subscribe", camera.id
            )
            await client.frames.start(
                FrameRequest(camera, frame_rate, width, request.quality, is_viewer=True, on_end=on_end)
            )
        answer = FramesSubscribed(camera_id=camera.id, frame_rate=frame_rate, width=width, quality=request.quality)
        return Reply("", answer.wire())

    async def _unsubscribe(self, caller: Caller, request: FramesUnsubscribe) -> Reply:
        camera = self._service.camera(request.camera_id)
        client = self._clients.get(caller.connection)
        if client is not None:
            await client.frames.stop(camera.id)
        return Reply("", Done().wire())


def _refused(error: LiveedgeError) -> Refused:
    """The refusal of a connection, with the error as over HTTP."""
    return Refused(redact(error), {"status": error.status, "error": error.code, "message": redact(error)})
