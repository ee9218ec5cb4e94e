"""Control: executes the commands, for both endpoints alike.

Theory of operation. An *endpoint* (the connection to the EMS, or the gateway's own server) passes an event's name and
data as they came, with the *caller*. It gets a :class:`Reply` back: an event to send to that caller, which is also the
content of the acknowledgement. An error in a command becomes a reply too; :meth:`Control.execute` raises nothing.

Rules:

1. Commands of one client are executed in the order of their arrival (:mod:`signaling.command_queues`). Queries, which
   change nothing and may take long, have queues of their own.
2. The same ``client_id`` at two endpoints is two clients: a browser cannot stop what the EMS requested.
3. A refused command changes nothing. If the caller may not send it, the answer discloses nothing either.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gateway.camera import Camera
from gateway.client_address import client_network
from gateway.errors import (
    ForbiddenError,
    LiveedgeError,
    NegotiationError,
    NotFoundError,
    UnauthorizedError,
    redact,
)
from gateway.service import CaptureService
from gateway.status import CaptureStatus, LiveEdge
from signaling.access import UNRESTRICTED, ClientAccess
from signaling.answers import (
    CaptureStatusResponse,
    ClientSince,
    EventResponse,
    PtzResponse,
    Refusal,
    SegmentAtResponse,
    SegmentsResponse,
    SnapshotResponse,
    WebRtcError,
)
from signaling.command_queues import CommandQueues
from signaling.event_store import EventStore
from signaling.events import COMMANDS, EVENTS, Endpoint, Event
from signaling.requests import (
    CameraRequest,
    CaptureRequest,
    CaptureStatusRequest,
    camera_named,
    names_camera,
    parse,
    warnings_of,
)

log = logging.getLogger(__name__)

STATUS = "capture_status_response"
WEBRTC_ERROR = "webrtc_error"
EVENT_RESPONSE = "event_response"

REFUSED_AS: Mapping[str, tuple[str, type[PtzResponse | SnapshotResponse | SegmentsResponse | SegmentAtResponse]]] = {
    "ptz_request": ("ptz_response", PtzResponse),
    "snapshot_request": ("snapshot_response", SnapshotResponse),
    "segments_list_request": ("segments_response", SegmentsResponse),
    "segment_at_request": ("segment_at_response", SegmentAtResponse),
}
"""The events, and their models, that say why a command was refused: those of recordings and of movements."""

WITH_WARNINGS = {event.name for event in EVENTS if "warnings" in event.model.model_fields}
"""The answers that have a place for warnings."""

LiveEdgeSource = Callable[[str], LiveEdge | None]
"""The live edge of a camera by its id, with the positions in HLS and in the archive as far as known."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a command: on which endpoint and connection (unique over all endpoints), from which address.

    ``access`` is checked before each command, and again when the command's camera is known. The EMS is unrestricted.
    ``is_forwarded``: another node of a cluster has passed the command on.
    """

    endpoint: Endpoint
    connection: str
    address: str = ""
    access: ClientAccess = UNRESTRICTED
    is_forwarded: bool = False

    def address_of(self, client_id: str) -> str:
        """The key of limits by address. The EMS does not send its clients' addresses: each client counts for itself."""
        return self.address if self.endpoint is Endpoint.BROWSER else f"ems:{client_id}"

    def counted_as(self, client_id: str) -> str:
        """Whom limits count a request for."""
        return self.access.counted_as or client_network(self.address_of(client_id))

    def client(self, client_id: str) -> str:
        """The client's id as the service knows it; see rule 2."""
        return client_id if self.endpoint is Endpoint.EMS else f"browser:{client_id}"


@dataclass(frozen=True, slots=True)
class Reply:
    """``event`` with ``data`` is sent to the caller. ``event`` is empty if the acknowledgement suffices."""

    event: str
    data: dict[str, Any]
    refusal: Refusal | None = None

    @property
    def ack(self) -> dict[str, Any]:
        """The content of the acknowledgement."""
        return self.refusal.wire() if self.refusal is not None else self.data


Handler = Callable[[Caller, Any], Awaitable[Reply]]


class OtherNodes(Protocol):
    """The other nodes of a cluster, for the cameras that they capture."""

    def status(self, camera_id: str) -> CaptureStatus | None:
        """The camera's status there; ``None`` where this node captures it, or no other node is known to."""
        ...

    async def execute(self, event: str, payload: object, camera_id: str | None) -> Reply | None:
        """Execute a command at the node that has its camera. ``None``: it is executed here.

        Raises ``UnavailableError``.
        """
        ...


class Control:
    """See the module."""

    def __init__(self, service: CaptureService, live_edge: LiveEdgeSource | None = None) -> None:
        self.service = service
        self.queues = CommandQueues()
        self.events: EventStore | None = None
        """The events of all cameras; ``None`` in a program that keeps none."""
        self.other_nodes: OtherNodes | None = None
        """``None`` where this gateway is alone."""
        self._live_edge = live_edge
        self._handlers: dict[str, Handler] = {
            "capture_start_request": self._start,
            "capture_stop_request": self._stop,
            "capture_status_request": self._status,
        }

    def add_handler(self, event: str, handler: Handler) -> None:
        """Execute ``event`` by ``handler``: it gets the caller and the parsed request, and may raise
        ``LiveedgeError``."""
        self._handlers[event] = handler

    async def execute(self, event: str, payload: object, caller: Caller) -> Reply:
        """Execute a command. Returns the reply, which may be a refusal; raises nothing."""
        try:
            command = COMMANDS.get(event)
            handler = self._handlers.get(event)
            if command is None or handler is None or caller.endpoint not in command.endpoints:
                raise NotFoundError(f"there is no command {event[:64]!r}; /asyncapi.json lists all commands")
            caller.access.authorize(event, None)
            async with self.queues.turn(self._queue_key(command, payload, caller)):
                request = parse(event, command.model, payload)
                if isinstance(request, CameraRequest):
                    caller.access.authorize(event, request.camera_id or self.service.camera().id)
                reply = await self._elsewhere(event, payload, request, caller)
                if reply is not None:
                    return reply
                reply = await handler(caller, request)
                return self._warn(event, reply, warnings_of(command.model, payload))
        except LiveedgeError as error:
            return self._refuse(event, payload, error, caller)
        except Exception:
            log.exception("%s failed", event)
            failure = LiveedgeError("the gateway failed on this command; its log has the reason")
            return self._refuse(event, payload, failure, caller)

    async def _elsewhere(self, event: str, payload: object, request: Any, caller: Caller) -> Reply | None:
        """The reply of another node of the cluster, where that has what the command is for.

        Captures and viewers are of this node, and relay the camera. Commands of browsers are executed here.
        """
        is_here = (
            caller.is_forwarded or caller.endpoint is not Endpoint.EMS or event.startswith(("capture_", "webrtc_"))
        )
        if self.other_nodes is None or is_here:
            return None
        camera_id = getattr(request, "camera_id", None)
        if camera_id is None and isinstance(request, CameraRequest):
            camera_id = self.service.camera().id
        return await self.other_nodes.execute(event, payload, camera_id)

    def status_for_ems(self, status: CaptureStatus) -> CaptureStatusResponse:
        """A camera's status as it is sent to the EMS: with the clients that have started it."""
        return self.status_response(status).model_copy(update={"requested_by": self._requested_by(status.camera_id)})

    def _requested_by(self, camera_id: str) -> list[ClientSince]:
        since = self.service.camera(camera_id).clients_since()
        return [ClientSince(client_id=client_id, since=time) for client_id, time in since.items()]

    def status_response(self, status: CaptureStatus) -> CaptureStatusResponse:
        """A camera's status as it is sent."""
        there = self.other_nodes.status(status.camera_id) if self.other_nodes is not None else None
        if there is not None:
            clients = there.clients + status.clients
            return CaptureStatusResponse(**{**dict(there), "name": status.name, "clients": clients})
        live_edge = status.live_edge
        if live_edge is not None and self._live_edge is not None:
            live_edge = self._live_edge(status.camera_id) or live_edge
        return CaptureStatusResponse(**{**dict(status), "live_edge": live_edge})

    # --- the capture commands

    async def _start(self, caller: Caller, request: CaptureRequest) -> Reply:
        client = caller.client(request.client_id)
        is_browser = caller.endpoint is Endpoint.BROWSER
        status = await self.service.start_capture(
            client,
            request.camera_id,
            request.metadata,
            owner=caller.counted_as(client) if is_browser and caller.access.is_limited else None,
            # A browser's client ends with its connection.
            expires=not is_browser,
        )
        return self._status_reply(caller, status, request.client_id, request.metadata)

    async def _stop(self, caller: Caller, request: CaptureRequest) -> Reply:
        camera = self.service.camera(request.camera_id)
        client = caller.client(request.client_id)
        kept = camera.clients.get(client)
        status = await self.service.stop_capture(client, camera.id)
        return self._status_reply(caller, status, request.client_id, request.metadata or kept)

    async def _status(self, caller: Caller, request: CaptureStatusRequest) -> Reply:
        camera = self.service.camera(request.camera_id)
        kept = camera.clients.get(caller.client(request.requesting_client))
        return self._status_reply(caller, camera.status(), request.requesting_client, kept)

    def _status_reply(
        self, caller: Caller, status: CaptureStatus, client_id: str, metadata: Mapping[str, Any] | None
    ) -> Reply:
        to_message = self.status_for_ems if caller.endpoint is Endpoint.EMS else self.status_response
        answer = to_message(status).model_copy(
            update={"client_id": client_id, "metadata": dict(metadata) if metadata else None}
        )
        return Reply(STATUS, answer.wire())

    def camera_id_of(self, payload: object) -> str | None:
        """The id of the camera that a command is for; ``None`` if there is no such camera."""
        camera = self._camera_of(payload)
        return camera.id if camera is not None else None

    def _warn(self, event: str, reply: Reply, warnings: list[str]) -> Reply:
        """Tell the sender, where the answer has a place for it, and the log."""
        if warnings:
            log.warning("%s: %s", event, "; ".join(warnings))
            if reply.event in WITH_WARNINGS:
                return replace(reply, data={**reply.data, "warnings": warnings})
        return reply

    # --- refusals

    def _refuse(self, event: str, payload: object, error: LiveedgeError, caller: Caller) -> Reply:
        message = redact(error)
        refusal = Refusal(error=error.code, message=message)
        client_id = _text(payload, "client_id") or _text(payload, "requesting_client")
        if event.startswith("webrtc_"):
            transports = list(error.transports) if isinstance(error, NegotiationError) else None
            answer = WebRtcError(
                client_id=client_id,
                camera_id=camera_named(payload),
                error=error.code,
                message=message,
                transports=transports,
            )
            return Reply(WEBRTC_ERROR, answer.wire(), refusal)
        if event.startswith("capture_"):
            camera = self._camera_of(payload)
            if camera is not None and not _may_receive(caller, event, camera):
                camera = None
            unknown = CaptureStatusResponse(camera_id=camera_named(payload), is_active=False, rtsp_url="")
            status = self.status_response(camera.status()) if camera else unknown
            refused = status.model_copy(update={"error_message": message, "error": error.code, "client_id": client_id})
            return Reply(STATUS, refused.wire(), refusal)
        if event.startswith("event_"):
            refused_event = EventResponse(client_id=client_id, error=error.code, message=message)
            return Reply(EVENT_RESPONSE, refused_event.wire(), refusal)
        if event in REFUSED_AS:
            name, model = REFUSED_AS[event]
            camera_id = camera_named(payload)
            refused_query = model(client_id=client_id, camera_id=camera_id, error=error.code, message=message)
            return Reply(name, refused_query.wire(), refusal)
        return Reply("", refusal.wire(), refusal)

    def _camera_of(self, payload: object) -> Camera | None:
        """The camera that a command names, or the default one if it names none."""
        if names_camera(payload):
            return self.service.cameras.get(camera_named(payload) or "")
        try:
            return self.service.camera()
        except NotFoundError:
            return None

    def _queue_key(self, command: Event, payload: object, caller: Caller) -> str:
        # The EMS sends for many clients, and one must not delay another; a browser sends for itself.
        if caller.endpoint is Endpoint.BROWSER:
            key = caller.connection
        else:
            key = _text(payload, "client_id") or _text(payload, "requesting_client") or ""
        return f"{key} {command.name}" if command.is_query else key


def _may_receive(caller: Caller, event: str, camera: Camera) -> bool:
    try:
        caller.access.authorize(event, camera.id)
    except (ForbiddenError, UnauthorizedError):
        return False
    return True


def _text(payload: object, name: str) -> str | None:
    """A string of usable length in data that was not validated."""
    value = payload.get(name) if isinstance(payload, dict) else None
    return value if isinstance(value, str) and 0 < len(value) <= 128 and value.isprintable() else None
