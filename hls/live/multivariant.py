"""MultivariantPlaylist: what a new player of a camera can play: its main stream, its sub stream, or both.

Rules:

1. What the sub stream is has to be known: where it never had a segment, also of its present URL, the playlist waits for
   one, at most :data:`SUB_READY_S`, and then not again for :data:`RETRY_S`.
2. While one stream is lost, sends no pictures, or has a codec that HLS cannot have, the playlist has only the other.
3. Both have sound or none has (:mod:`hls.live.stream`, rule 9). The playlist waits for that up to :data:`MAIN_READY_S`,
   and has the main stream alone where it does not come, because players have the other playlist.
4. The sub stream is started where the main stream is one of these, or does not come within :data:`HEAD_START_S`. The
   playlist waits for a main stream that has pictures up to :data:`MAIN_READY_S`: a player that gets a playlist without
   it does not ask again.
5. The wait ends with :class:`~gateway.errors.UnavailableError` after :data:`~hls.live.stream.READY_S`, and at once when
   both have failed.
"""

import asyncio
from collections.abc import Collection

from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import NegotiationError, UnavailableError
from gateway.session import SessionState
from hls.live.playlist import LIVE_NAME, SUB_LIVE_NAME, Rendered, Variant, multivariant
from hls.live.stream import READY_S, LiveStream

SUB_READY_S = 4.0
"""A sub stream with keyframes every 2 s has a segment by then. A player of the main stream waits no longer for it."""

HEAD_START_S, MAIN_READY_S = 2.0, 6.0
"""A camera that was not captured takes a second to connect, and a GOP to its first segment."""

RETRY_S = 60.0
"""How long a sub stream that gave no segment is not waited for again."""

LOOK_S = 0.2
"""How often to look whether a stream is lost."""


class MultivariantPlaylist:
    """See the module. Of one camera, by the live stream of its main stream."""

    def __init__(self, main: LiveStream, clock: Clock = SYSTEM_CLOCK) -> None:
        self._main = main
        self._clock = clock
        self._sub_missing_at_s = float("-inf")
        """When it last waited for the sub stream in vain."""
        self._newest: tuple[object, Rendered] | None = None
        """The newest one, and what it was made of."""

    async def get(self) -> Rendered:
        """The playlist, as soon as a player can play it.

        Raises :class:`~gateway.errors.UnavailableError` if there is no video soon, and ``NegotiationError`` for video
        that HLS cannot have.
        """
        main, sub = self._main, self._main.other
        began_s = self._clock.monotonic()
        tasks: dict[LiveStream, asyncio.Task[bool]] = {}
        try:
            while True:
                passed_s = self._clock.monotonic() - began_s
                if main.refusal is None:
                    self._start(main, tasks)
                if sub is not None and self._needs(sub, passed_s):
                    self._start(sub, tasks)
                if self._is_complete(passed_s, sub):
                    return self._render(sub)
                streams = [each for each in (main, sub) if each is not None]
                if main.refusal is not None and all(_is_hopeless(each) for each in streams):
                    raise NegotiationError(main.refusal, ("webrtc", "mjpeg"))
                if passed_s >= READY_S or main.is_closed or all(_is_hopeless(each) for each in streams):
                    raise _unavailable(self._main)
                await _any(tasks.values())
                tasks = {each: task for each, task in tasks.items() if not task.done()}
        finally:
            for task in tasks.values():
                task.cancel()

    async def get_one(self, stream: LiveStream) -> Rendered:
        """The playlist of one of the streams alone. Raises as :meth:`get`."""
        if stream.refusal is not None:
            raise NegotiationError(stream.refusal, ("webrtc", "mjpeg"))
        stream.request()
        if not await stream.wait_until_playable(READY_S) or (variant := stream.variant) is None:
            raise _unavailable(stream)
        return Rendered(multivariant([(variant, LIVE_NAME if stream is self._main else SUB_LIVE_NAME)]))

    def _start(self, stream: LiveStream, tasks: dict[LiveStream, asyncio.Task[bool]]) -> None:
        if stream in tasks:
            return
        stream.request()
        if not stream.window.is_playable:
            name = f"hls-playable-{stream.rendition.camera_id}"
            tasks[stream] = asyncio.create_task(stream.wait_until_playable(READY_S), name=name)

    def _needs(self, sub: LiveStream, passed_s: float) -> bool:
        """Rules 1 and 2."""
        is_late = not self._main.window.is_playable and passed_s >= HEAD_START_S
        return sub.refusal is None and (_is_bad(self._main) or is_late or self._is_to_be_learnt(sub))

    def _is_to_be_learnt(self, sub: LiveStream) -> bool:
        is_recent = self._clock.monotonic() - self._sub_missing_at_s < RETRY_S
        return (sub.variant is None or sub.is_outdated) and not is_recent and not _is_bad(sub)

    def _is_complete(self, passed_s: float, sub: LiveStream | None) -> bool:
        """Whether the player need not wait any longer."""
        if self._main.window.is_playable and (sub is None or not _is_bad(self._main)):
            if sub is not None and self._is_to_be_learnt(sub):
                if passed_s < SUB_READY_S:
                    return False
                self._sub_missing_at_s = self._clock.monotonic()
            return passed_s >= MAIN_READY_S or not self._waits_for_sound(sub)
        patience_s = MAIN_READY_S if self._main.rendition.has_pictures else HEAD_START_S
        is_late = _is_bad(self._main) or passed_s >= patience_s
        return sub is not None and is_late and sub.window.is_playable and not _is_bad(sub)

    def _waits_for_sound(self, sub: LiveStream | None) -> bool:
        """Whether one of the streams is about to get the other one's sound, as silence."""
        if sub is None or _is_bad(sub) or not sub.window.is_playable or _have_same_tracks(self._main, sub):
            return False
        return not any(_lacks_sound(stream) and stream.is_watched for stream in (self._main, sub))

    def _render(self, sub: LiveStream | None) -> Rendered:
        if sub is not None and not _is_bad(self._main) and not _have_same_tracks(self._main, sub):
            sub = None
        named = [(self._main, LIVE_NAME)] + ([(sub, SUB_LIVE_NAME)] if sub is not None else [])
        variants: list[tuple[Variant, str]] = []
        for stream, name in named:
            variant = stream.variant
            is_unknown = stream is sub and stream.is_outdated
            if variant is not None and not is_unknown and (sub is None or not _is_bad(stream)):
                variants.append((variant, name))
        if self._newest is None or self._newest[0] != variants:
            self._newest = variants, Rendered(multivariant(variants))
        return self._newest[1]


def _lacks_sound(stream: LiveStream) -> bool:
    return stream.variant is not None and stream.variant.info.audio is None


def _have_same_tracks(main: LiveStream, sub: LiveStream) -> bool:
    """Whether both have sound or none has, as far as known."""
    return main.variant is None or sub.variant is None or _lacks_sound(main) == _lacks_sound(sub)


def _unavailable(stream: LiveStream) -> UnavailableError:
    rendition = stream.rendition
    why = f": {rendition.error_message}" if rendition.error_message else ""
    return UnavailableError(
        f"camera {rendition.label} is {rendition.session.state} and has no video at present{why}", retry_after_s=2
    )


async def _any(tasks: Collection[asyncio.Task[bool]]) -> None:
    """Return when one of them is done, and after :data:`LOOK_S`: that a stream is lost ends no wait."""
    if tasks:
        await asyncio.wait(tasks, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
    else:
        await asyncio.sleep(LOOK_S)


def _is_bad(stream: LiveStream) -> bool:
    """Whether a new player should not have it."""
    rendition = stream.rendition
    is_silent = rendition.session.state is SessionState.LIVE and not rendition.has_pictures
    return rendition.is_lost or is_silent or stream.refusal is not None


def _is_hopeless(stream: LiveStream) -> bool:
    return stream.rendition.is_hopeless or stream.refusal is not None
