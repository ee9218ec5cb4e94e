"""CameraTalk: the talkers of one camera, and what the camera is known to take.

Rules:

1. Whether a camera has a back channel is asked when somebody wants to know, and remembered: without limit where it has
   one, for :data:`NONE_S` where it has none, for :data:`UNKNOWN_S` where it cannot be reached. One that refuses the
   password is asked again when :mod:`gateway.capture.camera_errors` says so: cameras lock an account after some tries.
2. Other settings of the camera end its turn and what is known.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection

from gateway.camera import Camera
from gateway.camera_settings import TalkMode
from gateway.capture.engine import CaptureSource
from gateway.capture.rtsp_connect import SCHEMES
from gateway.clock import Clock
from gateway.errors import CaptureError, ConflictError, LiveedgeError
from gateway.talk.back_channel import RtspBackChannel, look_at_back_channel
from gateway.talk.errors import NoBackChannelError, TalkBusyError
from gateway.talk.floor import Floor
from gateway.talk.formats import BackChannelFormat
from gateway.talk.turn import TalkCounters, Turn

log = logging.getLogger(__name__)

NONE_S = 600.0
"""In seconds: somebody may have switched the loudspeaker on."""

UNKNOWN_S = 10.0
"""In seconds: the camera may be there again."""

TICK_S = 0.25
"""How often the rules of the floor are checked, in seconds."""

OnEnd = Callable[[str], None]


class CameraTalk:
    """See the module."""

    def __init__(self, camera: Camera, clock: Clock) -> None:
        self.camera = camera
        self.counters = TalkCounters()
        self.turn: Turn | None = None
        """Who talks now."""
        self._clock = clock
        self._floor = Floor(camera.id)
        self._settings = _relevant(camera)
        self._formats: tuple[BackChannelFormat, ...] | None = None
        self._failure: LiveedgeError | None = None
        self._ask_again_at = 0.0
        self._looking: asyncio.Task[tuple[BackChannelFormat, ...]] | None = None
        self._last: Turn | None = None
        """The newest turn, whose session may not be closed yet."""
        self._on_end: OnEnd = lambda _: None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_taken(self) -> bool:
        """Whether somebody has the floor."""
        return self._floor.is_taken

    @property
    def known_formats(self) -> tuple[BackChannelFormat, ...]:
        """The formats of the back channel, as far as they are known; the first is the usual one."""
        return self._formats or ()

    @property
    def may_have_back_channel(self) -> bool:
        """False where it is known that there is none."""
        try:
            self._source()
            self._refuse_early()
        except NoBackChannelError:
            return False
        except LiveedgeError:
            pass
        return True

    def refresh(self) -> None:
        """Apply the camera's settings (rule 2)."""
        settings = _relevant(self.camera)
        if settings != self._settings:
            self._settings = settings
            self._formats, self._ask_again_at = None, 0.0
            self.end_turn("the camera has other settings")

    async def formats(self) -> tuple[BackChannelFormat, ...]:
        """What the camera takes, by rule 1.

        Raises :class:`~gateway.talk.errors.NoBackChannelError`, and a :class:`~gateway.errors.CaptureError` where the
        camera cannot be asked.
        """
        source = self._source()
        if self._formats is not None:
            return self._formats
        self._refuse_early()
        # One that asks may leave: the others wait for the same answer.
        return await asyncio.shield(self._ask(source))

    def find_out(self) -> None:
        """Ask the camera what it takes, without waiting, by rule 1."""
        with contextlib.suppress(LiveedgeError):
            source = self._source()
            self._refuse_early()
            if self._formats is None:
                self._ask(source)

    def begin(self, who: str, offered: Collection[str], on_end: OnEnd, *, silence_s: float) -> Turn:
        """Give a talker the floor, who offers these codecs, and open the back channel.

        Raises :class:`~gateway.talk.errors.TalkBusyError`, and what :meth:`formats` has found out: a
        :class:`~gateway.talk.errors.NoBackChannelError` or a :class:`~gateway.errors.CaptureError`.
        """
        source = self._source()
        self._refuse_early()
        now = self._clock.monotonic()
        turn = Turn(
            self.camera.id,
            who,
            offered,
            lambda choose: RtspBackChannel(source, self._clock, choose),
            self._clock,
            self.counters,
            self._ended,
        )
        try:
            self._floor.take(turn, now, silence_s=silence_s, max_s=self.camera.settings.talk_max)
        except TalkBusyError:
            self.counters.refused += 1
            raise
        self.counters.turns += 1
        self.turn, self._on_end = turn, on_end
        log.info("camera %s: %s talks", self.camera.id, who, extra={"camera": self.camera.id})
        turn.start(self._last)
        self._last = turn
        self._schedule()
        return turn

    def now(self) -> float:
        """Monotonic seconds, of the floor's clock."""
        return self._clock.monotonic()

    def heard(self, turn: Turn) -> None:
        """The one who has the floor says something."""
        if turn is self.turn:
            self._floor.heard(self._clock.monotonic())

    def end_turn(self, reason: str) -> None:
        """End the turn of the one who talks."""
        if self.turn is not None:
            self.turn.end(reason)

    async def close(self, reason: str) -> None:
        """End everything; returns when the camera has been told."""
        self.end_turn(reason)
        if self._looking is not None:
            self._looking.cancel()
        if self._last is not None:
            await self._last.closed.wait()

    def _source(self) -> CaptureSource:
        settings = self.camera.settings
        if settings.talk is TalkMode.NEVER:
            raise NoBackChannelError(
                f"talking to camera {self.camera.id} is switched off: its setting talk is never"
            ).because("talk_off")
        source = self.camera.main.back_channel_source()
        if source.url.partition("://")[0].strip().lower() not in SCHEMES:
            raise NoBackChannelError(
                f"camera {self.camera.id} is not pulled by RTSP, so that it has no back channel; set talk_url to the"
                " rtsp:// URL of its ONVIF stream"
            )
        return source

    def _ask(self, source: CaptureSource) -> asyncio.Task[tuple[BackChannelFormat, ...]]:
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(source), name=f"look-back-channel-{self.camera.id}")
            self._looking.add_done_callback(_looked)
        return self._looking

    async def _look(self, source: CaptureSource) -> tuple[BackChannelFormat, ...]:
        try:
            self._formats = await look_at_back_channel(source, self._clock)
        except (CaptureError, ConflictError) as error:
            self._failed(error)
            raise
        finally:
            self._looking = None
        return self._formats

    def _failed(self, error: LiveedgeError) -> None:
        wait_s = UNKNOWN_S
        if isinstance(error, NoBackChannelError):
            self._formats, wait_s = None, NONE_S
        elif isinstance(error, CaptureError):
            wait_s = max(wait_s, error.retry_after_s)
        self._failure, self._ask_again_at = error, self._clock.monotonic() + wait_s

    def _refuse_early(self) -> None:
        """Raise what was wrong with the camera a moment ago (rule 1)."""
        if self._failure is not None and self._clock.monotonic() < self._ask_again_at:
            raise self._failure.with_traceback(None)

    def _ended(self, turn: Turn, reason: str) -> None:
        self._floor.end(turn)
        if self.turn is turn:
            self.turn = None
        error = turn.error
        if isinstance(error, NoBackChannelError) or (isinstance(error, CaptureError) and error.retry_after_s > 0):
            self._failed(error)
        log.info("camera %s: %s talks no more: %s", self.camera.id, turn.who, reason, extra={"camera": self.camera.id})
        on_end, self._on_end = self._on_end, lambda _: None
        on_end(reason)

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self._timer = None
        reason = self._floor.over(self._clock.monotonic())
        if reason is not None:
            self.end_turn(reason)
        if self.turn is not None:
            self._schedule()


def _relevant(camera: Camera) -> tuple[object, ...]:
    settings = camera.settings
    return settings.url, settings.talk_url, settings.talk, settings.capture_tls_verify, settings.capture_tls_ca_file


def _looked(task: asyncio.Task[tuple[BackChannelFormat, ...]]) -> None:
    """Everybody who asked may have left."""
    if not task.cancelled():
        task.exception()
