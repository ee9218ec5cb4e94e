"""Publisher: what one connection has told the broker, and what it has to tell it next.

Rules:

1. States are compared with what was sent, and only the newest is sent: a slow broker gets fewer of them.
2. Changes of events wait in a queue of :data:`EVENTS_MAX`; the oldest is dropped. One that has waited for more than
   :data:`LATE_S` is dropped too: an automation that switches the light on must not do so an hour later.
3. What belongs to a camera that was removed is removed from the broker, also if it was removed while the broker or the
   gateway was away.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable

from gateway.camera import Camera
from gateway.camera_settings import RecordMode
from gateway.errors import LiveedgeError
from gateway.event import ChangeKind, EventChange
from gateway.pictures import PictureSource
from gateway.session import SessionState
from gateway.status import CaptureStatus
from web.api import models
from web.gateway import Gateway
from web.mqtt.discovery import OFF, OFFLINE, ON, ONLINE, Topics, announcement
from web.mqtt.motion import Motion

log = logging.getLogger(__name__)

EVENTS_MAX = 256
LATE_S = 60.0

POLL_S = 2.0
"""How soon a change of the settings of a camera is sent."""

INTERVAL_S = 0.05
"""Between two passes over the cameras, however often they change."""

SNAPSHOT_WIDTH = 640
SNAPSHOT_WAIT_S = 5.0

Publish = Callable[[str, str | bytes, bool], Awaitable[None]]
"""Publishes a payload on a topic, retained or not. Raises when the connection has ended."""


class Publisher:
    """See the module. Lives on the event loop, as long as the gateway; :meth:`run` has one connection."""

    def __init__(self, gateway: Gateway, topics: Topics, motion: Motion) -> None:
        self.dropped: Counter[str] = Counter({"full": 0, "late": 0})
        """Changes of events that were not sent, by reason."""
        self._gateway = gateway
        self._topics = topics
        self._motion = motion
        self._woken = asyncio.Event()
        self._sent: dict[str, str] = {}
        """By topic, what this connection has sent and the broker retains."""
        self._known: set[str] = set()
        """Cameras of which the broker has something."""
        self._events: deque[tuple[float, EventChange]] = deque()
        self._pulses: set[str] = set()
        self._live: set[str] = set()
        self._wanted: dict[str, None] = {}
        """Cameras whose snapshot is to be taken."""
        self._snapshots: dict[str, bytes] = {}
        """Snapshots to send: the newest of each camera."""
        self._picture_wanted = asyncio.Event()

    # --- what happens, at any time

    def on_status(self, status: CaptureStatus) -> None:
        """A camera has changed."""
        is_live = status.state is SessionState.LIVE
        if is_live and status.camera_id not in self._live:
            self._want_snapshot(status.camera_id)
        (self._live.add if is_live else self._live.discard)(status.camera_id)
        self._woken.set()

    def on_event(self, change: EventChange) -> None:
        """An event has changed."""
        if len(self._events) >= EVENTS_MAX:
            self._events.popleft()
            self.dropped["full"] += 1
        self._events.append((time.monotonic(), change))
        if self._motion.note(change, self._gateway.clock.wall_90k()):
            self._pulses.add(change.event.camera_id)
        if change.kind is ChangeKind.CREATED:
            self._want_snapshot(change.event.camera_id)
        self._woken.set()

    def _want_snapshot(self, camera_id: str) -> None:
        self._wanted[camera_id] = None
        self._picture_wanted.set()

    # --- one connection

    def announce(self) -> None:
        """Send everything again: the broker or Home Assistant has started."""
        self._sent.clear()
        self._woken.set()

    def note_retained(self, camera_id: str) -> None:
        """The broker has something of a camera (rule 3)."""
        self._known.add(camera_id)
        self._woken.set()

    def note_status(self, payload: str) -> None:
        """The broker has this as the gateway's status. It may be the last will of an earlier connection."""
        if payload != ONLINE:
            self._sent.pop(self._topics.status, None)
            self._woken.set()

    def note_command(self, camera_id: str) -> None:
        """A command was executed or refused: the sender waits for the state."""
        self._sent.pop(self._topics.state(camera_id), None)
        self._woken.set()

    async def run(self, publish: Publish) -> None:
        """Send until the connection ends, by an exception of ``publish``."""
        self.announce()
        for camera_id in self._gateway.service.cameras:
            self._want_snapshot(camera_id)
        pictures = asyncio.create_task(self._take_snapshots(), name="mqtt-snapshots")
        try:
            while True:
                self._woken.clear()
                await self._send_all(publish)
                await asyncio.sleep(INTERVAL_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self._woken.wait()
        finally:
            pictures.cancel()
            await asyncio.wait([pictures])

    async def _send_all(self, publish: Publish) -> None:
        cameras = self._gateway.service.cameras
        for camera_id in self._known - cameras.keys():
            for topic in self._topics.retained(camera_id):
                await publish(topic, "", True)
                self._sent.pop(topic, None)
            self._known.discard(camera_id)
            self._motion.forget(camera_id)
        for camera in tuple(cameras.values()):
            await self._send_camera(camera, publish)
        await self._send_retained(self._topics.status, ONLINE, publish)
        while self._events:
            await self._send_event(*self._events[0], publish)
        while self._snapshots:
            camera_id = next(iter(self._snapshots))
            picture = self._snapshots.pop(camera_id)
            if camera_id in cameras:
                await publish(self._topics.snapshot(camera_id), picture, True)

    async def _send_camera(self, camera: Camera, publish: Publish) -> None:
        topics, camera_id = self._topics, camera.id
        self._known.add(camera_id)
        if topics.prefix:
            await self._send_retained(
                topics.discovery(camera_id), announcement(topics, camera_id, camera.settings.name), publish
            )
        is_live = camera.session.state is SessionState.LIVE
        await self._send_retained(topics.availability(camera_id), ONLINE if is_live else OFFLINE, publish)
        await self._send_retained(topics.state(camera_id), state_of(camera), publish)
        is_on = self._motion.is_on(camera_id)
        if camera_id in self._pulses:
            self._pulses.discard(camera_id)
            await self._send_retained(topics.motion(camera_id), ON, publish)
        await self._send_retained(topics.motion(camera_id), ON if is_on else OFF, publish)

    async def _send_retained(self, topic: str, payload: str, publish: Publish) -> None:
        if self._sent.get(topic) != payload:
            await publish(topic, payload, True)
            self._sent[topic] = payload

    async def _send_event(self, since_s: float, change: EventChange, publish: Publish) -> None:
        if time.monotonic() - since_s > LATE_S:
            self.dropped["late"] += 1
        else:
            event = models.Event.of(change.event)
            payload = {"event_type": change.kind.value, **event.model_dump(mode="json")}
            await publish(self._topics.event(event.camera_id), json.dumps(payload), False)
        with contextlib.suppress(IndexError):
            if self._events[0][1] is change:
                self._events.popleft()

    # --- snapshots

    async def _take_snapshots(self) -> None:
        while True:
            await self._picture_wanted.wait()
            self._picture_wanted.clear()
            while self._wanted:
                camera_id = next(iter(self._wanted))
                del self._wanted[camera_id]
                camera = self._gateway.service.cameras.get(camera_id)
                if camera is None or camera.session.state is not SessionState.LIVE:
                    continue
                try:
                    self._snapshots[camera_id] = await _picture(camera)
                except LiveedgeError as error:
                    log.debug("MQTT: no snapshot of camera %s: %s", camera_id, error)
                except Exception:
                    log.exception("MQTT: the snapshot of camera %s failed", camera_id)
                self._woken.set()


async def _picture(camera: Camera) -> bytes:
    with contextlib.closing(PictureSource(camera, "snapshot", SNAPSHOT_WIDTH, is_single=True)) as source:
        rendition = await source.started(SNAPSHOT_WAIT_S)
        return (await rendition.jpeg.snapshot(SNAPSHOT_WIDTH)).data


def state_of(camera: Camera) -> str:
    """The state of a camera as JSON, with the words of ``GET /api/cameras``."""
    status = camera.status()
    return json.dumps(
        {
            "camera_id": status.camera_id,
            "name": status.name,
            "state": status.state.value,
            "error_message": status.error_message,
            "down_since": status.down_since,
            "record": camera.settings.record.value,
            "recording": camera.settings.record is not RecordMode.NEVER,
        }
    )
