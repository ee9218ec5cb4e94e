"""Turn: one talker's turn, from taking the floor to giving it back.

    OPENING ──the camera plays──▶ TALKING ──end──▶ ENDED

Rules:

1. The camera's session is opened for the turn, and closed with it. What is said meanwhile waits in the queue, which
   keeps the newest.
2. A turn ends by the talker, by the rules of the floor, or because the camera ends its session. It is told to its owner
   once, with the reason. The floor is free at once; the next session is opened when this one is closed, since many
   cameras have one back channel.
3. Packets that come twice, or after a later one, are left out.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.clock import Clock
from gateway.errors import LiveedgeError, NegotiationError
from gateway.talk.formats import BackChannelFormat, TalkChoice, choose
from gateway.talk.sound import TalkSound
from gateway.talk.voice_queue import VoiceQueue

log = logging.getLogger(__name__)

PAUSE_S = 0.1
"""Voice after such a pause begins a talkspurt (RFC 3551 §4.1)."""


class BackChannel(Protocol):
    """What carries the voice; :class:`~gateway.talk.back_channel.RtspBackChannel` is one."""

    @property
    def is_full(self) -> bool: ...

    async def open(self) -> None: ...

    async def run(self) -> None: ...

    def send(self, payload: bytes, timestamp: int, *, marker: bool) -> None: ...

    async def close(self) -> None: ...


ChooseFormat = Callable[[Sequence[BackChannelFormat]], BackChannelFormat]
MakeChannel = Callable[[ChooseFormat], BackChannel]


@dataclass(slots=True)
class TalkCounters:
    """Of all turns of a camera. They never decrease."""

    turns: int = 0
    refused: int = 0
    """Talkers that were refused because somebody else talked."""
    failed: int = 0
    """Turns that the camera did not take, or ended."""
    packets_sent: int = 0
    packets_dropped: int = 0
    """Packets of voice that the camera did not get: late, not decodable, or more than it takes."""


class Turn:
    """See the module. Made by :meth:`~gateway.talk.camera_talk.CameraTalk.begin`; ``on_end`` gets the reason."""

    def __init__(
        self,
        camera_id: str,
        who: str,
        offered: Collection[str],
        make_channel: MakeChannel,
        clock: Clock,
        counters: TalkCounters,
        on_end: Callable[["Turn", str], None],
    ) -> None:
        self.camera_id = camera_id
        self.who = who
        """For the log and the status."""
        self.began_90k = clock.wall_90k()
        self.reason: str | None = None
        """Why it has ended."""
        self.error: LiveedgeError | None = None
        """What the camera did wrong, if that is why."""
        self.choice: TalkChoice | None = None
        """Once the camera is ready."""
        self.closed = asyncio.Event()
        """Its session with the camera is over."""
        self._offered = offered
        self._clock = clock
        self._counters = counters
        self._on_end = on_end
        self._channel = make_channel(self._choose)
        self._sound: TalkSound | None = None
        self._queue: VoiceQueue | None = None
        self._early: list[tuple[bytes, int]] = []
        self._last_sequence: int | None = None
        self._next_at: int | None = None
        """The time of the packet that follows the newest without a pause, in ticks of the camera's clock."""
        self._timer: asyncio.TimerHandle | None = None
        self._opened: asyncio.Future[TalkChoice] = asyncio.get_running_loop().create_future()
        self._opened.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._task: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the camera is ready for voice."""
        return self.choice is not None and self._opened.done() and self.reason is None

    def start(self, after: "Turn | None") -> None:
        """Open the camera's session, when that of the turn before is closed."""
        self._task = asyncio.create_task(self._run(after), name=f"talk-{self.camera_id}")

    async def wait_open(self) -> TalkChoice:
        """Return when the camera is ready. Raises a :class:`~gateway.errors.LiveedgeError` where it does not become."""
        return await asyncio.shield(self._opened)

    def take(self, payload: bytes, sequence: int, timestamp: int) -> None:
        """An RTP packet of the talker."""
        if self.reason is not None:
            return
        last = self._last_sequence
        if last is not None and not 0 < (sequence - last) & 0xFFFF < 0x8000:
            self._counters.packets_dropped += 1
            return
        self._last_sequence = sequence
        if self._sound is None or self._queue is None:
            self._early.append((payload, timestamp))
            if len(self._early) > EARLY_MAX:
                del self._early[0]
                self._counters.packets_dropped += 1
            return
        self._push(payload, timestamp)
        self._pump()

    def end(self, reason: str) -> None:
        """End it. May be called twice."""
        if self.reason is not None:
            return
        self.reason = reason
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        else:
            self.closed.set()
        if not self._opened.done():
            self._opened.set_exception(NegotiationError(reason))
        self._on_end(self, reason)

    def _choose(self, formats: Sequence[BackChannelFormat]) -> BackChannelFormat:
        choice = choose(formats, self._offered)
        if choice is None:
            raise NegotiationError(
                "the offer has no section of sound that sends Opus, G.722, PCMU or PCMA; nothing else is taken"
            )
        self.choice = choice
        return choice.format

    async def _run(self, after: "Turn | None") -> None:
        try:
            if after is not None:
                await after.closed.wait()
            await self._channel.open()
            assert self.choice is not None
            self._begin(self.choice)
            await self._channel.run()
        except LiveedgeError as error:
            self._fail(error)
        except Exception as error:
            log.exception("camera %s: its back channel failed", self.camera_id, extra={"camera": self.camera_id})
            self._fail(LiveedgeError(f"the back channel failed: {error}"))
        finally:
            # Also where it is cancelled: the camera gets its TEARDOWN.
            await asyncio.shield(asyncio.ensure_future(self._close()))

    async def _close(self) -> None:
        try:
            await self._channel.close()
        finally:
            self.closed.set()

    def _fail(self, error: LiveedgeError) -> None:
        if self.reason is not None:
            return
        self.error = error
        self._counters.failed += 1
        if not self._opened.done():
            self._opened.set_exception(error)
        self._task = None  # It ends by itself.
        self.end(str(error))

    def _begin(self, choice: TalkChoice) -> None:
        self._sound, self._queue = TalkSound(choice), VoiceQueue(choice.format.clock_rate)
        early, self._early = self._early, []
        for payload, timestamp in early:
            self._push(payload, timestamp)
        self._opened.set_result(choice)
        self._pump()

    def _push(self, payload: bytes, timestamp: int) -> None:
        assert self._sound is not None
        assert self._queue is not None
        before = self._sound.faults + self._queue.dropped
        for voice in self._sound.take(payload, timestamp):
            self._queue.push(voice)
        self._counters.packets_dropped += self._sound.faults + self._queue.dropped - before

    def _pump(self) -> None:
        """Send what is due, as far as the camera takes it."""
        queue, choice = self._queue, self.choice
        if queue is None or choice is None or self.reason is not None:
            return
        while not self._channel.is_full and (voice := queue.pop(self._clock.monotonic())) is not None:
            pause = PAUSE_S * choice.format.clock_rate
            begins = self._next_at is None or voice.at - self._next_at > pause
            marker = voice.ends_frame if choice.format.packets.has_markers else begins
            self._next_at = voice.at + voice.duration
            self._counters.packets_sent += 1
            self._channel.send(voice.payload, voice.at, marker=marker)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if queue.due_at is not None:
            wait_s = max(FULL_S if self._channel.is_full else 0.0, queue.due_at - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._pump)


EARLY_MAX = 20
"""Packets that are kept while the camera's session is opened: the newest 0.4 s."""

FULL_S = 0.05
"""When a camera that has not read is checked again, in seconds."""
