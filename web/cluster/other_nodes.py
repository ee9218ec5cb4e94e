"""OtherNodes: what the node that speaks to the event service knows of the others, and has them do.

Rules:

1. Each node writes the statuses of its cameras to the database as they change, once in :data:`INTERVAL_S`. The speaker
   reads those of the others as often, and announces what has changed.
2. A command is executed at the node that owns its camera. Lists of events, and changes of an event, are of all nodes
   here (:mod:`~.all_events`). A node that does not answer within :data:`~hls.cluster.exchange.COMMAND_S` is not waited
   for any longer.
"""

import asyncio
import base64
import json
import logging
import time
from collections.abc import Callable
from typing import Any

from gateway.errors import LiveedgeError, UnavailableError
from gateway.service import CaptureService
from gateway.status import CaptureStatus
from hls.cluster.changes import Change
from signaling.answers import Refusal
from signaling.control import Caller, Control, Reply
from signaling.events import Endpoint
from web.cluster.service import Cluster

log = logging.getLogger(__name__)

INTERVAL_S = 0.5

REPLY_S = 0.1
"""How often is looked for a reply."""

COMMANDS_MAX = 16
"""Commands that are executed for other nodes at a time; more wait in the database."""

HERE = frozenset({"event_list_request", "event_update_request"})
"""Rule 2."""

FORWARDED = Caller(Endpoint.EMS, "ems", is_forwarded=True)


class OtherNodes:
    """See the module. Lives on the event loop. ``control`` executes what other nodes ask for."""

    def __init__(self, cluster: Cluster, service: CaptureService, control: Control) -> None:
        from hls.cluster.exchange import COMMAND_S, ClusterExchange

        self.is_speaker = False
        """Whether the statuses of the others are wanted."""
        self._command_s = COMMAND_S
        self._exchange = ClusterExchange(cluster.store, cluster.coordinator.node.id)
        self._cluster = cluster
        self._service = service
        self._control = control
        self._statuses: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._heard: list[int] | None = None
        self._taken: list[int] | None = None
        """What the exchange's numbers were when the statuses and the commands were read last."""
        self._executing: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to tell, and to execute commands."""
        self._task = asyncio.create_task(self._run(), name="cluster-exchange")

    async def close(self) -> None:
        """Stop."""
        tasks = [*([self._task] if self._task is not None else []), *self._executing]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self) -> None:
        while True:
            try:
                await self._tell()
                heard = self._exchange.numbers(Change.VIEW, Change.STATUSES)
                if self.is_speaker and (heard is None or heard != self._heard):
                    await self._listen()
                    self._heard = heard
                taken = self._exchange.numbers(Change.COMMANDS)
                if len(self._executing) < COMMANDS_MAX and (taken is None or taken != self._taken):
                    await self._take()
                    self._taken = taken
            except LiveedgeError as error:
                log.debug("cluster: statuses and commands wait: %s", error)
            except Exception as error:
                self._cluster.faults.add("statuses and commands could not be exchanged", error)
            await asyncio.sleep(INTERVAL_S)

    async def _take(self) -> None:
        for number, command in (await self._cluster.call(self._exchange.asked)).items():
            task = asyncio.create_task(self._answer(number, command), name="cluster-command")
            self._executing.add(task)
            task.add_done_callback(self._executing.discard)

    # --- statuses

    def status(self, camera_id: str) -> CaptureStatus | None:
        """See :class:`~signaling.control.OtherNodes`."""
        written = self._statuses.get(camera_id)
        if written is None or camera_id in self._cluster.coordinator.owned:
            return None
        return CaptureStatus.model_validate_json(written)

    async def _tell(self) -> None:
        owned = self._cluster.coordinator.owned
        self._told = {camera_id: told for camera_id, told in self._told.items() if camera_id in owned}
        changed = {}
        for camera_id in owned:
            camera = self._service.cameras.get(camera_id)
            if camera is None:
                continue
            status = camera.status()
            key = status.model_dump_json(
                include={"state", "is_active", "error_message", "clients", "viewers", "rtsp_url", "name"}
            )
            if self._told.get(camera_id) != key:
                full = self._control.status_response(status)
                changed[camera_id] = key, full.model_dump_json(include=set(CaptureStatus.model_fields))
        if changed:
            await self._cluster.call(self._exchange.tell, {key: full for key, (_, full) in changed.items()})
            self._told |= {key: told for key, (told, _) in changed.items()}

    async def _listen(self) -> None:
        before, self._statuses = self._statuses, await self._cluster.call(self._exchange.statuses)
        for camera_id in before.keys() | self._statuses.keys():
            if before.get(camera_id) != self._statuses.get(camera_id):
                self._service.announce(camera_id)

    # --- commands

    async def execute(self, event: str, payload: object, camera_id: str | None) -> Reply | None:
        """See :class:`~signaling.control.OtherNodes`."""
        coordinator = self._cluster.coordinator
        if camera_id is None or event in HERE:
            return None
        owner_id = coordinator.view.owner(camera_id).node_id
        is_here = camera_id in coordinator.owned or owner_id is None or owner_id not in coordinator.view.nodes
        return None if is_here else await self._execute(owner_id or "", event, payload)

    async def _execute(self, node_id: str, event: str, payload: object) -> Reply:
        command = json.dumps({"event": event, "payload": payload})
        number = await self._cluster.call(self._exchange.ask, node_id, command)
        deadline_s = time.monotonic() + self._command_s
        while time.monotonic() < deadline_s:
            written = await self._cluster.call(self._exchange.reply_of, number)
            if written is not None:
                return read_reply(json.loads(written))
            await asyncio.sleep(REPLY_S)
        await self._cluster.call(self._exchange.give_up, number)
        raise UnavailableError("the node of the cluster that has the camera does not answer", retry_after_s=2)

    async def _answer(self, number: str, command: str) -> None:
        asked = json.loads(command)
        reply = await self._control.execute(asked["event"], asked["payload"], FORWARDED)
        try:
            await self._cluster.call(self._exchange.reply, number, json.dumps(write_reply(reply)))
        except LiveedgeError as error:
            log.warning("cluster: the reply to a command of another node could not be written: %s", error)


# --- replies as JSON


def write_reply(reply: Reply) -> dict[str, Any]:
    """A reply for :func:`read_reply`. Bytes are Base64."""
    refusal = reply.refusal.wire() if reply.refusal is not None else None
    return {"event": reply.event, "data": _map(reply.data, _to_text), "refusal": refusal}


def read_reply(written: dict[str, Any]) -> Reply:
    """The inverse of :func:`write_reply`."""
    refusal = Refusal(**written["refusal"]) if written["refusal"] is not None else None
    return Reply(written["event"], _map(written["data"], _from_text), refusal)


def _map(value: Any, change: Callable[[Any], Any]) -> Any:
    changed = change(value)
    if changed is not value:
        return changed
    if isinstance(value, dict):
        return {name: _map(each, change) for name, each in value.items()}
    return [_map(each, change) for each in value] if isinstance(value, list) else value


def _to_text(value: Any) -> Any:
    return {"$base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _from_text(value: Any) -> Any:
    is_bytes = isinstance(value, dict) and value.keys() == {"$base64"}
    return base64.b64decode(value["$base64"]) if is_bytes else value
