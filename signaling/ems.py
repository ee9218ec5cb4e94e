"""EmsMessaging: the Socket.IO client to the Event Management Service, supervised.

Theory of operation. One task runs as long as the gateway: connect, serve until the connection ends, wait, repeat. Each
attempt has its own client and HTTP session, so that names are resolved again and nothing of a broken connection is left
over. The library's own reconnecting is off: it loses its timeout, stops for ever on some exceptions, and does not
reconnect after the server has disconnected.

Rules:

1. The EMS may be absent, slow, faulty or hostile: the gateway continues to serve. ``CONNECTION_RETRY_ATTEMPTS``
   failures in a row are reported once, as an error in the log; attempts continue (:mod:`gateway.backoff`). While the
   port of the EMS cannot be reached, it is polled (:mod:`gateway.port_probe`), however short its connections were.
2. WebSocket is tried first, and HTTP polling where that fails: some servers allow only one of them.
3. A connection ends when the other side disconnects, when its transport closes, or when it does not answer a WebSocket
   ping in time (:mod:`signaling.ems_client`).
4. What the EMS requested continues after the connection ends, and after a restart of the gateway
   (:mod:`signaling.ems_requests`). On each connect the status of every camera is sent, with the clients that have
   started it, and the changes of events that it has not heard of. Frames continue for the cameras that it had started.
5. Frames of a camera are sent from the EMS's ``capture_start_request`` to its last ``capture_stop_request``, as its
   clients want them (:mod:`signaling.frame_options`). What is sent, and when, is in :mod:`signaling.ems_connection`.
6. Events that are not commands of the gateway are ignored without a log message: an EMS may send every event to every
   client. A command that cannot be executed is answered with the reason.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from gateway.backoff import Backoff
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import NotFoundError, redact, redact_url
from gateway.port_probe import PROBE_INTERVAL_S, wait_until_reachable
from signaling.compat import HandshakeWebSocket
from signaling.control import Caller, Control, Reply
from signaling.ems_address import endpoint, tls_context
from signaling.ems_client import CONNECT_TIMEOUT_S, EmsClient, EmsRefusedError
from signaling.ems_connection import EmsConnection, SendData
from signaling.ems_requests import EmsRequests
from signaling.events import COMMANDS, Endpoint
from signaling.heartbeat import Heartbeat
from signaling.messaging import StreamMessaging
from signaling.request_keeper import RequestKeeper, RequestStore
from signaling.requests import CaptureRequest, parse
from signaling.settings import MessagingSettings
from signaling.status import MessagingStatus

log = logging.getLogger(__name__)

CALLER = Caller(Endpoint.EMS, "ems")

TRANSPORTS = (("websocket",), ("polling", "websocket"))
"""Rule 2."""

PROBE_AGAIN_S = 0.1
"""Between the first probes of a port that is open: an EMS may be back half a second after it has closed its port."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How an attempt ended: how long it was connected, in seconds (0: never), and why it ended.

    ``is_unreachable``: no TCP connection could be made. ``is_final``: another transport would change nothing.
    """

    lasted_s: float
    why: str
    is_unreachable: bool = False
    is_final: bool = True


class EmsMessaging(StreamMessaging):
    """See the module. Raises :class:`~gateway.errors.SettingsError` for an invalid address."""

    def __init__(
        self,
        settings: MessagingSettings,
        control: Control,
        clock: Clock = SYSTEM_CLOCK,
        store: RequestStore | None = None,
    ) -> None:
        super().__init__(settings, control)
        self._clock = clock
        assert settings.socketio_server_url is not None
        self._url, self._path = endpoint(settings.socketio_server_url.get_secret_value())
        self._namespace = settings.socketio_namespace
        self._tls = tls_context(settings.socketio_ca_file)
        self.public_url = redact_url(settings.socketio_server_url.get_secret_value())
        token = settings.socketio_auth_token
        self._auth = {"token": token.get_secret_value()} if token is not None else None
        self._backoff = Backoff(_retries(settings), settings.connection_retry_delay)
        self._is_failure_reported = False
        self._task: asyncio.Task[None] | None = None
        self._connection: EmsConnection | None = None
        self._requests = EmsRequests()
        self._store = store
        self._keeper: RequestKeeper | None = None
        self._error: str | None = None
        self._started_s = clock.monotonic()
        self._connects = 0
        self._frames_sent = 0
        self._invalid_packets = 0
        self._frames_skipped = 0
        self._frames_too_large = 0

    def reload(self, settings: MessagingSettings) -> None:
        super().reload(settings)
        self._backoff.retries, self._backoff.delay_s = _retries(settings), settings.connection_retry_delay

    async def start(self) -> None:
        if self._task is None:
            if self._store is not None:
                self._keeper = RequestKeeper(self._requests, self._store, self._clock)
                await self._keeper.start(self.control.service, self.settings.ems_request_keep)
            self._task = asyncio.create_task(self._supervise(), name="ems")

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if self._keeper is not None:
                await self._keeper.close()

    async def forget(self) -> None:
        """After :meth:`close`: end what the EMS has requested here. Another process goes on with it."""
        requests, self._requests = self._requests, EmsRequests()
        for request in requests:
            with contextlib.suppress(NotFoundError):
                await self.control.service.stop_capture(request.client_id, request.camera_id)

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
            frames_too_large=self._frames_too_large + (live.frames.frames_too_large if live else 0),
            frames_blocked=live.frames.blocked if live else [],
        )

    # --- rules 1 and 2

    async def _supervise(self) -> None:
        while True:
            try:
                outcome = await self._attempt()
            except Exception:
                log.exception("the connection to the EMS failed with an unexpected error; trying again")
                outcome = _Outcome(0, "an internal error; the log has the reason")
            self._error = outcome.why
            await self._wait(self._note(outcome), is_silent=outcome.is_unreachable)

    def _note(self, outcome: _Outcome) -> float:
        """Log how an attempt ended. Returns how long to wait before the next one."""
        if outcome.lasted_s > 0:
            wait_s = self._backoff.ended(outcome.lasted_s)
            if self._backoff.failures == 0:
                self._is_failure_reported = False
            log.warning("EMS at %s: the connection ended: %s; trying again", self.public_url, outcome.why)
            return wait_s
        wait_s = self._backoff.failed()
        # Not only at the failure that exhausts them: a reload may have lowered the number of retries.
        if self._backoff.is_exhausted and not self._is_failure_reported:
            self._is_failure_reported = True
            log.error(
                "EMS at %s cannot be reached, %d attempts failed: %s. The gateway continues without it and"
                " keeps trying; check SOCKETIO_SERVER_URL and whether the EMS runs",
                self.public_url,
                self._backoff.failures,
                outcome.why,
            )
        else:
            log.warning("EMS at %s: %s; trying again", self.public_url, outcome.why)
        return wait_s

    async def _wait(self, wait_s: float, *, is_silent: bool) -> None:
        """Wait for the next attempt, or until the port can be reached again: after a connection ended, too.

        An EMS that restarts ends the connection first, and listens no more then.
        """
        parts = urlsplit(self._url)
        port = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                pause_s = PROBE_AGAIN_S
                while True:
                    if await wait_until_reachable(parts.hostname or "", port, is_silent=is_silent):
                        break
                    # It listens: it refuses or breaks, or has closed its connections and not its port yet.
                    await asyncio.sleep(pause_s)
                    pause_s = min(1.3 * pause_s, PROBE_INTERVAL_S)

    async def _attempt(self) -> _Outcome:
        """One attempt, by each transport until one works."""
        for transports in TRANSPORTS:
            outcome = await self._attempt_by(transports)
            if outcome.is_final:
                break
        return outcome

    async def _attempt_by(self, transports: Sequence[str]) -> _Outcome:
        connector = aiohttp.TCPConnector(ssl=self._tls)
        async with aiohttp.ClientSession(connector=connector, ws_response_class=HandshakeWebSocket) as http:
            client = EmsClient(http, self._namespace)
            connection = EmsConnection(client, self.control, self._clock, self._note_events, self._make_heartbeat)

            async def execute(event: object, *args: object) -> Any:
                return await self._execute(connection, event, *args)

            # Before connecting: an EMS may send commands together with its acceptance.
            client.on_any(execute)
            try:
                refused = await self._connect(client, transports)
                if refused is not None:
                    return refused
                began_s = self._clock.monotonic()
                await self._serve(client, connection)
                lasted_s = max(self._clock.monotonic() - began_s, 1e-3)
                return _Outcome(lasted_s, "the EMS closed it, or the network failed")
            finally:
                # Shielded, so that a cancellation leaves no tasks of the library behind.
                await asyncio.shield(client.end())
                await connection.close()

    async def _connect(self, client: EmsClient, transports: Sequence[str]) -> _Outcome | None:
        """Connect. Returns why that failed, if it did."""
        joining = client.spawn(client.join(self._url, self._path, self._auth, transports))
        await asyncio.wait([joining], timeout=CONNECT_TIMEOUT_S)
        if not joining.done():
            # A proxy may let WebSockets hang.
            return _Outcome(0, f"no answer within {CONNECT_TIMEOUT_S:g} s", is_final="polling" in transports)
        # The library passes on every exception that a bad server causes: aiohttp's errors, KeyError, IndexError…
        error = joining.exception()
        if error is None:
            return None
        if isinstance(error, EmsRefusedError):
            return _Outcome(0, redact(error))
        cause = _connector_error(error)
        if cause is not None:
            return _Outcome(0, redact(cause), is_unreachable=not isinstance(cause, aiohttp.ClientSSLError))
        return _Outcome(0, redact(error) or type(error).__name__, is_final=False)

    async def _serve(self, client: EmsClient, connection: EmsConnection) -> None:
        self._connects += 1
        self._error = None
        log.info("EMS at %s: connected", self.public_url)
        try:
            self._connection = connection
            connection.open(self._requests.events_position)
            for camera_id in self._requests.cameras:
                await self._start_frames(connection, camera_id)
            await client.wait_closed()
        finally:
            self._connection = None
            await connection.close()
            self._frames_sent += connection.frames.frames_sent
            self._invalid_packets += connection.invalid_packets
            self._frames_skipped += connection.frames.frames_skipped
            self._frames_too_large += connection.frames.frames_too_large

    # --- commands

    async def _execute(self, connection: EmsConnection, event: object, *args: object) -> Any:
        if not isinstance(event, str) or event not in COMMANDS or Endpoint.EMS not in COMMANDS[event].endpoints:
            return None
        payload = args[0] if args else None

        def execute() -> Coroutine[Any, Any, Reply]:
            return self.control.execute(event, payload, CALLER)

        if COMMANDS[event].is_query:
            reply = await connection.answer_query(execute)
        else:
            reply = await connection.answer(self.control.camera_id_of(payload), execute)
        if reply is None:
            return None
        if reply.refusal is None:
            await self._note_request(event, payload)
        return reply.ack

    async def _note_request(self, event: str, payload: object) -> None:
        """Remember which clients of the EMS requested a camera (rule 4)."""
        if event not in ("capture_start_request", "capture_stop_request"):
            return
        request = parse(event, CaptureRequest, payload)
        camera = self.control.service.camera(request.camera_id)
        camera_id = camera.id
        self._requests.retain(camera_id, camera.clients.__contains__)  # others may have given way to newer ones
        if event == "capture_start_request":
            self._requests.add(camera_id, request.client_id, request.metadata, request.frames)
        else:
            self._requests.remove(camera_id, request.client_id)
        if self._keeper is not None:
            self._keeper.changed()
        connection = self._connection
        if connection is None:
            return
        if camera_id not in self._requests.cameras:
            await connection.frames.stop(camera_id)
        else:
            await self._start_frames(connection, camera_id)

    def _make_heartbeat(self, send: SendData) -> Heartbeat | None:
        interval_s = self.settings.ems_heartbeat
        return Heartbeat(self.control.service, self._clock, self._started_s, interval_s, send) if interval_s else None

    def _note_events(self, position: str) -> None:
        """The EMS has heard of every event up to here (rule 4)."""
        self._requests.events_position = position

    async def _start_frames(self, connection: EmsConnection, camera_id: str) -> None:
        # A camera may have been removed since the EMS asked for it.
        with contextlib.suppress(NotFoundError):
            await connection.start_frames(self.control.service.camera(camera_id), self._requests.frames(camera_id))


def _retries(settings: MessagingSettings) -> int:
    """Attempts after the first one."""
    return max(0, settings.connection_retry_attempts - 1)


def _connector_error(error: BaseException | None) -> aiohttp.ClientConnectionError | None:
    """The reason in a chain of exceptions, if no connection could be made: the library replaces it by its own."""
    while error is not None:
        if isinstance(error, aiohttp.ClientConnectorError):
            return error
        error = error.__cause__ or error.__context__
    return None
