"""EventSource: what one camera detects becomes events, by PullPoint (:mod:`gateway.onvif.events`).

Rules:

1. A connection that is lost is opened again, with growing waits (:mod:`gateway.backoff`). So is one that the camera
   refuses after it has told events: its clock may have been set. A camera that refuses the password of a new connection
   is asked again only after half an hour: see :mod:`gateway.onvif.password_tries`.
2. Events whose camera is away for :data:`LOST_S` end when it was heard last. After a reconnection the camera tells all
   its states: events that go on stay open, the others end. So do those that an earlier process left open. A state that
   the camera does not tell among the others, within :data:`LOST_S`, exists no more.
3. A camera that tells of more than :data:`PER_MINUTE` events a minute is not believed: the rest are dropped and
   counted. Otherwise it could push the events of all others out of the database.
4. While the index fails, begins and ends wait (:mod:`hls.events.writer`), and the connection to the camera goes on.
"""

import asyncio
import contextlib
import logging
import uuid
from dataclasses import replace

from gateway.backoff import Backoff
from gateway.clock import Clock, seconds_90k
from gateway.errors import LiveedgeError, redact
from gateway.event import Event, EventFilter, EventOrder
from gateway.onvif import events as messages
from gateway.onvif.errors import OnvifError, OnvifLockedError, OnvifUnauthorizedError, OnvifUnsupportedError
from gateway.onvif.events import SUBSCRIPTION_S, Change, EventStates, Key, Subscription, key_of
from gateway.onvif.soap import Service
from hls.events.service import EventService
from hls.events.writer import EventWriter
from web.onvif.camera import CameraOnvif

log = logging.getLogger(__name__)

SOURCE = "onvif"
"""Of the events."""

LOST_S = 30.0

PER_MINUTE = 120

REFUSED_S = 1800.0

EMPTY_S = 0.5
"""A camera that holds no answer back is asked at this interval."""

BUSY_S = 0.05
"""A pause after each faster answer: a camera that tells of thousands of events a second gets its share of the loop."""

CLOCK_S = 600.0
"""How often the clocks are compared."""

RETRY_S = 2.0

LONGEST_S = 60.0


class EventSource:
    """See the module. :meth:`run` ends when it is cancelled."""

    def __init__(self, camera_id: str, onvif: CameraOnvif, events: EventService | None, clock: Clock) -> None:
        """Without ``events``, it only compares the clocks."""
        self.error: str | None = None
        """Why no events come now."""
        self.is_listening = False
        self.dropped = 0
        """Rule 3."""
        self._camera_id = camera_id
        self._onvif = onvif
        self._events = events
        self._writer = EventWriter(events) if events is not None else None
        self._clock = clock
        self._states = EventStates()
        self._ids: dict[Key, str] = {}
        self._heard_s = 0.0
        self._untold: set[Key] = set()
        """Open events whose state the camera has not told since the subscription; rule 2."""
        self._tells_states = False
        self._is_adopted = False
        self._minute: tuple[int, int] = (0, 0)
        self._clock_at = 0.0
        self._is_failing = False

    async def run(self) -> None:
        """Listen, until it is cancelled."""
        backoff = Backoff(2, RETRY_S, longest_s=LONGEST_S)
        while True:
            began = self._clock.monotonic()
            try:
                await self._listen()
                wait_s = CLOCK_S
            except (OnvifUnauthorizedError, OnvifLockedError, OnvifUnsupportedError) as error:
                self._failed(error)
                is_new = not self.is_listening or not isinstance(error, OnvifUnauthorizedError)
                wait_s = REFUSED_S if is_new else backoff.ended(self._clock.monotonic() - began)
            except LiveedgeError as error:
                self._failed(error)
                wait_s = backoff.ended(self._clock.monotonic() - began)
            self.is_listening = False
            await self._sleep(wait_s)

    async def end_all(self, at_s: float) -> None:
        """End the events that are open."""
        for key in tuple(self._ids):
            self._states.active.discard(key)
            self._end(key, at_s)
        await self._write()

    async def _write(self) -> None:
        """Rule 4. What cannot be written now is tried again with the next answer of the camera."""
        if self._writer is None or not len(self._writer):
            return
        try:
            await self._writer.write()
            self._is_failing = False
        except LiveedgeError as error:
            if not self._is_failing:
                self._is_failing = True
                log.warning(
                    "camera %s: its events cannot be kept: %s",
                    self._camera_id,
                    error,
                    extra={"camera": self._camera_id},
                )

    async def _sleep(self, wait_s: float) -> None:
        """Wait for the next attempt; rule 2."""
        if self._ids and wait_s > 0:
            until = self._clock.monotonic() + wait_s
            left_s = max(self._heard_s + LOST_S - self._clock.monotonic(), 0.0)
            await asyncio.sleep(min(left_s, wait_s))
            if self._clock.monotonic() >= self._heard_s + LOST_S:
                await self.end_all(self._now_s() - (self._clock.monotonic() - self._heard_s))
            wait_s = until - self._clock.monotonic()
        await asyncio.sleep(max(wait_s, 0.0))

    def _failed(self, error: LiveedgeError) -> None:
        reason = redact(error)
        if self.error != reason:
            log.warning("camera %s: no ONVIF events: %s", self._camera_id, reason, extra={"camera": self._camera_id})
        self.error = reason

    async def _listen(self) -> None:
        connected = await self._onvif.connected()
        self._clock_at = self._clock.monotonic()
        if self._events is None:
            await self._onvif.read_clock()
            self.error = None
            return
        if not connected.client.has(Service.EVENTS):
            raise OnvifUnsupportedError("the camera has no service for events")
        await self._adopt()
        self._states.sources = connected.sources
        answer = await self._onvif.call(messages.create_pull_point())
        subscription = messages.parse_subscription(answer)
        try:
            await self._pull(subscription)
        finally:
            with contextlib.suppress(LiveedgeError, TimeoutError):
                async with asyncio.timeout(2.0):
                    await self._onvif.call(messages.unsubscribe(subscription), 2.0, subscription.address)

    async def _pull(self, subscription: Subscription) -> None:
        began = renewed = self._clock.monotonic()
        self._untold, self._tells_states = set(self._ids), False
        while True:
            asked = self._clock.monotonic()
            answer = await self._onvif.call(
                messages.pull_messages(subscription), messages.PULL_S + 10.0, subscription.address
            )
            notices = messages.parse_notices(answer)
            self._heard_s = now = self._clock.monotonic()
            self.error, self.is_listening = None, True
            for notice in notices:
                self._untold.discard(key_of(notice))
                self._tells_states |= notice.operation == "Initialized"
                for change in self._states.take(notice, self._now_s(), self._onvif.clock_offset_s or 0.0):
                    self._apply(change)
            if now - began > LOST_S:
                self._end_untold(now - began)
            await self._write()
            if not notices and now - asked < EMPTY_S:
                await asyncio.sleep(EMPTY_S)
            elif now - asked < BUSY_S:
                await asyncio.sleep(BUSY_S)
            if now - renewed > min(subscription.lasts_s, SUBSCRIPTION_S) / 2:
                renewed = now
                await self._renew(subscription)
            if now - self._clock_at > CLOCK_S:
                self._clock_at = now
                await self._onvif.read_clock()

    def _end_untold(self, since_s: float) -> None:
        """Rule 2: end them when the subscription began. A camera that tells no states may still tell their end."""
        for key in self._untold if self._tells_states else ():
            self._states.active.discard(key)
            self._end(key, self._now_s() - since_s)
        self._untold = set()

    async def _renew(self, subscription: Subscription) -> None:
        """Pulling renews it too (Core §9.1.2), and some cameras know no Renew, or refuse it with any fault.

        If it has ended, or the password is refused, the next pull says so.
        """
        with contextlib.suppress(OnvifError):
            await self._onvif.call(messages.renew(subscription), address=subscription.address)

    # --- events

    async def _adopt(self) -> None:
        """Go on with the events that an earlier process left open; rule 2."""
        if self._is_adopted or self._events is None:
            return
        wanted = EventFilter(frozenset({self._camera_id}), sources=(SOURCE,))
        page = await self._events.page(wanted, EventOrder.NEWEST, 100)
        for event in page.events:
            if event.is_open:
                key = (str(event.data.get("topic", "")), str(event.data.get("source", "")))
                if self._ids.get(key) == event.id:
                    continue
                if key in self._ids:
                    self._update(event.id, self._now_s())
                else:
                    self._ids[key] = event.id
                    self._states.active.add(key)
        await self._write()
        self._is_adopted = True
        self._heard_s = self._clock.monotonic()

    def _apply(self, change: Change) -> None:
        assert self._writer is not None
        if change.is_active is False:
            self._end(change.key, change.at_s)
        elif self._is_believed():
            at_90k, now_90k = seconds_90k(change.at_s), self._clock.wall_90k()
            data = {"topic": change.key[0], "source": change.key[1], **change.data}
            event = Event(
                str(uuid.uuid4()),
                self._camera_id,
                at_90k,
                at_90k if change.is_active is None else None,
                change.label,
                SOURCE,
                data=data,
                created_90k=now_90k,
                updated_90k=now_90k,
            )
            if self._writer.make(event) and change.is_active:
                self._ids[change.key] = event.id
        else:
            self._states.active.discard(change.key)

    def _is_believed(self) -> bool:
        minute, count = int(self._clock.monotonic() // 60), 0
        if self._minute[0] == minute:
            count = self._minute[1]
        self._minute = (minute, count + 1)
        if count < PER_MINUTE:
            return True
        self.dropped += 1
        return False

    def _end(self, key: Key, at_s: float) -> None:
        event_id = self._ids.pop(key, None)
        if event_id is not None:
            self._update(event_id, at_s)

    def _update(self, event_id: str, at_s: float) -> None:
        assert self._writer is not None
        end_90k, now_90k = seconds_90k(at_s), self._clock.wall_90k()

        def end(event: Event) -> Event:
            return (
                replace(event, end_90k=max(end_90k, event.start_90k), updated_90k=now_90k) if event.is_open else event
            )

        self._writer.change(event_id, end)

    def _now_s(self) -> float:
        return self._clock.wall_90k() / 90_000
