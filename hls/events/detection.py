"""Detection: runs the detectors of cameras, and makes events of what they find.

Theory of operation. A camera with the setting ``detector`` is captured all the time, its sub stream if it has one. Each
of its keyframes is offered to the detector, which takes the newest one when it is free. Decoding and detecting are in
one thread for all cameras, with the lowest priority. What is found becomes events (:mod:`hls.events.sightings`) of the
source ``detector:NAME``.

Rules:

1. A packet never waits for a detector: a keyframe that comes while one waits takes its place, and is counted.
2. The detector gets two pictures a second of a camera at most.
3. Events that were open when the process ended are ended at the next start, and all when the camera or its detector
   goes. While the index fails, begins and ends wait (:mod:`hls.events.writer`).
4. A detector that raises does not end: its fault is in :attr:`CameraDetection.error` and in the log, once a minute.
"""

import asyncio
import contextlib
import logging
import os
import threading
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from gateway.camera import Camera
from gateway.clock import CLOCK_RATE, Clock
from gateway.detect import detector_factory
from gateway.detect.detector import Detection, Detector, DetectorOptions
from gateway.detect.keyframe import decode_keyframe
from gateway.errors import LiveedgeError, redact
from gateway.event import Event, EventFilter, EventOrder
from gateway.event_models import check_data, check_text
from gateway.media import Packet
from gateway.picture_settings import zones
from gateway.service import CaptureService
from hls.events.service import EventService
from hls.events.sightings import Sighting, Sightings
from hls.events.writer import EventWriter

log = logging.getLogger(__name__)

NICENESS = 19
INTERVAL_90K = CLOCK_RATE // 2
TICK_S = 1.0
"""Between two checks of what is over, while no picture comes."""

OPEN_MAX = 100
WARN_S = 60.0

SOURCE = "detector:"


class Detections:
    """See the module. Lives on the event loop."""

    def __init__(self, events: EventService, service: CaptureService, clock: Clock) -> None:
        self._events = events
        self._service = service
        self._clock = clock
        self._executor = ThreadPoolExecutor(1, "detector", _lower_priority)
        self._cameras: dict[str, CameraDetection] = {}

    @property
    def cameras(self) -> "Mapping[str, CameraDetection]":
        """Those that have a detector."""
        return self._cameras

    async def start(self) -> None:
        """After the events were read."""
        for camera in self._service.cameras.values():
            await self.set_camera(camera)

    async def close(self) -> None:
        """End all events. May be called twice."""
        await asyncio.gather(*(self.remove_camera(camera_id) for camera_id in tuple(self._cameras)))
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def set_camera(self, camera: Camera) -> None:
        """A camera is new, or its settings or its owner have changed. The owner alone has a detector for it."""
        present = self._cameras.get(camera.id)
        if present is not None and present.key == _key(camera):
            return
        await self.remove_camera(camera.id)
        if camera.settings.detector is not None and camera.is_own:
            self._cameras[camera.id] = CameraDetection(camera, self._events, self._clock, self._executor)

    async def remove_camera(self, camera_id: str) -> None:
        """A camera is gone, or has no detector any more."""
        present = self._cameras.pop(camera_id, None)
        if present is not None:
            await present.close()


def _key(camera: Camera) -> object:
    settings = camera.settings
    # A sub stream that was removed and came back is another object.
    zones_of = settings.detector_zones
    return settings.detector, settings.detector_sensitivity, zones_of, camera.sub or camera.main, camera.is_own


class CameraDetection:
    """The detector of one camera."""

    def __init__(self, camera: Camera, events: EventService, clock: Clock, executor: ThreadPoolExecutor) -> None:
        self.key = _key(camera)
        self.counted: Counter[str] = Counter()
        """Pictures that were ``looked_at``, ``dropped`` because the detector was busy, and in which it ``failed``."""
        self.error: str | None = None
        """Why the detector finds nothing."""
        settings = camera.settings
        assert settings.detector is not None
        self._camera_id = camera.id
        self._source = f"{SOURCE}{settings.detector}"[:64]
        self._factory = detector_factory(settings.detector)
        self._options = DetectorOptions(camera.id, settings.detector_sensitivity, zones(settings.detector_zones))
        self._detector: Detector | None = None
        self._events = events
        self._writer = EventWriter(events)
        self._are_old_ended = False
        self._clock = clock
        self._executor = executor
        self._sightings = Sightings()
        self._open: dict[str, str] = {}
        """Ids of the events that are open, by label."""
        self._waiting: Packet | None = None
        self._taken_90k = -INTERVAL_90K
        self._warned_s = float("-inf")
        self._wakeup = asyncio.Event()
        rendition = camera.sub or camera.main
        self._hold = rendition.hold("")
        self._detach = rendition.hub.attach(self._offer)
        self._task = asyncio.create_task(self._run(), name=f"detector-{camera.id}")

    async def close(self) -> None:
        """End what is open."""
        self._detach()
        self._hold.release()
        self._task.cancel()
        await asyncio.wait([self._task])
        try:
            await self._tell((), self._sightings.end())
        except LiveedgeError as error:
            self._warn(f"{len(self._writer)} begins and ends of events are lost: {error}")

    def _offer(self, packet: Packet) -> None:
        """Rules 1 and 2."""
        if not (packet.is_video and packet.is_keyframe):
            return
        if 0 <= packet.captured_at_90k - self._taken_90k < INTERVAL_90K:
            return
        self._taken_90k = packet.captured_at_90k
        if self._waiting is not None:
            self.counted["dropped"] += 1
        self._waiting = packet
        self._wakeup.set()

    async def _run(self) -> None:
        while True:
            if not self._are_old_ended:
                await self._end_old()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._wakeup.wait()
            self._wakeup.clear()
            packet, self._waiting = self._waiting, None
            try:
                if packet is None:
                    await self._tell((), self._sightings.expire(self._clock.wall_90k()))
                    continue
                found = await self._detect(packet)
                changes = self._sightings.add(packet.captured_at_90k, found)
                await self._tell(changes.begun, changes.ended)
            except LiveedgeError as error:
                self._warn(f"events cannot be kept: {error}")

    async def _detect(self, packet: Packet) -> Sequence[Detection]:
        self.counted["looked_at"] += 1
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._executor, self._work, packet)
        except Exception as error:
            self.counted["failed"] += 1
            self._warn(f"it failed: {type(error).__name__}: {redact(error)}")
            return ()
        self.error = None
        return found

    def _work(self, packet: Packet) -> Sequence[Detection]:
        """In the thread."""
        frame = decode_keyframe(packet)
        if frame is None:
            raise ValueError("a keyframe cannot be decoded")
        if self._detector is None:
            self._detector = self._factory(self._options)
        found = list(self._detector.detect(frame))
        for each in found:
            if not (isinstance(each, Detection) and 0 < len(each.label) <= 64 and 0 <= each.score <= 1):
                raise ValueError("a Detection has a label of 1 to 64 characters and a score from 0 to 1")
            check_text(each.label)
            check_data(dict(each.data))
        return found

    async def _tell(self, begun: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        """Make and end events, and those that the index did not take before. Raises ``LiveedgeError``."""
        now_90k = self._clock.wall_90k()
        for each in begun:
            event = Event(
                str(uuid.uuid4()),
                self._camera_id,
                min(each.first_90k, now_90k),
                None,
                each.label,
                self._source,
                round(each.best.score, 3),
                dict(each.best.data),
                created_90k=now_90k,
                updated_90k=now_90k,
            )
            if self._writer.make(event):
                self._open[each.label] = event.id
        for each in ended:
            event_id = self._open.pop(each.label, None)
            if event_id is not None:
                self._writer.change(event_id, partial(_ended, sighting=each, now_90k=now_90k))
        await self._writer.write()

    async def _end_old(self) -> None:
        """Rule 3: those of a process before this one."""
        wanted = EventFilter(cameras=frozenset({self._camera_id}), sources=(self._source,))
        try:
            page = await self._events.page(wanted, EventOrder.NEWEST, OPEN_MAX)
            for event in page.events:
                if event.is_open and event.id not in self._open.values():
                    await self._events.update(event.id, _closed)
            self._are_old_ended = True
        except LiveedgeError as error:
            self._warn(f"its open events cannot be ended: {error}")

    def _warn(self, text: str) -> None:
        self.error = f"detector {self._source.removeprefix(SOURCE)}: {text}"
        now_s = self._clock.monotonic()
        if now_s - self._warned_s >= WARN_S:
            self._warned_s = now_s
            log.warning("camera %s: %s", self._camera_id, self.error, extra={"camera": self._camera_id})


def _ended(event: Event, sighting: Sighting, now_90k: int) -> Event:
    if not event.is_open:
        return event
    best = sighting.best
    return replace(
        event,
        end_90k=max(event.start_90k, min(sighting.last_90k, now_90k)),
        score=round(best.score, 3),
        data=event.data | dict(best.data),
        updated_90k=now_90k,
    )


def _closed(event: Event) -> Event:
    """Ended when it was last heard of."""
    return replace(event, end_90k=max(event.start_90k, event.updated_90k)) if event.is_open else event


def _lower_priority() -> None:
    """On Linux, the niceness is that of a thread (setpriority(2))."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
