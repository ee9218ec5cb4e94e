"""EmsMessaging: the Socket.IO client to the Event Management Service, supervised.

Theory of operation. One task runs for the life of the gateway: connect, serve until the connection is over, wait,
again. Each attempt has a client and an HTTP session of its own, so that names are resolved anew and nothing of a
broken connection is left over. The library's own reconnecting is off: it forgets its timeout, ends for good on some
exceptions, and does not come back after the server has said goodbye.

Rules:

1. The EMS may be absent, slow, wrong or hostile: the gateway serves on. ``CONNECTION_RETRY_ATTEMPTS`` failures in a row
   are reported once, as an error in the log; attempts go on (:mod:`gateway.backoff`).
2. A connection is over when the other side says so, when its transport ends, or when it does not answer a WebSocket
   ping in time (:mod:`signaling.ems_client`).
3. What the EMS asked for outlives the connection. On each connect the state of every camera is announced, and frames go
   on for the cameras that it had started.
4. Frames of a camera go out from the EMS's ``capture_start_request`` to its last ``capture_stop_request``, at the
   camera's ``FRAME_RATE`` and ``FRAME_WIDTH``, one in flight (:mod:`signaling.frames`).
5. Events that are no commands of ours are passed over in silence, since an EMS may tell everyone everything. A command
   that cannot be obeyed is answered with the reason.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import socketio

from gateway.backoff import Backoff
from gateway.errors import NotFoundError, SettingsError, redact, redact_url
from gateway.tcp_backlog import delivered
from signaling.announcer import StatusAnnouncer
from signaling.control import STATUS, Caller, Control, Reply
from signaling.ems_client import CONNECT_S, EmsClient
from signaling.events import COMMANDS, CaptureRequest, Endpoint, parse
from signaling.frames import VIDEO_FRAME, FrameOutlet
from signaling.messaging import StreamMessaging
from signaling.settings import MessagingSettings

log = logging.getLogger(__name__)

ACK_PATIENCE_S = 2.0
"""An EMS that has not acknowledged its first frame by then is taken for one that does not acknowledge."""

ACK_MAX_S = 30.0
"""A frame that was not acknowledged by then is given up; the next may go."""

CALLER = Caller(Endpoint.EMS, "ems")


class EmsMessaging(StreamMessaging):
    """See the module. Raises :class:`~gateway.errors.SettingsError` for an address that cannot be meant."""

    def __init__(self, settings: MessagingSettings, control: Control) -> None:
        super().__init__(settings, control)
        assert settings.socketio_server_url is not None
        self._url, self._path = _endpoint(settings.socketio_server_url.get_secret_value())
        self.public_url = redact_url(settings.socketio_server_url.get_secret_value())
        token = settings.socketio_auth_token
        self._auth = {"token": token.get_secret_value()} if token is not None else None
        self._backoff = Backoff(max(0, settings.connection_retry_attempts - 1), settings.connection_retry_delay)
        self._task: asyncio.Task[None] | None = None
        self._connection: _Connection | None = None
        self._wishes: dict[str, set[str]] = {}
        self._error: str | None = None
        self._connects = 0
        self._frames_sent = 0
        self._frames_skipped = 0

    async def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._supervise(), name="ems")

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def status(self) -> Mapping[str, Any]:
        live = self._connection
        return {
            "adapter": "socketio",
            "connected": live is not None,
            "url": self.public_url,
            "error": self._error,
            "connects": self._connects,
            "frames_sent": self._frames_sent + (live.frames.frames_sent if live else 0),
            "frames_skipped": self._frames_skipped + (live.frames.frames_skipped if live else 0),
        }

    # --- rule 1

    async def _supervise(self) -> None:
        while True:
            try:
                lasted_s, why = await self._attempt()
            except Exception:
                log.exception("the connection to the EMS failed in a way that nobody foresaw; it is made anew")
                lasted_s, why = 0.0, "an internal error; the log has the reason"
            self._error = why
            if lasted_s > 0:
                wait_s = self._backoff.ended(lasted_s)
                log.warning("EMS at %s: the connection is over: %s; trying again", self.public_url, why)
            else:
                wait_s = self._backoff.failed()
                if self._backoff.is_exhausted_now:
                    log.error(
                        "EMS at %s cannot be reached, %d attempts failed: %s. The gateway serves on without it and"
                        " keeps trying; check SOCKETIO_SERVER_URL and whether the EMS runs",
                        self.public_url,
                        self._backoff.failures,
                        why,
                    )
                else:
                    log.info("EMS at %s: %s; attempt %d failed", self.public_url, why, self._backoff.failures)
            await asyncio.sleep(wait_s)

    async def _attempt(self) -> tuple[float, str]:
        """One connection from its beginning to its end: how long it lasted, in seconds (0: never), and why it ended."""
        async with aiohttp.ClientSession() as http:
            client = EmsClient(http)
            connection = _Connection(client)

            async def obey(event: object, *args: object) -> Any:
                return await self._obey(connection, event, *args)

            # Before connecting: an EMS may command in the same breath as it lets us in.
            client.on("*", obey)
            try:
                why = await self._connect(client)
                if why is not None:
                    return 0.0, why
                began_s = time.monotonic()
                await self._serve(client, connection)
                return max(time.monotonic() - began_s, 1e-3), "the EMS, or the way to it, has gone"
            finally:
                # Shielded, so that an order to stop does not leave tasks of the library behind.
                await asyncio.shield(client.end())

    async def _connect(self, client: EmsClient) -> str | None:
        """Connect. Returns why that failed, if it did."""
        joining = client.spawn(client.join(self._url, self._path, self._auth))
        await asyncio.wait([joining], timeout=CONNECT_S)
        if not joining.done():
            return f"no answer within {CONNECT_S:g} s"
        error = joining.exception()
        # The library lets anything through that the other side can provoke: aiohttp's errors, KeyError, IndexError…
        return None if error is None else redact(error) or type(error).__name__

    async def _serve(self, client: EmsClient, connection: "_Connection") -> None:
        self._connects += 1
        self._error = None
        log.info("EMS at %s: connected", self.public_url)
        announcer = StatusAnnouncer(self.control.service, self.control.describe, connection.send_status)
        try:
            self._connection = connection
            announcer.announce_all()
            for camera_id in tuple(self._wishes):
                await self._start_frames(connection, camera_id)
            await client.over()
        finally:
            self._connection = None
            await announcer.close()
            await connection.frames.close()
            self._frames_sent += connection.frames.frames_sent
            self._frames_skipped += connection.frames.frames_skipped

    # --- commands

    async def _obey(self, connection: "_Connection", event: object, *args: object) -> Any:
        if not isinstance(event, str) or event not in COMMANDS or Endpoint.EMS not in COMMANDS[event].endpoints:
            return None
        payload = args[0] if args else None
        reply = await self.control.execute(event, payload, CALLER)
        if reply.refusal is None:
            await self._note_wish(event, payload)
        await connection.send_reply(reply)
        return reply.ack

    async def _note_wish(self, event: str, payload: object) -> None:
        """Rule 4: whom of the EMS's clients a camera's frames are for."""
        if event not in ("capture_start_request", "capture_stop_request"):
            return
        request = parse(event, CaptureRequest, payload)
        camera_id = self.control.service.camera(request.camera_id).id
        wishes = self._wishes.setdefault(camera_id, set())
        if event == "capture_start_request":
            wishes.add(request.client_id)
        else:
            wishes.discard(request.client_id)
        if not wishes:
            del self._wishes[camera_id]
        connection = self._connection
        if connection is None:
            return
        if not wishes:
            await connection.frames.stop(camera_id)
        elif camera_id not in connection.frames:
            await self._start_frames(connection, camera_id)

    async def _start_frames(self, connection: "_Connection", camera_id: str) -> None:
        # A camera may have been removed since the EMS asked for it.
        with contextlib.suppress(NotFoundError):
            camera = self.control.service.camera(camera_id)
            await connection.frames.start(camera, camera.settings.frame_rate, camera.settings.frame_width)


class _Connection:
    """What goes out on one connection."""

    def __init__(self, client: EmsClient) -> None:
        self._client = client
        self._acknowledges: bool | None = None
        self.frames = FrameOutlet(self._send_frame)

    async def send_status(self, data: dict[str, Any]) -> None:
        await self._emit(STATUS, data)

    async def send_reply(self, reply: Reply) -> None:
        if reply.event:
            await self._emit(reply.event, reply.data)

    async def _emit(self, event: str, data: dict[str, Any], callback: Any = None) -> None:
        # Between an end and its being noticed there is nobody to send to; the next connect announces everything.
        with contextlib.suppress(socketio.exceptions.BadNamespaceError):
            await self._client.emit(event, data, callback=callback)

    async def _send_frame(self, data: dict[str, Any], arrived: Callable[[], None]) -> None:
        """Send one frame, and see it acknowledged, or at least gone (an EMS may not acknowledge)."""
        try:
            await self._send_and_wait(data)
        finally:
            arrived()

    async def _send_and_wait(self, data: dict[str, Any]) -> None:
        answered = asyncio.Event()

        def acknowledged(*_: object) -> None:
            self._acknowledges = True
            answered.set()

        # An unanswered callback stays with the library for the life of the connection: there is one at most.
        wants_ack = self._acknowledges is not False
        await self._emit(VIDEO_FRAME, data, callback=acknowledged if wants_ack else None)
        await self._client.eio.queue.join()
        await delivered(self._client.socket)
        if wants_ack:
            patience_s = ACK_MAX_S if self._acknowledges else ACK_PATIENCE_S
            try:
                async with asyncio.timeout(patience_s):
                    await answered.wait()
            except TimeoutError:
                self._acknowledges = False


def _endpoint(url: str) -> tuple[str, str]:
    """The URL to connect to, ``type=service`` included, and the path of Socket.IO there."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https", "ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        # What it is instead may be a secret in the wrong place, and so is not repeated.
        raise SettingsError("SOCKETIO_SERVER_URL is not an address; give one like http://ems.example.org:5000")
    path = parts.path.strip("/")
    if not path.endswith("socket.io"):
        path = f"{path}/socket.io".lstrip("/")
    query = "&".join(part for part in (parts.query, "type=service") if part)
    return f"{parts.scheme}://{parts.netloc}/?{query}", path
