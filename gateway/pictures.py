"""PictureSource: which stream of a camera is decoded to pictures for one viewer, and its capture while it is.

Theory of operation. Every change of the camera, and a timer, make a source choose again. The stream that suits best is
captured all the time, so that its return is seen. The other one is captured while it takes its place.

Rules:

1. A stream that is preferred suits best. Without one, it is the smallest stream whose pictures have the width that is
   asked for, or the largest where none has; without a width, the main stream. A sub stream that was not captured before
   is captured to learn its width.
2. The other stream takes its place where that one is lost, sends no pictures at present
   (:mod:`gateway.stall_watch`), has not begun within :data:`PATIENCE_S`, or has sent nothing for
   :data:`UNDECODABLE_S` that can be decoded. A viewer sees a picture while either stream has one.
3. The stream that suits best is decoded again when it is there again, and steady. After it was undecodable, that is
   after :data:`AVOID_S`.
4. One picture comes from the stream that has a GOP in memory: to start another one takes seconds.
5. A source that is no viewer takes what a command captured: it does not keep the main stream, and holds nothing while
   that is not wanted.
"""

import asyncio
import logging
from collections.abc import Callable

from gateway.camera import Camera
from gateway.camera_settings import RenditionName
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import UnavailableError
from gateway.hold import Hold
from gateway.rendition import Rendition
from gateway.session import SessionState

log = logging.getLogger(__name__)

PATIENCE_S = 1.5
"""How long a stream may take to start before the other one is started too: most cameras take a second."""

UNDECODABLE_S = 10.0
AVOID_S = 30.0

TICK_S = 1.0


class PictureSource:
    """See the module. Lives on the event loop; close it when the viewer has left.

    ``kind`` is the transport in the camera's status. ``width`` is in pixels, ``None`` is the camera's. ``on_move`` is
    called with :attr:`rendition` when that has changed, and with ``None`` when the camera was removed.
    """

    def __init__(
        self,
        camera: Camera,
        kind: str,
        width: int | None,
        on_move: Callable[[Rendition | None], None] = lambda _: None,
        *,
        is_viewer: bool = True,
        is_single: bool = False,
        preferred: RenditionName | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.camera = camera
        self.rendition: Rendition | None = None
        """The stream to decode; ``None`` before the first one has a picture."""
        self._kind = kind
        self._width = width
        self._on_move = on_move
        self._is_viewer = is_viewer
        self._is_single = is_single
        self._preferred = preferred
        self._clock = clock
        self._holds: dict[Rendition, Hold[Rendition] | None] = {}
        """Of no kind: that a stream is watched or not any more must not begin another attempt."""
        self._watched: Rendition | None = None
        self._watched_hold: Hold[Rendition] | None = None
        self._avoid_until_s: dict[Rendition, float] = {}
        self._waiting_since_s = clock.monotonic()
        """Since when a stream has been awaited."""
        self._decoded = 0
        self._decoded_at_s = 0.0
        """The pictures of the present stream, and when there was a new one."""
        self._closed = False
        self._moved = asyncio.Event()
        self._is_scheduled = False
        self._forget = camera.listen(self._schedule)
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        self._update()

    @property
    def is_over(self) -> bool:
        """Whether no picture will come any more: it was closed, or its camera was removed."""
        return self._closed or self.camera.is_closed

    def set_width(self, width: int | None) -> None:
        """The viewer wants another width."""
        self._width = width
        self._update()

    def avoid(self, rendition: Rendition) -> None:
        """Its pictures cannot be decoded. Wait for the other one."""
        self._avoid_until_s[rendition] = self._clock.monotonic() + AVOID_S
        self._decode(None, "")
        self._update()

    async def started(self, timeout_s: float) -> Rendition:
        """The stream to decode, once it has a keyframe. Raises :class:`~gateway.errors.UnavailableError`."""
        deadline = self._clock.monotonic() + timeout_s
        while self.rendition is None:
            try:
                left_s = 0.0 if self._is_hopeless() else max(0.0, deadline - self._clock.monotonic())
                self._moved.clear()
                async with asyncio.timeout(left_s):
                    await self._moved.wait()
            except TimeoutError:
                if self.rendition is None:
                    await self.camera.main.wait_for_keyframe(0.0)
                    raise UnavailableError(f"camera {self.camera.id} has no picture yet", retry_after_s=2) from None
        return self.rendition

    def close(self) -> None:
        """Release everything. Twice is fine."""
        self._closed = True
        self._forget()
        self._timer.cancel()
        self._keep()
        self._moved.set()

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        self._update()

    def _schedule(self) -> None:
        # Not at once: this is called while a rendition changes, also by a hold of this source.
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._update)

    def _update(self) -> None:
        """Choose again."""
        self._is_scheduled = False
        if self._closed:
            return
        if self.camera.is_closed:
            self._decode(None, "")
            self._keep()
            return
        if not self._is_viewer and not self.camera.main.is_wanted:
            self._decode(None, "")
            self._keep()
            return
        now = self._clock.monotonic()
        best, other = self._in_order()
        self._note_undecodable(now, other)
        is_live = best.session.state is SessionState.LIVE
        if other is None:
            self._decode(best if best.has_pictures or is_live else None, "it is the only one")
            self._keep(best)
        elif self._is_good(best, other) and self._avoid_until_s.get(best, now) <= now:
            self._decode(best, "it suits best")
            self._keep(best)
        elif self.rendition is best or self._may_replace(now, best, other):
            self._keep(best, other)
            if other.has_pictures:
                self._decode(other, f"the {best.name} stream sends no pictures")
        else:
            self._keep(best)
        if self._is_hopeless():
            self._moved.set()

    def _in_order(self) -> tuple[Rendition, Rendition | None]:
        """Rule 1."""
        main, sub = self.camera.main, self.camera.sub
        if sub is None:
            return main, None
        if self._preferred is not None:
            return (sub, main) if self._preferred is RenditionName.SUB else (main, sub)
        main_info, sub_info = main.hub.info, sub.hub.info
        if self._width is None:
            return main, sub
        if sub_info is None:
            return sub, main
        if main_info is None or main_info.video.width >= sub_info.video.width:
            suits = sub_info.video.width >= self._width
        else:
            suits = main_info.video.width < self._width  # its sub stream is the larger one
        return (sub, main) if suits else (main, sub)

    def _may_replace(self, now: float, best: Rendition, other: Rendition) -> bool:
        """Rule 2, and rule 4."""
        if self.rendition is other or self._avoid_until_s.get(best, now) > now:
            return True
        is_there = self._is_single and bool(other.hub.gop)
        return is_there or best.is_lost or now - self._waiting_since_s >= PATIENCE_S

    def _is_good(self, best: Rendition, other: Rendition) -> bool:
        """Rules 2 and 3."""
        return best.is_steady or (best.has_pictures and (self.rendition is best or not other.has_pictures))

    def _note_undecodable(self, now: float, other: Rendition | None) -> None:
        present = self.rendition
        if present is None:
            return
        decoded = present.jpeg.frames_decoded
        if decoded != self._decoded or not present.jpeg.is_decoding:
            self._decoded, self._decoded_at_s = decoded, now
        elif other is not None and now - self._decoded_at_s >= UNDECODABLE_S:
            self._avoid_until_s[present] = now + AVOID_S

    def _is_hopeless(self) -> bool:
        held = [each for each in self._holds if each.is_wanted]
        return self.is_over or not held or all(each.is_hopeless for each in held)

    def _decode(self, rendition: Rendition | None, why: str) -> None:
        before = self.rendition
        if rendition is before:
            return
        self.rendition = rendition
        if rendition is not None:
            self._decoded, self._decoded_at_s = rendition.jpeg.frames_decoded, self._clock.monotonic()
        if before is not None and rendition is not None:
            extra = {"camera": self.camera.id}
            text = "camera %s: a viewer gets pictures of the %s stream: %s"
            log.info(text, self.camera.id, rendition.name, why, extra=extra)
        self._moved.set()
        self._on_move(rendition)

    def _keep(self, *renditions: Rendition) -> None:
        """Capture these, and no other. The one that is decoded, or the first, counts as watched."""
        released = [hold for each, hold in self._holds.items() if each not in renditions]
        self._holds = {each: self._holds.get(each) or self._hold(each, "") for each in renditions}
        watched = self.rendition if self.rendition in renditions else next(iter(renditions), None)
        if watched is not self._watched:
            released.append(self._watched_hold)
            self._watched, self._watched_hold = watched, None
            if watched is not None:
                self._watched_hold = self._hold(watched, self._kind)
        for hold in released:
            if hold is not None:
                hold.release()

    def _hold(self, rendition: Rendition, kind: str) -> Hold[Rendition] | None:
        """Rule 5."""
        return rendition.hold(kind) if self._is_viewer or rendition is not self.camera.main else None
