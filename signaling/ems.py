"""EmsMessaging: the Socket.IO client to the Event Management Service, supervised.

Theory of operation. One task runs as long as the gateway: connect, serve until the connection ends, wait, repeat. Each
attempt has its own client and HTTP session, so that names are resolved again and nothing of a broken connection is left
over. The library's own reconnecting is off: it loses its timeout, stops for ever on some exceptions, and does not
reconnect after the server has disconnected.

Rules:

1. The EMS may be absent, slow, faulty or hostile: the gateway continues to serve. ``CONNECTION_RETRY_ATTEMPTS``
   failures in a row are reported once, as an error in the log; attempts continue (:mod:`gateway.backoff`).
2. A connection ends when the other side disconnects, when its transport closes, or when it does not answer a WebSocket
   ping in time (:mod:`signaling.ems_client`).
3. What the EMS requested continues after the connection ends. On each connect the status of every camera is sent, and
   frames continue for the cameras that it had started.
4. Frames of a camera are sent from the EMS's ``capture_start_request`` to its last ``capture_stop_request``, at the
   camera's ``FRAME_RATE`` and ``FRAME_WIDTH``, one in flight (:mod:`signaling.frames`).
5. Events that are not commands of the gateway are ignored without a log message: an EMS may send every event to every
   client. A command that cannot be executed is answered with the reason.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import socketio

from gateway.backoff import Backoff
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import NotFoundError, SettingsError, redact, redact_url
from gateway.tcp_backlog import delivered
from signaling.control import STATUS, Caller, Control, Reply
from signaling.ems_client import CONNECT_TIMEOUT_S, EmsClient
from signaling.events import COMMANDS, CaptureRequest, Endpoint, parse
from signaling.frames import VIDEO_FRAME, FrameRequest, FrameStreams
from signaling.messaging import StreamMessaging
from signaling.settings import MessagingSettings
from signaling.status import MessagingStatus
from signaling.status_publisher import StatusPublisher

log = logging.getLogger(__name__)

FIRST_ACK_TIMEOUT_S = 2.0
"""An EMS that has not acknowledged its first frame by then is treated as one that never acknowledges."""

ACK_TIMEOUT_S = 30.0
"""After this the next frame is sent, even if the last one was not acknowledged."""

CALLER = Caller(Endpoint.EMS, "ems")


class EmsMessaging(StreamMessaging):
    """See the module. Raises :class:`~gateway.errors.SettingsError` for an invalid address."""

    def __init__(self, settings: MessagingSettings, control: Control, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(settings, control)
        self._clock = clock
        assert settings.socketio_server_url is not None
        self._url, self._path = _endpoint(settings.socketio_server_url.get_secret_value())
        self.public_url = redact_url(settings.socketio_server_url.get_secret_value())
        token = settings.socketio_auth_token
        self._auth = {"token": token.get_secret_value()} if token is not None else None
        self._backoff = Backoff(_retries(settings), settings.connection_retry_delay)
        self._is_failure_reported = False
        self._task: asyncio.Task[None] | None = None
        self._connection: _Connection | None = None
        self._requested_by: dict[str, set[str]] = {}
        self._error: str | None = None
        self._connects = 0
        self._frames_sent = 0
        self._invalid_packets = 0
        self._frames_skipped = 0

    def reload(self, settings: MessagingSettings) -> None:
        super().reload(settings)
        self._backoff.retries, self._backoff.delay_s = _retries(settings), settings.connection_retry_delay

    async def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._supervise(), name="ems")

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def status(self) -> MessagingStatus:
        live = self._connection
        return MessagingStatus(
            adapter="socketio",
            connected=live is not None,
            url=self.public_url,
            error=self._error,
            connects=self._connects,
            packets_invalid=self._invalid_packets + (live.invalid_packets if live else 0),
            frames_sent=self._frames_sent + (live.frames.frames_sent if live else 0),
            frames_skipped=self._frames_skipped + (live.frames.frames_skipped if live else 0),
        )

    # --- rule 1

    async def _supervise(self) -> None:
        while True:
            try:
                lasted_s, why = await self._attempt()
            except Exception:
                log.exception("the connection to the EMS failed with an unexpected error; trying again")
                lasted_s, why = 0.0, "an internal error; the log has the reason"
            self._error = why
            if lasted_s > 0:
                wait_s = self._backoff.ended(lasted_s)
                if self._backoff.failures == 0:
                    self._is_failure_reported = False
                log.warning("EMS at %s: the connection ended: %s; trying again", self.public_url, why)
            else:
                wait_s = self._backoff.failed()
                # Not only at the failure that exhausts them: a reload may have lowered the number of retries.
                if self._backoff.is_exhausted and not self._is_failure_reported:
                    self._is_failure_reported = True
                    log.error(
                        "EMS at %s cannot be reached, %d attempts failed: %s. The gateway continues without it and"
                        " keeps trying; check SOCKETIO_SERVER_URL and whether the EMS runs",
                        self.public_url,
                        self._backoff.failures,
                        why,
                    )
                else:
                    log.info("EMS at %s: %s; attempt %d failed", self.public_url, why, self._backoff.failures)
            await asyncio.sleep(wait_s)

    async def _attempt(self) -> tuple[float, str]:
        """One connection from begin to end. Returns how long it lasted, in seconds (0: never connected), and why it
        ended."""
        async with aiohttp.ClientSession() as http:
            client = EmsClient(http)
            connection = _Connection(client)

            async def execute(event: object, *args: object) -> Any:
                return await self._execute(connection, event, *args)

            # Before connecting: an EMS may send commands together with its acceptance.
            client.on("*", execute)
            try:
                why = await self._connect(client)
                if why is not None:
                    return 0.0, why
                began_s = self._clock.monotonic()
                await self._serve(client, connection)
                return max(self._clock.monotonic() - began_s, 1e-3), "the EMS closed it, or the network failed"
            finally:
                # Shielded, so that a cancellation leaves no tasks of the library behind.
                await asyncio.shield(client.end())

    async def _connect(self, client: EmsClient) -> str | None:
        """Connect. Returns why that failed, if it did."""
        joining = client.spawn(client.join(self._url, self._path, self._auth))
        await asyncio.wait([joining], timeout=CONNECT_TIMEOUT_S)
        if not joining.done():
            return f"no answer within {CONNECT_TIMEOUT_S:g} s"
        error = joining.exception()
        # The library passes on every exception that a bad server causes: aiohttp's errors, KeyError, IndexError…
        return None if error is None else redact(error) or type(error).__name__

    async def _serve(self, client: EmsClient, connection: "_Connection") -> None:
        self._connects += 1
        self._error = None
        log.info("EMS at %s: connected", self.public_url)
        status_publisher = StatusPublisher(self.control.service, self.control.status_response, connection.send_status)
        try:
            self._connection = connection
            status_publisher.publish_all()
            for camera_id in tuple(self._requested_by):
                await self._start_frames(connection, camera_id)
            await client.wait_closed()
        finally:
            self._connection = None
            await status_publisher.close()
            await connection.frames.close()
            self._frames_sent += connection.frames.frames_sent
            self._invalid_packets += connection.invalid_packets
            self._frames_skipped += connection.frames.frames_skipped

    # --- commands

    async def _execute(self, connection: "_Connection", event: object, *args: object) -> Any:
        if not isinstance(event, str) or event not in COMMANDS or Endpoint.EMS not in COMMANDS[event].endpoints:
            return None
        payload = args[0] if args else None
        reply = await self.control.execute(event, payload, CALLER)
        if reply.refusal is None:
            await self._note_request(event, payload)
        await connection.send_reply(reply)
        return reply.ack

    async def _note_request(self, event: str, payload: object) -> None:
        """Remember which clients of the EMS requested a camera (rule 4)."""
        if event not in ("capture_start_request", "capture_stop_request"):
            return
        request = parse(event, CaptureRequest, payload)
        camera = self.control.service.camera(request.camera_id)
        camera_id = camera.id
        requested_by = self._requested_by.setdefault(camera_id, set())
        requested_by.intersection_update(camera.clients)  # others may have given way to newer ones
        if event == "capture_start_request":
            requested_by.add(request.client_id)
        else:
            requested_by.discard(request.client_id)
        if not requested_by:
            del self._requested_by[camera_id]
        connection = self._connection
        if connection is None:
            return
        if not requested_by:
            await connection.frames.stop(camera_id)
        elif camera_id not in connection.frames:
            await self._start_frames(connection, camera_id)

    async def _start_frames(self, connection: "_Connection", camera_id: str) -> None:
        # A camera may have been removed since the EMS asked for it.
        with contextlib.suppress(NotFoundError):
            camera = self.control.service.camera(camera_id)
            await connection.frames.start(FrameRequest(camera, camera.settings.frame_rate, camera.settings.frame_width))


class _Connection:
    """Sends on one connection."""

    def __init__(self, client: EmsClient) -> None:
        self._client = client
        self._acknowledges: bool | None = None
        self.frames = FrameStreams(self._send_frame, "ems")

    @property
    def invalid_packets(self) -> int:
        """Packets from the EMS that were not Socket.IO."""
        return self._client.invalid_packets

    async def send_status(self, data: dict[str, Any]) -> None:
        await self._emit(STATUS, data)

    async def send_reply(self, reply: Reply) -> None:
        if reply.event:
            await self._emit(reply.event, reply.data)

    async def _emit(self, event: str, data: dict[str, Any], callback: Any = None) -> None:
        # The connection may have ended unnoticed. The next one sends every status.
        with contextlib.suppress(socketio.exceptions.BadNamespaceError):
            await self._client.emit(event, data, callback=callback)

    async def _send_frame(self, data: dict[str, Any], arrived: Callable[[], None]) -> None:
        """Send one frame. Wait until it is acknowledged, or written to the socket if the EMS does not acknowledge."""
        try:
            await self._send_and_wait(data)
        finally:
            arrived()

    async def _send_and_wait(self, data: dict[str, Any]) -> None:
        answered = asyncio.Event()

        def acknowledged(*_: object) -> None:
            self._acknowledges = True
            answered.set()

        # The library keeps an unanswered callback as long as the connection: there is at most one.
        wants_ack = self._acknowledges is not False
        await self._emit(VIDEO_FRAME, data, callback=acknowledged if wants_ack else None)
        await self._client.drain()
        await delivered(self._client.transport_socket)
        if wants_ack:
            timeout_s = ACK_TIMEOUT_S if self._acknowledges else FIRST_ACK_TIMEOUT_S
            try:
                async with asyncio.timeout(timeout_s):
                    await answered.wait()
            except TimeoutError:
                self._acknowledges = False


def _retries(settings: MessagingSettings) -> int:
    """Attempts after the first one."""
    return max(0, settings.connection_retry_attempts - 1)


def _endpoint(url: str) -> tuple[str, str]:
    """The URL to connect to, ``type=service`` included, and the path of Socket.IO there."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https", "ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        # The value may be a secret in the wrong place, so it is not repeated.
        raise SettingsError("SOCKETIO_SERVER_URL is not a URL; set it to one like http://ems.example.org:5000")
    path = parts.path.strip("/")
    if not path.endswith("socket.io"):
        path = f"{path}/socket.io".lstrip("/")
    query = "&".join(part for part in (parts.query, "type=service") if part)
    return f"{parts.scheme}://{parts.netloc}/?{query}", path
